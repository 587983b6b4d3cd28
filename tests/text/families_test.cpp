// What each family's tokenizer.json does before BPE, and the name that GGUF has for it: ids equal to
// tokenizers' on 2,600 strings, from both formats.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden.h"

namespace outliers::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::error_of;

const json& families() {
  static const json golden = json::parse(read_golden("families.json.gz"));
  return golden;
}

GgufVocabulary gguf(const std::string& pre) {
  const json& model = families()["base"]["model"];
  GgufVocabulary file;
  file.model = "gpt2";
  file.pre = pre;
  file.tokens.resize(model["vocab"].size());
  for (const auto& [piece, id] : model["vocab"].items()) file.tokens[id.get<size_t>()] = piece;
  file.types.assign(file.tokens.size(), 1);
  file.types.back() = 3;
  file.merges = model["merges"].get<std::vector<std::string>>();
  return file;
}

TEST(Families, MatchTokenizers) {
  size_t names = 0;
  for (const json& row : families()["families"]) {
    const auto name = row["name"].get<std::string>();
    const std::string golden = "family_" + name + "_ids.json.gz";
    json spec = families()["base"];
    spec["normalizer"] = row["normalizer"];
    spec["pre_tokenizer"] = row["pre_tokenizer"];
    spec["model"]["ignore_merges"] = row["ignore_merges"];
    EXPECT_EQ(compare_ids(*Tokenizer::from_json(spec.dump()), BosPolicy::model, golden), 2600) << name;
    for (const json& pre : row["gguf"]) {
      // Without a bos_token_id a GGUF adds none, whatever its name says.
      EXPECT_EQ(compare_ids(*Tokenizer::from_gguf(gguf(pre.get<std::string>())), BosPolicy::model, golden),
                2600)
          << pre;
      ++names;
    }
  }
  EXPECT_GE(names, 30u);
}

TEST(Families, OfUnknownNamesAreRefused) {
  EXPECT_THAT(error_of([] { Tokenizer::from_gguf(gguf("jina-v9")); }),
              HasSubstr("\"jina-v9\", which is not known; known are"));
}

// GPT-2's old form: vocab.json and merges.txt.
TokenizerFiles pair(const json& config = json::object(), const char* line_end = "\n") {
  const json& model = families()["base"]["model"];
  std::string merges = fmt::format("#version: 0.2{}", line_end);
  for (const json& merge : model["merges"]) merges += merge.get<std::string>() + line_end;
  return {.tokenizer_config_json = config.dump(), .vocab_json = model["vocab"].dump(), .merges_txt = merges};
}

TEST(VocabularyAndMerges, MatchTokenizers) {
  EXPECT_EQ(compare_ids(*Tokenizer::from_files(pair()), BosPolicy::model, "family_gpt2_ids.json.gz"), 2600);
  EXPECT_EQ(compare_ids(*Tokenizer::from_files(pair({{"tokenizer_class", "Qwen2TokenizerFast"}})),
                        BosPolicy::model, "family_qwen2_ids.json.gz"),
            2600);
  EXPECT_EQ(Tokenizer::from_files(pair(json::object(), "\r\n"))->encode("the world"),
            Tokenizer::from_files(pair())->encode("the world"));
}

TEST(VocabularyAndMerges, HaveSpecialTokens) {
  const auto plain = Tokenizer::from_files(pair());
  const int32_t end = plain->find("<|endoftext|>").value();
  EXPECT_EQ(plain->bos(), end);
  EXPECT_EQ(plain->encode("a", BosPolicy::always).front(), end);
  // OPT: another BOS, added, and a padding token.
  const auto opt = Tokenizer::from_files(
      pair({{"tokenizer_class", "GPT2Tokenizer"},
            {"add_bos_token", true},
            {"bos_token", {{"__type", "AddedToken"}, {"content", "</s>"}, {"normalized", true}}},
            {"eos_token", "</s>"},
            {"unk_token", "</s>"},
            {"pad_token", "<pad>"}}));
  EXPECT_THAT(opt->encode("</s>a<pad>"), ElementsAre(end + 1, end + 1, opt->find("a").value(), end + 2));
  TokenizerFiles older = pair();
  older.special_tokens_map_json = R"({"pad_token": "<pad>"})";
  older.added_tokens_json = fmt::format(R"({{"<|x|>": {}}})", end + 1);
  EXPECT_THAT(Tokenizer::from_files(older)->encode("<|x|><pad>"), ElementsAre(end + 1, end + 2));
  EXPECT_EQ(Tokenizer::from_files(pair({{"add_prefix_space", true}}))->encode("the"), plain->encode(" the"));
}

TEST(VocabularyAndMerges, ErrorsNameTheProblem) {
  const auto broken = [](auto change) {
    TokenizerFiles files = pair();
    change(files);
    return error_of([&] { Tokenizer::from_files(files); });
  };
  EXPECT_THAT(broken([](auto& f) { f.merges_txt.clear(); }), HasSubstr("vocab.json with merges.txt"));
  EXPECT_THAT(broken([](auto& f) { f.merges_txt += "onlyone\n"; }),
              HasSubstr("merges.txt: merge 1500, \"onlyone\""));
  EXPECT_THAT(broken([](auto& f) { f.merges_txt += "zz qq\n"; }),
              HasSubstr("names a token that is not in vocab.json"));
  EXPECT_THAT(broken([](auto& f) { f.merges_txt += "\xff\xff a\n"; }), HasSubstr("not in vocab.json"));
  EXPECT_THAT(broken([](auto& f) { f.vocab_json.resize(100); }),
              HasSubstr("vocab.json: this is not valid JSON: byte 98"));
  EXPECT_THAT(broken([](auto& f) { f.vocab_json = "{}"; }), HasSubstr("the vocabulary is empty"));
  EXPECT_THAT(broken([](auto& f) { f.vocab_json = R"({"a": 99999999999})"; }), HasSubstr("the id of \"a\""));
  EXPECT_THAT(broken([](auto& f) { f.tokenizer_config_json = R"({"tokenizer_class": "RobertaTokenizer"})"; }),
              HasSubstr("the tokenizer_class \"RobertaTokenizer\" builds a tokenizer of its own"));
}

}  // namespace
}  // namespace outliers::text
