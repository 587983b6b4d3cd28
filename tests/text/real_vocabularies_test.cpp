// Whole vocabularies of real models (tests/oracle/real_tokenizers.py fetches them and writes tokenizers' ids)
// on up to 2,600 strings. Skipped for those that are not there.
#include <gtest/gtest.h>

#include "golden.h"
#include "support.h"

namespace outliers::text {
namespace {

// Where no scanner cuts a vocabulary's pattern, the PCRE2 at hand does, and strings with characters younger
// than it are left out.
enum class Strings { all, of_known_characters };

class RealVocabularies : public testing::TestWithParam<std::pair<const char*, Strings>> {};

TEST_P(RealVocabularies, MatchTokenizers) {
  const auto& [name, strings] = GetParam();
  const std::filesystem::path folder =
      tests::real_model("x").parent_path().parent_path() / "tokenizers" / name;
  if (!std::filesystem::exists(folder / "ids.json.gz")) {
    GTEST_SKIP() << folder << " is not there; tests/oracle/real_tokenizers.py makes it";
  }
  const TokenizerFiles files = {.tokenizer_json = tests::read_file(folder / "tokenizer.json"),
                                .vocab_json = tests::read_file(folder / "vocab.json"),
                                .merges_txt = tests::read_file(folder / "merges.txt")};
  const auto tokenizer = Tokenizer::from_files(files);
  const std::string golden = (folder / "ids.json.gz").string();
  if (strings == Strings::all) {
    EXPECT_EQ(compare_ids(*tokenizer, BosPolicy::model, golden), 2600);
  } else {
    const Regex unassigned(R"(\p{Cn})");
    EXPECT_GE(compare_ids(*tokenizer, BosPolicy::model, golden, &unassigned), 2200);
  }
}

INSTANTIATE_TEST_SUITE_P(Npm, RealVocabularies,
                         testing::Values(std::pair("gpt2", Strings::all), std::pair("llama2", Strings::all),
                                         std::pair("llama3", Strings::all), std::pair("qwen3", Strings::all),
                                         std::pair("gemma3", Strings::all), std::pair("gptoss", Strings::all),
                                         std::pair("deepseek_v3", Strings::of_known_characters)));

}  // namespace
}  // namespace outliers::text
