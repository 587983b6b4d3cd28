// Files beside tokenizer.json, and the classes that they name: ids equal to AutoTokenizer's. The goldens are
// written by tests/oracle/text_beside.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden.h"

namespace outliers::text {
namespace {

TEST(FilesBesideTokenizerJson, GiveTheIdsOfAutoTokenizer) {
  int compared = 0;
  std::istringstream lines(read_golden("beside.jsonl.gz"));
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::ordered_json::parse(line);  // the order of keys is that of new ids
    const auto name = row["name"].get<std::string>();
    const auto text = [&](const char* file) {
      if (!row["files"].contains(file)) return std::string();
      return row["files"][file].is_string() ? row["files"][file].get<std::string>()
                                            : row["files"][file].dump();
    };
    const TokenizerFiles files{.config_json = text("config.json"),
                               .tokenizer_json = text("tokenizer.json"),
                               .tokenizer_config_json = text("tokenizer_config.json"),
                               .special_tokens_map_json = text("special_tokens_map.json"),
                               .added_tokens_json = text("added_tokens.json"),
                               .vocab_json = text("vocab.json"),
                               .merges_txt = text("merges.txt")};
    std::unique_ptr<Tokenizer> tokenizer;
    ASSERT_NO_THROW(tokenizer = Tokenizer::from_files(files)) << name;
    for (size_t i = 0; i < row["texts"].size(); ++i) {
      EXPECT_EQ(tokenizer->encode(row["texts"][i].get<std::string>()),
                row["ids"][i].get<std::vector<int32_t>>())
          << name << ": " << row["texts"][i];
      ++compared;
    }
  }
  EXPECT_GT(compared, 1500);
}

}  // namespace
}  // namespace outliers::text
