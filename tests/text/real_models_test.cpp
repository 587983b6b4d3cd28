// The tokenizers of two real GGUFs against the ids that the models' own tokenizer.json gives (2,600 strings).
#include <gtest/gtest.h>

#include "gguf_file.h"
#include "golden.h"
#include "support.h"

namespace outliers::text {
namespace {

// The golden stores bytes as the code points U+0000 to U+00FF.
std::string bytes_of(const std::string& latin1) {
  std::string bytes;
  for (size_t i = 0; i < latin1.size(); ++i) {
    const auto lead = static_cast<unsigned char>(latin1[i]);
    bytes += lead < 0x80 ? latin1[i] : static_cast<char>((lead & 3) << 6 | (latin1[++i] & 0x3f));
  }
  return bytes;
}

void compare(const char* file, const std::string& name) {
  const auto path = tests::real_model(file);
  OUTLIERS_SKIP_WITHOUT(path);
  const auto tokenizer = Tokenizer::from_gguf(read_vocabulary(path));
  int strings = 0;
  for (const nlohmann::json& row : read_golden_lines("real_models.jsonl.gz")) {
    const std::string bytes = bytes_of(row["bytes"].get<std::string>());
    const std::string text = replace_invalid_utf8(bytes);
    const auto ids = row[name].get<std::vector<int32_t>>();
    ASSERT_EQ(tokenizer->encode(bytes), ids) << row["bytes"].dump(-1, ' ', true);
    ASSERT_EQ(tokenizer->decode(ids), row.value(name + "_text", text)) << row["bytes"].dump(-1, ' ', true);
    ++strings;
  }
  EXPECT_GE(strings, 2000);
}

TEST(RealModels, QwenMatchesItsOwnTokenizer) {
  compare(tests::kQwen, "qwen");
}
TEST(RealModels, GemmaMatchesItsOwnTokenizer) {
  compare(tests::kGemma, "gemma");
}

}  // namespace
}  // namespace outliers::text
