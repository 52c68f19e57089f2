#include "tools/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace whale::tools {
namespace {

using testing::HasSubstr;

// All records, or the error.
absl::StatusOr<std::vector<KeyValue>> ReadAll(RecordFormat format,
                                              const std::string& text) {
  std::istringstream input(text);
  const auto reader = NewRecordReader(format, &input);
  std::vector<KeyValue> records;
  while (true) {
    auto record = reader->Next();
    if (!record.ok()) return record.status();
    if (!record->has_value()) return records;
    records.push_back(**record);
  }
}

std::string ErrorOf(RecordFormat format, const std::string& text) {
  return std::string(ReadAll(format, text).status().message());
}

std::string AllBytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(Records, EveryByteSurvivesBothFormats) {
  const KeyValue records[] = {{"plain", "value"},
                              {"", ""},
                              {AllBytes(), AllBytes() + AllBytes()},
                              {"tab\t", "back\\slash\nline"},
                              {"k", "Gr\xc3\xbc\xc3\x9f"}};
  for (const RecordFormat format : {RecordFormat::kTsv, RecordFormat::kJson}) {
    std::string text;
    for (const KeyValue& r : records) {
      text += FormatRecord(format, r.key, r.value);
    }
    const auto read = ReadAll(format, text);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_THAT(*read, testing::ElementsAreArray(records));
  }
}

TEST(Records, TsvKeepsOddBytesAndALastLineWithoutNewline) {
  const auto read = ReadAll(RecordFormat::kTsv, "a\t1\n\nb\tx\ty\r");
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(
      *read, testing::ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "x\ty\r"}));
}

TEST(Records, TsvErrorsNameTheLine) {
  EXPECT_THAT(ErrorOf(RecordFormat::kTsv, "a\tb\nno tab\n"),
              HasSubstr("line 2: no tab"));
  EXPECT_THAT(ErrorOf(RecordFormat::kTsv, "a\t\\x\n"), HasSubstr("line 1"));
  EXPECT_THAT(ErrorOf(RecordFormat::kTsv, "a\tb\\"), HasSubstr("backslash"));
}

TEST(Records, JsonTakesPlainAndBase64) {
  const auto read =
      ReadAll(RecordFormat::kJson, R"({"key":"a","value_base64":"AP8="})"
                                   "\n"
                                   R"({"key_base64":"Yg==","value":"x\ny"})");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(*read,
              testing::ElementsAre(KeyValue{"a", std::string("\0\xff", 2)},
                                   KeyValue{"b", "x\ny"}));
}

TEST(Records, JsonErrorsNameTheLine) {
  for (const char* text :
       {"{", "[]", "1", R"({"key":1,"value":"x"})", R"({"key":"x"})",
        R"({"key":"x","value_base64":"*"})"}) {
    EXPECT_THAT(ErrorOf(RecordFormat::kJson, text), HasSubstr("line 1"))
        << text;
  }
}

TEST(Records, DpkgParagraphsGoUnderTheirPackage) {
  const std::string first =
      "Package: adduser\nStatus: install ok installed\nArchitecture: all\n"
      "Description: add users\n with a second line\n .\n";
  const auto read = ReadAll(RecordFormat::kDpkg,
                            first +
                                "\n\nPackage: libc6\nArchitecture: amd64\n\n"
                                "Architecture: i386\nPackage: libc6\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(
      *read,
      testing::ElementsAre(
          KeyValue{"adduser", first},
          KeyValue{"libc6", "Package: libc6\nArchitecture: amd64\n"},
          KeyValue{"libc6:i386", "Architecture: i386\nPackage: libc6\n"}));
}

TEST(Records, DpkgRefusesOtherFiles) {
  EXPECT_THAT(ErrorOf(RecordFormat::kDpkg, "\n\nhello\nworld\n"),
              HasSubstr("line 3"));
}

TEST(Records, AnEndlessLineIsRefused) {
  EXPECT_THAT(ErrorOf(RecordFormat::kTsv, std::string(33 << 20, 'x')),
              HasSubstr("longer than"));
}

TEST(Records, FormatsByName) {
  EXPECT_EQ(*ParseRecordFormat("dpkg"), RecordFormat::kDpkg);
  EXPECT_FALSE(ParseRecordFormat("csv").ok());
  EXPECT_EQ(FormatOfFile("a.jsonl"), RecordFormat::kJson);
  EXPECT_EQ(FormatOfFile("status"), RecordFormat::kTsv);
}

}  // namespace
}  // namespace whale::tools
