// The tokenizers of the real GGUFs against the ids that the models' own tokenizer.json gives (2,600 strings).
#include <gtest/gtest.h>

#include "gguf_file.h"
#include "golden.h"
#include "support.h"

namespace outliers::text {
namespace {

void compare(const char* file, const std::string& name) {
  const auto path = tests::real_model(file);
  OUTLIERS_SKIP_WITHOUT(path);
  const auto tokenizer = Tokenizer::from_gguf(read_vocabulary(path));
  const std::vector<std::string> strings = golden_strings();
  const std::vector<nlohmann::json> rows = read_golden_lines("real_models.jsonl.gz");
  for (size_t i = 0; i < strings.size(); ++i) {
    const nlohmann::json& row = rows[i];
    const std::string& bytes = strings[i];
    const std::string text = replace_invalid_utf8(bytes);
    const auto ids = row[name].get<std::vector<int32_t>>();
    ASSERT_EQ(tokenizer->encode(bytes), ids) << row["bytes"].dump(-1, ' ', true);
    ASSERT_EQ(tokenizer->decode(ids), row.value(name + "_text", text)) << row["bytes"].dump(-1, ' ', true);
  }
  EXPECT_GE(strings.size(), 2000u);
}

TEST(RealModels, QwenMatchesItsOwnTokenizer) {
  compare(tests::kQwen, "qwen");
}
TEST(RealModels, GemmaMatchesItsOwnTokenizer) {
  compare(tests::kGemma, "gemma");
}
// Goldens of tests/oracle/text_smollm.py.
TEST(RealModels, SmolLMMatchesItsOwnTokenizer) {
  const auto path = tests::real_model(tests::kSmolLM);
  OUTLIERS_SKIP_WITHOUT(path);
  const auto tokenizer = Tokenizer::from_gguf(read_vocabulary(path));
  EXPECT_EQ(compare_ids(*tokenizer, BosPolicy::model, "real_smollm_ids.json.gz"), 2600);
  const nlohmann::json decoded = nlohmann::json::parse(read_golden("real_smollm_ids.json.gz"))["decoded"];
  const std::vector<std::string> strings = golden_strings();
  for (size_t i = 0; i < strings.size(); ++i) {
    const std::string text = replace_invalid_utf8(strings[i]);
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), decoded.value(std::to_string(i), text))
        << printable(text);
  }
}

}  // namespace
}  // namespace outliers::text
