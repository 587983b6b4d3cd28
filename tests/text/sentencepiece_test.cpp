// Unigram and SentencePiece: ids of small .model files equal to sentencepiece's (in a folder they are
// AutoTokenizer's: beside_test.cpp), ids of Unigram
// tokenizer.json files equal to tokenizers' (each on some 2,500 strings), and what damaged files are told.
#include "outliers/text/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/text/charsmap.h"

#include "golden.h"

namespace outliers::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::error_of;

std::unique_ptr<Tokenizer> open_model(std::string_view bytes) {
  return Tokenizer::from_sentencepiece(bytes, "tokenizer.model");
}
std::unique_ptr<Tokenizer> open_folder(std::string bytes, const json& config) {
  return Tokenizer::from_files(
      {.tokenizer_config_json = config.dump(), .sentencepiece_model = std::move(bytes)});
}

class Models : public testing::TestWithParam<const char*> {};

TEST_P(Models, MatchSentencepiece) {
  const std::string name = GetParam();
  const auto tokenizer = open_model(read_golden(name + ".model"));
  EXPECT_GE(compare_ids(*tokenizer, BosPolicy::never, name + "_model_ids.json.gz"), 2400);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Models, testing::Values("unigram", "unigram_bytes", "bpe", "bpe_plain"));

TEST(UnigramJson, MatchesTokenizers) {
  const json golden = json::parse(read_golden("small_unigram.json.gz"));
  const std::vector<std::string> strings = golden_strings();
  for (const json& row : golden["cases"]) {
    json spec = golden["base"];
    for (const auto& [key, value] : row["patch"].items()) spec[key] = value;
    for (const auto& [key, value] : row["model"].items()) spec["model"][key] = value;
    const auto name = row["case"].get<std::string>();
    const auto tokenizer = Tokenizer::from_json(spec.dump());
    EXPECT_EQ(compare_ids(*tokenizer, BosPolicy::model, "unigram_" + name + "_ids.json.gz"), 2600);
    for (size_t i = 0; i < row["decoded"].size(); ++i) {
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(strings[i])), row["decoded"][i].get<std::string>())
          << name << " decoding string " << i;
    }
  }
  EXPECT_EQ(golden["cases"].size(), 6u);
}

TEST(SentencePieceModels, DecodeWhatTheyEncode) {
  const auto tokenizer = open_model(read_golden("bpe.model"));
  for (const char* text : {"Hello world", " two  spaces ", "naïve 日本 <table>1</h1>", "\n\t"}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, BosPolicy::never)), text);
  }
  const auto rules = open_model(read_golden("unigram.model"));
  EXPECT_EQ(rules->decode(rules->encode("  Fellow\tcitizens  of  the  Senate ", BosPolicy::never)),
            "Fellow citizens of the Senate");
}

TEST(SentencePieceModels, HaveSpecialTokens) {
  const std::string bytes = read_golden("bpe.model");
  const auto plain = open_model(bytes);
  EXPECT_EQ(plain->description(), "SentencePiece BPE, 897 + 3 tokens");
  EXPECT_EQ(plain->bos(), 1);
  EXPECT_EQ(plain->encode("a<s>b").front(), 1);  // a model of this kind begins with a BOS
  EXPECT_EQ(plain->encode("a<s>b", BosPolicy::never),
            (std::vector{plain->find("▁a").value(), 1, plain->find("▁b").value()}));
  EXPECT_THAT(plain->additions().reason, HasSubstr("BPE"));
  EXPECT_THAT(open_model(read_golden("unigram.model"))->encode("a").front(), testing::Ne(1));
}

TEST(SentencePieceModels, SayInAFolderWhatTheyAdd) {
  const std::string bytes = read_golden("bpe.model");
  const auto generic = open_folder(bytes, json::object());
  EXPECT_EQ(generic->description(), "SentencePiece BPE, 894 + 6 tokens");
  EXPECT_EQ(generic->bos(), 1);
  EXPECT_THAT(generic->additions().before, ElementsAre());
  EXPECT_EQ(generic->additions().reason, "no file asks for one");
  EXPECT_EQ(generic->decode(generic->encode(" two  spaces <table>\n")), " two  spaces <table>\n");
  const auto asked = open_folder(bytes, {{"add_bos_token", true}});
  EXPECT_THAT(asked->additions().before, ElementsAre(1));
  EXPECT_THAT(asked->additions().reason, HasSubstr("add_bos_token"));
  const auto llama = open_folder(bytes, {{"tokenizer_class", "LlamaTokenizer"}});
  EXPECT_EQ(llama->decode(llama->encode("Hello world")), "Hello world");
  const auto code = open_folder(bytes, {{"tokenizer_class", "CodeLlamaTokenizer"}});
  EXPECT_THAT(code->additions().before, ElementsAre(1));
  EXPECT_EQ(code->additions().reason, "a CodeLlamaTokenizer begins every text with a BOS");
  const auto t5 = open_folder(read_golden("unigram.model"), {{"tokenizer_class", "T5Tokenizer"}});
  EXPECT_THAT(t5->additions().after, ElementsAre(2));
  EXPECT_EQ(t5->additions().reason, "a T5Tokenizer ends every text with its EOS");
  EXPECT_EQ(t5->decode(t5->encode("Fellow citizens", BosPolicy::never)), "Fellow citizens");
  EXPECT_THAT(tests::warnings_of([&] {
                EXPECT_THAT(open_folder(bytes, {{"added_tokens_decoder", {{"950", {{"content", "<|y|>"}}}}}})
                                ->encode("<|y|>"),
                            ElementsAre(900));
              }),
              HasSubstr("tokenizer.model: the added token \"<|y|>\" gets the id 900, as in transformers, "
                        "though the configuration says 950"));
}

// ---- damaged files

TEST(SentencePieceErrors, CutFilesAreRefusedOrWhole) {
  for (const char* name : {"unigram.model", "bpe.model"}) {
    const std::string bytes = read_golden(name);
    const size_t pieces = parse_sentencepiece(bytes).pieces.size();
    size_t refused = 0;
    for (size_t size = 0; size < bytes.size(); size += size < 600 ? 1 : 37) {
      try {
        EXPECT_LE(parse_sentencepiece(std::string_view(bytes).substr(0, size)).pieces.size(), pieces);
        open_model(bytes.substr(0, size));
        open_folder(bytes.substr(0, size), {{"tokenizer_class", "T5Tokenizer"}});
      } catch (const Error& error) {
        EXPECT_LT(std::string(error.what()).size(), 400u);
        ++refused;
      }
    }
    EXPECT_GT(refused, 500u);
  }
}

TEST(SentencePieceErrors, FlippedBytesDoNoHarm) {
  std::mt19937 random(3);
  for (const char* name : {"unigram.model", "unigram_bytes.model", "bpe.model"}) {
    const std::string bytes = read_golden(name);
    int opened = 0;
    for (int round = 0; round < 300; ++round) {
      std::string damaged = bytes;
      for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
      try {
        for (const auto& tokenizer : {open_model(damaged), open_folder(damaged, json::object())}) {
          for (const char* text : {"Hello ½ ...\t① world", "a...b ﬁ ss <table>"}) {
            const auto ids = tokenizer->encode(text);
            EXPECT_EQ(replace_invalid_utf8(tokenizer->decode(ids)), tokenizer->decode(ids));
          }
        }
        ++opened;
      } catch (const Error&) {
      }
    }
    EXPECT_GT(opened, 0);
  }
}

// Fields of a protobuf, by hand.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string bytes_field(unsigned number, const std::string& value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}
std::string number_field(unsigned number, uint64_t value) {
  return varint(number << 3) + varint(value);
}
std::string piece(const std::string& text, unsigned type = 1) {
  return bytes_field(1, bytes_field(1, text) + std::string("\x15\0\0\x80\xbf", 5) + number_field(3, type));
}

TEST(SentencePieceErrors, NameTheProblem) {
  const auto error = [](const std::string& bytes) { return error_of([&] { open_model(bytes); }); };
  const std::string good = piece("<unk>", 2) + piece("▁a") + piece("a");
  EXPECT_THAT(open_model(good)->encode("aa", BosPolicy::never), ElementsAre(1, 2));
  EXPECT_THAT(error(bytes_field(9, "x")), HasSubstr("tokenizer.model: the model has no pieces"));
  EXPECT_THAT(error(good + piece("a")), HasSubstr("the piece a is there twice"));
  EXPECT_THAT(error(good + piece("")), HasSubstr("piece 3 is empty"));
  EXPECT_THAT(error(good + piece("\xff")), HasSubstr("piece 3, \\xff, is not valid UTF-8"));
  EXPECT_THAT(error(good + piece("b", 2)), HasSubstr("2 unknown pieces"));
  EXPECT_THAT(error(good + piece("b", 7)), HasSubstr("piece 3: the type 7"));
  EXPECT_THAT(error(good + piece("b", 6)), HasSubstr("not the spelling of a byte"));
  EXPECT_THAT(error(piece("a")), HasSubstr("0 unknown pieces"));
  EXPECT_THAT(error(good + bytes_field(2, number_field(35, 1))), HasSubstr("0 of 256 byte pieces"));
  EXPECT_THAT(error(good + bytes_field(2, number_field(3, 3))),
              HasSubstr("the model type WORD is not supported"));
  EXPECT_THAT(error(good + bytes_field(2, number_field(3, 9))), HasSubstr("the model type 9"));
  EXPECT_THAT(error(good + piece("b", 5) + bytes_field(2, number_field(3, 2))), HasSubstr("UNUSED"));
  EXPECT_THAT(error(good + bytes_field(5, bytes_field(2, "x"))), HasSubstr("denormalizer_spec"));
  EXPECT_THAT(
      error(bytes_field(1, bytes_field(1, "a") + std::string("\x15\0\0\xc0\x7f", 5)) + piece("<unk>", 2)),
      HasSubstr("the score of piece 0, a, is not a finite number"));
  EXPECT_THAT(error(varint(1 << 3 | 2) + varint(uint64_t{1} << 62)),
              HasSubstr("claims 4611686018427387904 bytes where 0 are left"));
  EXPECT_THAT(error(std::string(11, '\xff')), HasSubstr("a number of more than ten bytes"));
  EXPECT_THAT(error(std::string("\x0b")), HasSubstr("the wire type 3"));
  EXPECT_THAT(error(std::string(4, '\0')), HasSubstr("a field has the number 0"));
  EXPECT_THAT(error(number_field(1, 5)), HasSubstr("field 1 is not bytes"));
  EXPECT_THAT(error("IQ== 0\nIg== 1\n"), HasSubstr("tiktoken file"));
  const auto rules = [&](const std::string& blob) {
    return error(good + bytes_field(3, bytes_field(2, blob)));
  };
  EXPECT_THAT(rules("ab"), HasSubstr("too few for normalisation rules"));
  EXPECT_THAT(rules(std::string("\xff\xff\xff\xff", 4) + "abcdefgh"),
              HasSubstr("claim an array of 4294967295 bytes"));
  EXPECT_THAT(rules(std::string("\4\0\0\0abcd\xff\0", 10)), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(rules(std::string("\4\0\0\0abcdx", 9)), HasSubstr("does not end"));
}

// What AutoTokenizer reads in a way of its own, or not at all.
TEST(SentencePieceErrors, NameWhatAFolderLacks) {
  const auto error = [](const std::string& bytes, const json& config) {
    return error_of([&] { open_folder(bytes, config)->encode("ab"); });
  };
  const std::string good = piece("<unk>", 2) + piece("▁a") + piece("a");
  const json t5 = {{"tokenizer_class", "T5Tokenizer"}, {"extra_ids", 2}};
  EXPECT_THAT(
      error(good + piece(std::string(1025, 'a')) + bytes_field(2, number_field(3, 2)), json::object()),
      HasSubstr("tokenizer.model: a piece of 1025 bytes is longer than 1024"));
  EXPECT_THAT(error(good + bytes_field(2, number_field(40, 7)), json::object()),
              HasSubstr("the id 7 of the unknown token is none of its 3 pieces"));
  EXPECT_THAT(
      error(good + bytes_field(2, bytes_field(45, "[UNK]") + number_field(3, 2)), json::object()),
      HasSubstr("\"b\" is not in the tokenizer's vocabulary, and neither is its unknown token \"[UNK]\""));
  EXPECT_THAT(error(good + piece("<extra_id_0>"), t5), HasSubstr("the model has the piece <extra_id_0>"));
  EXPECT_THAT(error(good + piece("<extra_id_0>", 4), t5), HasSubstr("the model has 1 sentinels"));
  EXPECT_THAT(error(good, {{"tokenizer_class", "T5Tokenizer"}, {"eos_token", nullptr}}),
              HasSubstr("ends every text with its eos_token, which is null"));
  EXPECT_THAT(error(good, {{"added_tokens_decoder", {{"1", {{"content", "<x>"}}}}}}),
              HasSubstr("opens no Unigram model beside added_tokens_decoder"));
  EXPECT_THAT(error(read_golden("bpe.model"), {{"added_tokens_decoder", {{"499", {{"content", "<x>"}}}}}}),
              HasSubstr("is spelled \"<x>\" among the added tokens, but others merge"));
  EXPECT_THAT(error(good, {{"auto_map", {{"AutoTokenizer", {"here.OwnTokenizer", nullptr}}}}}),
              HasSubstr("tokenizer_config.json: auto_map names a tokenizer that is code beside the model"));
  EXPECT_THAT(
      error(good, {{"tokenizer_class", "GPT2TokenizerFast"}}),
      HasSubstr("the tokenizer_class \"GPT2Tokenizer\" builds a tokenizer of its own in transformers, which "
                "is not supported from a SentencePiece model; save tokenizer.json with transformers"));
}

TEST(CharsmapFile, NeverLeavesItsArray) {
  // Random arrays: every unit may point anywhere.
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string blob("\0\x04\0\0", 4);
    for (int i = 0; i < 1024; ++i) blob += static_cast<char>(random());
    blob += std::string("é\0ab\0日本\0", 13);
    const Charsmap charsmap(blob, "here");
    std::string text;
    for (int i = 0; i < 8; ++i) text += static_cast<char>(random() & 0x7f);
    for (size_t at = 0; at < text.size(); ++at) {
      if (const auto match = charsmap.longest(text, at)) {
        EXPECT_LE(at + match->length, text.size());
        EXPECT_EQ(replace_invalid_utf8(match->replacement), match->replacement);
      }
    }
  }
}

TEST(Base64, IsStrict) {
  EXPECT_EQ(decode_base64("aGk="), "hi");
  EXPECT_EQ(decode_base64("aGlo"), "hih");
  EXPECT_EQ(decode_base64(""), "");
  for (const char* bad : {"a", "aGk", "a===", "aG=k", "aG k", "####"})
    EXPECT_EQ(decode_base64(bad), std::nullopt) << bad;
}

// ---- Unigram in tokenizer.json

TEST(UnigramErrors, NameTheProblem) {
  const json good =
      json::parse(R"({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}})");
  const auto with = [&](const char* pointer, const json& value) {
    json changed = good;
    changed[json::json_pointer(pointer)] = value;
    return error_of([&] { Tokenizer::from_json(changed.dump())->encode("ab"); });
  };
  EXPECT_THAT(Tokenizer::from_json(good.dump())->encode("ab"), ElementsAre(1, 0));
  EXPECT_THAT(with("/model/unk_id", 2), HasSubstr("unk_id: is not a whole number from 0 to 1"));
  EXPECT_THAT(with("/model/unk_id", nullptr), HasSubstr("\"b\" is not in the tokenizer's vocabulary"));
  EXPECT_THAT(with("/model/vocab", json::array()), HasSubstr("model.vocab: is empty"));
  EXPECT_THAT(with("/model/vocab/1", json({"a"})), HasSubstr("piece 1 is not [text, score]"));
  EXPECT_THAT(with("/model/vocab", "x"), HasSubstr("is not an array"));
  EXPECT_THAT(with("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "?"}}),
              HasSubstr("is not base64"));
  EXPECT_THAT(with("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}}),
              HasSubstr("too few"));
}

TEST(UnigramGguf, IsReadFromMetadata) {
  const SentencePieceModel model = parse_sentencepiece(read_golden("unigram.model"));
  GgufVocabulary file;
  file.model = "t5";
  for (const auto& one : model.pieces) {
    file.tokens.push_back(one.text);
    file.scores.push_back(one.score);
    file.types.push_back(static_cast<int32_t>(one.type));
  }
  file.charsmap = model.charsmap;
  file.eos = 2;
  file.add_eos = true;
  const auto tokenizer = Tokenizer::from_gguf(file);
  EXPECT_EQ(compare_ids(*tokenizer, BosPolicy::never, "unigram_model_ids.json.gz"), 2518);
  EXPECT_EQ(tokenizer->encode("a").back(), 2);
  EXPECT_EQ(tokenizer->description(), "SentencePiece Unigram, 696 + 4 tokens");
  file.scores.pop_back();
  EXPECT_THAT(error_of([&] { Tokenizer::from_gguf(file); }), HasSubstr("700 tokens but 699 scores"));
}

}  // namespace
}  // namespace outliers::text
