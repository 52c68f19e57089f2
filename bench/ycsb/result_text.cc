#include "bench/ycsb/result_text.h"

#include <nlohmann/json.hpp>

namespace whale::bench::ycsb {
namespace {

using TextJson = nlohmann::json;  // report.cc has the ordered one

TextJson ToJson(const Histogram& histogram) {
  const Histogram::Sparse sparse = histogram.ToSparse();
  return {sparse.buckets, sparse.min, sparse.max, sparse.sum};
}

Histogram HistogramFrom(const TextJson& json) {
  Histogram::Sparse sparse;
  json.at(0).get_to(sparse.buckets);
  json.at(1).get_to(sparse.min);
  json.at(2).get_to(sparse.max);
  json.at(3).get_to(sparse.sum);
  return Histogram::FromSparse(sparse);
}

TextJson ToJson(const OperationStats& stats) {
  return {ToJson(stats.latency_ns), stats.ok, stats.not_found, stats.failed,
          stats.wrong_value};
}

OperationStats StatsFrom(const TextJson& json) {
  OperationStats stats;
  stats.latency_ns = HistogramFrom(json.at(0));
  json.at(1).get_to(stats.ok);
  json.at(2).get_to(stats.not_found);
  json.at(3).get_to(stats.failed);
  json.at(4).get_to(stats.wrong_value);
  return stats;
}

PhaseResult ResultFrom(const TextJson& json) {
  PhaseResult result;
  result.phase = static_cast<Phase>(json.at("phase").get<int>());
  json.at("elapsed_ns").get_to(result.elapsed_ns);
  json.at("operations").get_to(result.operations);
  json.at("gave_up").get_to(result.gave_up);
  json.at("errors").get_to(result.errors);
  for (int i = 0; i < kOperationKinds; ++i) {
    result.kinds[i] = StatsFrom(json.at("kinds").at(i));
  }
  for (const TextJson& one : json.at("series")) {
    result.series.push_back(HistogramFrom(one));
  }
  return result;
}

}  // namespace

std::string ResultToText(const PhaseResult& result) {
  TextJson json = {{"phase", static_cast<int>(result.phase)},
                   {"elapsed_ns", result.elapsed_ns},
                   {"operations", result.operations},
                   {"gave_up", result.gave_up},
                   {"errors", result.errors},
                   {"kinds", TextJson::array()},
                   {"series", TextJson::array()}};
  for (const OperationStats& stats : result.kinds) {
    json["kinds"].push_back(ToJson(stats));
  }
  for (const Histogram& one : result.series) {
    json["series"].push_back(ToJson(one));
  }
  return json.dump(-1, ' ', false, TextJson::error_handler_t::replace);
}

absl::StatusOr<PhaseResult> ResultFromText(const std::string& text) {
  const TextJson json =
      TextJson::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    return ResultFrom(json);
  } catch (const TextJson::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace whale::bench::ycsb
