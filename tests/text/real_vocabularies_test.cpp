// Whole vocabularies of real models (tests/oracle/real_tokenizers.py fetches them and writes tokenizers' ids)
// on 2,600 strings. Skipped for those that are not there.
#include <gtest/gtest.h>

#include "golden.h"
#include "support.h"

namespace outliers::text {
namespace {

class RealVocabularies : public testing::TestWithParam<const char*> {};

TEST_P(RealVocabularies, MatchTokenizers) {
  const std::filesystem::path folder =
      tests::real_model("x").parent_path().parent_path() / "tokenizers" / GetParam();
  if (!std::filesystem::exists(folder / "ids.json.gz")) {
    GTEST_SKIP() << folder << " is not there; tests/oracle/real_tokenizers.py makes it";
  }
  const TokenizerFiles files = {.tokenizer_json = tests::read_file(folder / "tokenizer.json"),
                                .vocab_json = tests::read_file(folder / "vocab.json"),
                                .merges_txt = tests::read_file(folder / "merges.txt")};
  const auto tokenizer = Tokenizer::from_files(files);
  EXPECT_EQ(compare_ids(*tokenizer, BosPolicy::model, (folder / "ids.json.gz").string()), 2600);
}

INSTANTIATE_TEST_SUITE_P(Npm, RealVocabularies,
                         testing::Values("gpt2", "llama2", "llama3", "qwen3", "gemma3", "gptoss",
                                         "deepseek_v3"));

}  // namespace
}  // namespace outliers::text
