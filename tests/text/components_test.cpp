// Every component of tokenizer.json, one at a time on top of two small tokenizers whose merges cross words
// (so that a wrong cut shows): ids, pieces and decoded text equal to Hugging Face tokenizers'.
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/text/tokenizer.h"

#include "golden.h"

namespace outliers::text {
namespace {

using nlohmann::json;

// Compares all results of a case: [index of the text, ids, decoded text if it is another].
int compare(const Tokenizer& tokenizer, const json& texts, const json& results, const std::string& name) {
  int strings = 0;
  for (const json& result : results) {
    const json& quoted = texts[result[0].get<size_t>()];
    const auto text = quoted.get<std::string>();
    const auto ids = result[1].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << name << " on " << quoted.dump(-1, ' ', true);
    EXPECT_EQ(tokenizer.decode(ids), result.size() > 2 ? result[2].get<std::string>() : text)
        << name << " decoding " << quoted.dump(-1, ' ', true);
    if (testing::Test::HasFailure()) break;
    ++strings;
  }
  return strings;
}

class Components : public testing::TestWithParam<const char*> {};

TEST_P(Components, MatchTokenizers) {
  const json base = json::parse(read_golden(std::string(GetParam()) + ".json"));
  const std::vector<json> rows = read_golden_lines(std::string(GetParam()) + "_cases.jsonl.gz");
  int strings = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    const json& row = rows[i];
    json spec = base;
    for (const auto& [key, value] : row["patch"].items()) spec[key] = value;
    for (const auto& [key, value] : row["model"].items()) spec["model"][key] = value;
    const auto name = row["case"].get<std::string>();
    std::unique_ptr<Tokenizer> tokenizer;
    ASSERT_NO_THROW(tokenizer = Tokenizer::from_json(spec.dump())) << name;
    strings += compare(*tokenizer, rows[0]["texts"], row["results"], name);
    for (const json& piece : row["pieces"]) {
      const auto id = piece[0].get<int32_t>();
      EXPECT_EQ(tokenizer->piece(id), piece[1].is_null() ? "" : piece[1].get<std::string>()) << name;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(rows.size(), 100u);
  EXPECT_GT(strings, 12000);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Components, testing::Values("small_byte_level", "small_sentencepiece"));

TEST(Affixes, MatchTokenizers) {
  for (const json& row : read_golden_lines("affixed_cases.jsonl.gz")) {
    const auto tokenizer = Tokenizer::from_json(row["json"].get<std::string>());
    EXPECT_GT(compare(*tokenizer, row["texts"], row["results"], row["case"].get<std::string>()), 100);
  }
}

}  // namespace
}  // namespace outliers::text
