// What the tokenizers do beside giving the right ids: BOS policies, spellings, invalid UTF-8, errors,
// threads.
#include "outliers/text/tokenizer.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/text/unicode.h"

#include "golden.h"

namespace outliers::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::error_of;

// A SentencePiece model in small: "▁the" is reached by scores, "é" only by bytes.
GgufVocabulary sentencepiece() {
  GgufVocabulary out;
  out.model = "llama";
  out.tokens = {"<unk>", "<s>", "</s>", "▁", "t", "h", "e", "th", "he", "▁th", "▁the", "  ", "\n", "[X]"};
  out.types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4};
  out.scores = {0, 0, 0, -10, -11, -12, -13, -1, -2, -3, -4, -1000, -1000, -1000};
  for (int byte = 0; byte < 256; ++byte) {
    out.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    out.types.push_back(6);
    out.scores.push_back(0);
  }
  out.bos = 1;
  out.eos = 2;
  out.unknown = 0;
  out.add_bos = true;
  out.add_space_prefix = false;
  return out;
}

// GPT-2's layout in small: the byte alphabet, a few merges, one control token.
GgufVocabulary byte_level() {
  GgufVocabulary out;
  out.model = "gpt2";
  out.pre = "gpt-2";
  for (const std::string& character : byte_alphabet()) out.tokens.push_back(character);
  out.types.assign(256, 1);
  for (const char* token : {"th", "the", "Ġthe", "ĊĊ", "<|end|>"}) {
    out.tokens.emplace_back(token);
    out.types.push_back(out.tokens.back()[0] == '<' ? 3 : 1);
  }
  out.merges = {"t h", "th e", "Ġ the", "Ċ Ċ"};
  out.eos = 260;
  return out;
}

TEST(Gguf, MergesByScore) {
  const auto tokenizer = Tokenizer::from_gguf(sentencepiece());
  EXPECT_THAT(tokenizer->encode("the the"), ElementsAre(1, 7, 6, 10));  // "th" (-1) comes before "he" (-2)
  EXPECT_THAT(tokenizer->encode("é"), ElementsAre(1, 14 + 0xc3, 14 + 0xa9));
  EXPECT_THAT(tokenizer->encode(" \n"), ElementsAre(1, 3, 12));
}

TEST(Gguf, RunsOfSpacesComeFirst) {
  // As in the original models: "▁▁" is made before "▁the", though the file gives it the worst score.
  const auto tokenizer = Tokenizer::from_gguf(sentencepiece());
  EXPECT_EQ(tokenizer->piece(11), "▁▁");
  EXPECT_THAT(tokenizer->encode("  the"), ElementsAre(1, 11, 7, 6));
}

TEST(Gguf, AddsTheSpacePrefixToEveryStretch) {
  GgufVocabulary file = sentencepiece();
  file.add_space_prefix.reset();  // the default is to add it
  const auto tokenizer = Tokenizer::from_gguf(std::move(file));
  EXPECT_THAT(tokenizer->encode("the[X]the"), ElementsAre(1, 10, 13, 10));
  EXPECT_EQ(tokenizer->decode({10, 10}), "the the");
}

TEST(Gguf, RemovesExtraWhiteSpaceWhereAsked) {
  GgufVocabulary file = sentencepiece();
  file.remove_extra_whitespaces = true;
  EXPECT_THAT(Tokenizer::from_gguf(std::move(file))->encode("  the   the "), ElementsAre(1, 7, 6, 10));
}

TEST(Gguf, ReadsByteLevel) {
  const auto tokenizer = Tokenizer::from_gguf(byte_level());
  EXPECT_THAT(tokenizer->encode("the the<|end|>\n\n"), ElementsAre(257, 258, 260, 259));
  EXPECT_EQ(tokenizer->size(), 261);
  EXPECT_EQ(tokenizer->description(), "byte-level BPE, 260 + 1 tokens");
}

TEST(BosPolicy, Holds) {
  const auto with = Tokenizer::from_gguf(sentencepiece());
  EXPECT_THAT(with->encode("t", BosPolicy::model), ElementsAre(1, 4));
  EXPECT_THAT(with->encode("t", BosPolicy::always), ElementsAre(1, 4));
  EXPECT_THAT(with->encode("t", BosPolicy::never), ElementsAre(4));
  EXPECT_THAT(with->encode("<s>t", BosPolicy::always), ElementsAre(1, 4));
  EXPECT_THAT(with->encode("<s>t", BosPolicy::model), ElementsAre(1, 1, 4));
  EXPECT_THAT(with->encode("", BosPolicy::always), ElementsAre(1));
  EXPECT_TRUE(with->encode("", BosPolicy::never).empty());

  GgufVocabulary both = sentencepiece();
  both.add_eos = true;
  EXPECT_THAT(Tokenizer::from_gguf(both)->encode("t", BosPolicy::model), ElementsAre(1, 4, 2));
  EXPECT_THAT(Tokenizer::from_gguf(both)->encode("t", BosPolicy::always), ElementsAre(1, 4));

  const auto without = Tokenizer::from_gguf(byte_level());
  EXPECT_FALSE(without->bos().has_value());
  EXPECT_THAT(error_of([&] { without->encode("t", BosPolicy::always); }), HasSubstr("no BOS token"));
}

TEST(Tokens, AreShownReadably) {
  const auto bytes = Tokenizer::from_gguf(byte_level());
  const auto id = [&](const char* piece) { return bytes->find(piece).value(); };
  EXPECT_EQ(bytes->display(id("Ġthe")), " the");
  EXPECT_EQ(bytes->bytes(id("Ġthe")), " the");
  EXPECT_EQ(bytes->piece(id("Ġthe")), "Ġthe");
  EXPECT_EQ(bytes->display(id("ĊĊ")), "\\n\\n");
  EXPECT_EQ(bytes->display(0), "\\x00");
  EXPECT_EQ(bytes->display(0xc3), "\\xc3");
  EXPECT_EQ(bytes->bytes(0xc3), "\xc3");
  EXPECT_EQ(bytes->decode({0xc3, 0xa9, 0xc3}), "é\uFFFD");
  EXPECT_EQ(bytes->display(id("<|end|>")), "<|end|>");

  const auto pieces = Tokenizer::from_gguf(sentencepiece());
  EXPECT_EQ(pieces->display(10), " the");
  EXPECT_EQ(pieces->display(14 + '\t'), "\\t");
  EXPECT_EQ(pieces->display(14 + 0xff), "\\xff");
  EXPECT_EQ(pieces->piece(14 + 0xff), "<0xFF>");
  EXPECT_EQ(pieces->display(12), "\\n");
  EXPECT_EQ(pieces->decode({14 + 0xc3, 14 + 0xa9, 10}), "é the");
  EXPECT_EQ(pieces->find("no such piece"), std::nullopt);
  EXPECT_THAT(error_of([&] { pieces->piece(270); }), HasSubstr("outside the vocabulary of 270 tokens"));
  EXPECT_THAT(error_of([&] { pieces->display(-1); }), HasSubstr("outside"));
}

TEST(Tokens, HaveRoles) {
  const auto tokenizer = Tokenizer::from_gguf(sentencepiece());
  std::vector<std::string> roles;
  for (const SpecialToken& token : tokenizer->special_tokens())
    roles.push_back(token.text + "=" + token.role);
  EXPECT_THAT(roles, ElementsAre("<unk>=unk", "<s>=bos", "</s>=eos"));
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(13));  // user-defined, an ordinary added token
  EXPECT_FALSE(tokenizer->is_special(4));
  EXPECT_FALSE(tokenizer->is_special(-1));
}

TEST(InvalidUtf8, IsReplacedAsPythonDoes) {
  EXPECT_EQ(replace_invalid_utf8("abc é"), "abc é");
  EXPECT_EQ(replace_invalid_utf8("\xff"), "\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xe2\x82"), "\uFFFD");                  // one cut character
  EXPECT_EQ(replace_invalid_utf8("\xe2\x28\xa1"), "\uFFFD(\uFFFD");       // broken after its lead
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(replace_invalid_utf8("\xf0\x9f\x98\xf0\x9f\x98\x80"), "\uFFFD\U0001F600");
  EXPECT_EQ(replace_invalid_utf8("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
}

TEST(GgufErrors, NameTheProblem) {
  const auto broken = [](GgufVocabulary file, auto change) {
    change(file);
    return error_of([&] { Tokenizer::from_gguf(std::move(file)); });
  };
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.pre = "qwen9"; }),
              HasSubstr("\"qwen9\", which is not known; known are"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.model = "bert"; }),
              HasSubstr("\"bert\"; supported are gpt2"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.tokens.clear(); }), HasSubstr("no tokenizer.ggml.tokens"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.merges.clear(); }), HasSubstr("no tokenizer.ggml.merges"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.merges[1] = "the"; }), HasSubstr("merge 1"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.merges[1] = "th zz"; }),
              HasSubstr("not in the vocabulary"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.types.pop_back(); }),
              HasSubstr("261 tokens but 260 token types"));
  EXPECT_THAT(broken(byte_level(),
                     [](auto& f) {
                       f.where = "m.gguf";
                       f.types.pop_back();
                     }),
              testing::StartsWith("m.gguf: the GGUF has 261 tokens"));
  EXPECT_THAT(broken(byte_level(), [](auto& f) { f.tokens[3] = "\xff"; }),
              HasSubstr("token 3 of the GGUF, \\xff"));
  EXPECT_THAT(broken(sentencepiece(), [](auto& f) { f.scores.pop_back(); }),
              HasSubstr("270 tokens but 269 scores"));
  EXPECT_THAT(broken(sentencepiece(), [](auto& f) { f.scores[4] = std::nanf(""); }),
              HasSubstr("token 4 is not a number"));
}

// An id outside the vocabulary, or of no token, is as good as none.
TEST(GgufWarnings, NameKeysThatAreIgnored) {
  const auto plain = Tokenizer::from_gguf(byte_level());
  const auto told = [&](auto change) {
    GgufVocabulary file = byte_level();
    file.where = "m.gguf";
    change(file);
    return tests::warnings_of([&] {
      EXPECT_EQ(Tokenizer::from_gguf(std::move(file))->encode("the the"), plain->encode("the the"));
    });
  };
  EXPECT_EQ(
      told([](auto& f) { f.bos = 261; }),
      "m.gguf: tokenizer.ggml.bos_token_id is 261, outside the vocabulary of 261 tokens; it is ignored\n");
  EXPECT_THAT(told([](auto& f) { f.eos = -5; }), HasSubstr("eos_token_id is -5"));
  EXPECT_THAT(told([](auto& f) { f.unknown = 4294967295; }), HasSubstr("unknown_token_id is 4294967295"));
  EXPECT_THAT(told([](auto& f) { f.padding = 4294967295; }), HasSubstr("padding_token_id is 4294967295"));
  EXPECT_THAT(told([](auto& f) { f.other_ids["eot_token_id"] = 999; }), HasSubstr("eot_token_id is 999"));
  EXPECT_EQ(told([](auto& f) { f.other_ids["mask_token_id"] = 3; }), "");
  EXPECT_THAT(told([](auto& f) { f.add_bos = true; }), HasSubstr("add_bos_token is true, but there is no"));
}

class JsonErrors : public testing::Test {
 protected:
  std::string with(const char* pointer, const json& value) {
    json changed = spec;
    changed[json::json_pointer(pointer)] = value;
    return error_of([&] { Tokenizer::from_json(changed.dump()); });
  }
  json spec = json::parse(read_golden("small_byte_level.json"));
};

TEST_F(JsonErrors, NameWhatIsNotSupported) {
  EXPECT_NO_THROW(Tokenizer::from_json(spec.dump()));
  EXPECT_THAT(error_of([] { Tokenizer::from_json("{\"a\": "); }),
              HasSubstr("tokenizer.json: this is not valid JSON: byte 7"));
  EXPECT_THAT(error_of([] { Tokenizer::from_json("[]"); }), HasSubstr("not an object"));
  EXPECT_THAT(with("/model/type", "WordPiece"),
              HasSubstr("\"WordPiece\" is not supported; BPE and Unigram are"));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(with("/model/merges/0", "a"), HasSubstr("merge 0"));
  EXPECT_THAT(with("/model/merges/0", json({"a", "\u00e9\u00e9"})), HasSubstr("not in the vocabulary"));
  EXPECT_THAT(with("/model/vocab/x", -1), HasSubstr("the id of \"x\""));
  EXPECT_THAT(with("/model/vocab/x", 99999999999), HasSubstr("the id of \"x\""));
  EXPECT_THAT(with("/model/vocab/x", 6000000), HasSubstr("the id 6000000; above"));
  EXPECT_THAT(with("/normalizer", {{"type", "Unknown"}}),
              HasSubstr("tokenizer.json: normalizer: the type \"Unknown\""));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "UnicodeScripts"}}), HasSubstr("\"UnicodeScripts\""));
  EXPECT_THAT(with("/decoder", {{"type", "WordPiece"}}), HasSubstr("\"WordPiece\""));
  EXPECT_THAT(with("/post_processor", {{"type", "Other"}}), HasSubstr("\"Other\""));
  const auto split = [](const char* regex) {
    return json{
        {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  for (const char* regex :
       {"a{2,3}+", "[a&&b]", "[[:alpha:]]", "[a[b]]", "(?~a)", "\\R", "(*FAIL)", "[\\W]", "a\\"}) {
    EXPECT_THAT(with("/pre_tokenizer", split(regex)), HasSubstr("which is not supported")) << regex;
  }
  EXPECT_THAT(with("/pre_tokenizer", split("a(")), HasSubstr("does not compile"));
}

TEST_F(JsonErrors, WhatIsNotNeededIsNoError) {
  const auto changed = [&](const char* pointer, const json& value) {
    json file = spec;
    file[json::json_pointer(pointer)] = value;
    return file.dump();
  };
  const auto told = [&](const char* pointer, const json& value) {
    return tests::warnings_of([&] { Tokenizer::from_json(changed(pointer, value)); });
  };
  EXPECT_EQ(told("/model/new_option", true),
            "tokenizer.json: model: the field \"new_option\" is unknown and ignored\n");
  EXPECT_THAT(told("/surprise", 1), HasSubstr("tokenizer.json: the field \"surprise\" is unknown"));
  // The last of equal keys counts, in a vocabulary too.
  std::string twice = spec.dump();
  const std::string vocab = "\"vocab\":{";
  twice.insert(twice.find(vocab) + vocab.size(), "\"a\":300,");
  EXPECT_EQ(Tokenizer::from_json(twice)->encode("a"), Tokenizer::from_json(spec.dump())->encode("a"));
  // What Python takes for true, and numbers that it writes.
  const auto odd = Tokenizer::from_json(
      spec.dump(),
      R"({"add_bos_token": "yes", "legacy": 1, "model_max_length": 1000000000000000019884624838656,
                       "threshold": NaN, "split_special_tokens": 0, "bos_token": "b", "bos_token": "a"})");
  EXPECT_EQ(odd->encode("a"), Tokenizer::from_json(spec.dump())->encode("a"));
  EXPECT_EQ(odd->bos(), odd->find("a"));
  // An unknown token counts when a character has no other.
  const auto tokenizer = Tokenizer::from_json(changed("/model/unk_token", "nowhere"));
  EXPECT_EQ(tokenizer->encode("the"), Tokenizer::from_json(spec.dump())->encode("the"));
}

TEST_F(JsonErrors, NameTheClassThatIsNotKnown) {
  EXPECT_THAT(
      error_of([&] { Tokenizer::from_json(spec.dump(), R"({"tokenizer_class": "CohereTokenizerFast"})"); }),
      HasSubstr("tokenizer_config.json: the tokenizer_class \"CohereTokenizer\" builds"));
  EXPECT_THAT(
      error_of([&] { Tokenizer::from_json(spec.dump(), R"({"tokenizer_class": "GemmaTokenizer"})"); }),
      HasSubstr("the unk_token of a GemmaTokenizer should be in it: \"<unk>\""));
  EXPECT_NO_THROW(Tokenizer::from_json(spec.dump(), R"({"tokenizer_class": "MyOwnTokenizer"})"));
}

TEST_F(JsonErrors, ConfigurationGivesRolesAndBos) {
  const auto configured = [&](const json& config) {
    return Tokenizer::from_json(spec.dump(), config.dump());
  };
  EXPECT_EQ(configured({{"bos_token", "a"}})->bos(), Tokenizer::from_json(spec.dump())->find("a"));
  const auto plain = configured({{"bos_token", {{"content", "a"}}}, {"add_bos_token", false}});
  EXPECT_EQ(plain->encode("b").size(), 1u);
  // tokenizer.json decides alone what is added.
  const auto adds =
      configured({{"bos_token", "a"}, {"eos_token", "c"}, {"add_bos_token", true}, {"add_eos_token", true}});
  EXPECT_THAT(adds->encode("b"), ElementsAre(adds->find("b").value()));
  EXPECT_EQ(adds->additions().reason,
            "tokenizer.json has no post-processor; add_bos_token of tokenizer_config.json changes nothing; "
            "add_eos_token of tokenizer_config.json changes nothing");
  const auto unknown = configured({{"bos_token", "no such"}});
  EXPECT_EQ(unknown->bos(), unknown->size() - 1);
}

TEST(Encode, IsTheSameFromManyThreads) {
  const auto tokenizer = Tokenizer::from_json(read_golden("small_byte_level.json"));
  std::vector<std::string> texts;
  for (int i = 0; i < 400; ++i)
    texts.push_back(
        fmt::format("text {} of the threads, {}\n", i * 7919, std::string(static_cast<size_t>(i % 90), 'e')));
  std::vector<std::vector<int32_t>> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer->encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 5; ++round) {
        for (size_t i = t; i < texts.size(); ++i) wrong[t] += tokenizer->encode(texts[i]) != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(Encode, DoesNotDependOnWhatWasCached) {
  // Many different words overflow the cache; the first ones must still come out the same.
  const auto tokenizer = Tokenizer::from_json(read_golden("small_sentencepiece.json"));
  const auto before = tokenizer->encode("some words▁of▁text");
  for (int i = 0; i < 60000; ++i)
    tokenizer->encode(fmt::format("{}x{:x}abcdefghijklmnopqrstuvwxyz", i, i * 2654435761u));
  EXPECT_EQ(tokenizer->encode("some words▁of▁text"), before);
}

TEST(Encode, TakesAMegabyteWithoutABreak) {
  for (const char* name : {"small_byte_level.json", "small_sentencepiece.json"}) {
    const auto tokenizer = Tokenizer::from_json(read_golden(name));
    const std::string text(1 << 20, 'a');
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)).find_first_not_of("a "), std::string::npos);
  }
}

}  // namespace
}  // namespace outliers::text
