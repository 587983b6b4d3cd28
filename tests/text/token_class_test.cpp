// Which tokens count as initial, as strong delimiters and as weak words.
#include "outliers/text/token_class.h"

#include <array>

#include <gtest/gtest.h>

#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

class Classes : public testing::Test {
 protected:
  Classes() {
    GgufVocabulary file;
    file.model = "gpt2";
    file.tokens = {byte_alphabet().begin(), byte_alphabet().end()};
    file.tokens.insert(file.tokens.end(), {"<s>", "<|im_end|>"});
    file.types.assign(256, 1);
    file.types.insert(file.types.end(), {3, 3});
    for (const char* text : words_) {
      file.tokens.push_back(spell_bytes(text));
      file.types.push_back(1);
    }
    file.merges = {"a b"};
    file.tokens.push_back("ab");
    file.types.push_back(1);
    file.bos = 256;
    tokenizer_ = Tokenizer::from_gguf(std::move(file));
  }

  std::string of(const std::string& text, int64_t position = 5) const {
    const auto id = tokenizer_->find(spell_bytes(text));
    return id ? token_class_name(token_class(*tokenizer_, *id, position)) : "no such token";
  }

  static constexpr std::array words_ = std::to_array<const char*>(
      {" the", "The",    " of", " and", "to", " To",  "'s", " whether", ".\n",  ".\n\n",   "\n\n",
       "...",  "?\"",    ".)",  "。",   " ;", "\r\n", "  ", "__",       ", ",   " Summer", " nation",
       "1.",   "theory", " 3",  "—",    "“",  ",\"",  "\"", "日",       ".com", " !",      " \n"});
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(Classes, Initial) {
  EXPECT_EQ(of(" Summer", 0), "initial");
  EXPECT_EQ(of(".", 0), "initial");
  EXPECT_EQ(token_class(*tokenizer_, 256, 0), TokenClass::initial);
  EXPECT_EQ(token_class(*tokenizer_, 256, 9), TokenClass::initial);  // a BOS in the middle of a packed window
}

TEST_F(Classes, StrongDelimiters) {
  for (const char* text : {".", "\n", "!", "?", ";", ":", ".\n", ".\n\n", "\n\n", "...", "?\"", ".)", "。",
                           " ;", "\r\n", " !", " \n"}) {
    EXPECT_EQ(of(text), "strong_delimiter") << text;
  }
}

TEST_F(Classes, WeakWords) {
  for (const char* text : {" the", "The", " of", " and", "to", " To", "'s", " whether", "a",  "I",  "_",
                           "__",   ",",   ", ",  " ",    "  ", "-",   "—",  "“",        "\"", ",\""}) {
    EXPECT_EQ(of(text), "weak_word") << text;
  }
}

TEST_F(Classes, Others) {
  for (const char* text : {" Summer", " nation", "1.", "theory", " 3", "b", "日", ".com", "="}) {
    EXPECT_EQ(of(text), "other") << text;
  }
  EXPECT_EQ(token_class(*tokenizer_, 257, 4), TokenClass::other);   // another special token
  EXPECT_EQ(token_class(*tokenizer_, 0xe3, 4), TokenClass::other);  // a part of a character
}

}  // namespace
}  // namespace outliers::text
