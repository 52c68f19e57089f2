#include "tools/records.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "tools/dpkg_status.h"
#include "tools/line_reader.h"

namespace whale::tools {
namespace {

using Json = nlohmann::json;

absl::Status AtLine(uint64_t line, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "line ", line, ": ", absl::string_view(what.data(), what.size())));
}

class TsvReader final : public RecordReader {
 public:
  explicit TsvReader(std::istream* input) : lines_(input) {}

  absl::StatusOr<std::optional<KeyValue>> Next() override {
    std::string line;
    do {
      WHALE_ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
      if (!more) return std::nullopt;
    } while (line.empty());
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) {
      return AtLine(lines_.number(), "no tab between key and value");
    }
    const std::string_view view = line;
    auto key = UnescapeField(view.substr(0, tab));
    auto value = UnescapeField(view.substr(tab + 1));
    for (const auto* field : {&key, &value}) {
      if (!field->ok()) {
        return AtLine(lines_.number(), std::string(field->status().message()));
      }
    }
    return KeyValue{*std::move(key), *std::move(value)};
  }

 private:
  LineReader lines_;
};

class JsonReader final : public RecordReader {
 public:
  explicit JsonReader(std::istream* input) : lines_(input) {}

  absl::StatusOr<std::optional<KeyValue>> Next() override {
    std::string line;
    do {
      WHALE_ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
      if (!more) return std::nullopt;
    } while (line.empty());
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) {
      return AtLine(lines_.number(), "not a JSON object");
    }
    WHALE_ASSIGN_OR_RETURN(std::string key, Field(json, "key"));
    WHALE_ASSIGN_OR_RETURN(std::string value, Field(json, "value"));
    return KeyValue{std::move(key), std::move(value)};
  }

 private:
  absl::StatusOr<std::string> Field(const Json& json,
                                    const std::string& name) const {
    const std::string base64_name = name + "_base64";
    const auto plain = json.find(name);
    if (plain != json.end() && plain->is_string()) {
      return plain->get<std::string>();
    }
    const auto base64 = json.find(base64_name);
    std::string bytes;
    if (base64 != json.end() && base64->is_string() &&
        absl::Base64Unescape(base64->get<std::string>(), &bytes)) {
      return bytes;
    }
    return AtLine(lines_.number(),
                  absl::StrCat("neither a string \"", name,
                               "\" nor a base64 string \"", base64_name, "\""));
  }

  LineReader lines_;
};

bool IsUtf8(std::string_view bytes) {
  // dump() is strict by default: it throws on bytes that are no UTF-8.
  try {
    Json(std::string(bytes)).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

void AddField(nlohmann::ordered_json* json, const std::string& name,
              std::string_view bytes) {
  if (IsUtf8(bytes)) {
    (*json)[name] = std::string(bytes);
  } else {
    (*json)[name + "_base64"] =
        absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
  }
}

}  // namespace

absl::StatusOr<RecordFormat> ParseRecordFormat(std::string_view name) {
  if (name == "tsv") return RecordFormat::kTsv;
  if (name == "json") return RecordFormat::kJson;
  if (name == "dpkg") return RecordFormat::kDpkg;
  return absl::InvalidArgumentError(
      absl::StrCat("no format is called \"", std::string(name),
                   "\"; there are tsv, json and dpkg"));
}

RecordFormat FormatOfFile(std::string_view path) {
  return path.ends_with(".json") || path.ends_with(".jsonl")
             ? RecordFormat::kJson
             : RecordFormat::kTsv;
}

std::unique_ptr<RecordReader> NewRecordReader(RecordFormat format,
                                              std::istream* input) {
  switch (format) {
    case RecordFormat::kTsv:
      return std::make_unique<TsvReader>(input);
    case RecordFormat::kJson:
      return std::make_unique<JsonReader>(input);
    case RecordFormat::kDpkg:
      return std::make_unique<DpkgStatusReader>(input);
  }
  WHALE_CHECK(false);
}

std::string FormatRecord(RecordFormat format, std::string_view key,
                         std::string_view value) {
  WHALE_CHECK(format != RecordFormat::kDpkg);
  if (format == RecordFormat::kTsv) {
    return absl::StrCat(EscapeField(key), "\t", EscapeField(value), "\n");
  }
  nlohmann::ordered_json json;
  AddField(&json, "key", key);
  AddField(&json, "value", value);
  return json.dump() + "\n";
}

std::string EscapeField(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (const char c : bytes) {
    switch (c) {
      case '\t':
        out += "\\t";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        out += c;
    }
  }
  return out;
}

absl::StatusOr<std::string> UnescapeField(std::string_view text) {
  static constexpr std::string_view kLetters = "tnr\\";
  static constexpr std::string_view kMeanings = "\t\n\r\\";
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const size_t which = i + 1 < text.size() ? kLetters.find(text[i + 1])
                                             : std::string_view::npos;
    if (which == std::string_view::npos) {
      return absl::InvalidArgumentError(
          "a backslash must be followed by t, n, r or another backslash");
    }
    out += kMeanings[which];
    ++i;
  }
  return out;
}

}  // namespace whale::tools
