// Corpora from files of all kinds, and the windows cut from them.
#include "outliers/text/corpus.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "golden.h"

namespace outliers::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using tests::error_of;
using tests::ScratchDirectory;

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

class ReadCorpus : public testing::Test {
 protected:
  std::vector<std::string> documents(const std::string& name, const std::string& bytes) {
    tests::write_file(folder_ / name, bytes);
    return read_corpus(folder_ / name).documents;
  }
  std::string error(const std::string& name, const std::string& bytes) {
    return error_of([&] { documents(name, bytes); });
  }
  ScratchDirectory folder_;
};

TEST_F(ReadCorpus, PlainText) {
  EXPECT_THAT(documents("a.txt", " one\n\ntwo\n"), ElementsAre(" one\n\ntwo\n"));
  EXPECT_THAT(documents("a.txt", "one\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\n<|endoftext|>\n \n"),
              ElementsAre("one", "two\r"));
  EXPECT_THAT(documents("a.txt", "<|endoftext|>\none <|endoftext|> still one"),
              ElementsAre("one <|endoftext|> still one"));
  EXPECT_THAT(documents("no_extension", "{\"text\": \"x\"}"), ElementsAre("{\"text\": \"x\"}"));
}

TEST_F(ReadCorpus, JsonLines) {
  EXPECT_THAT(documents("a.jsonl",
                        "{\"text\": \"one\", \"id\": \"7\"}\n\n{\"url\": \"u\", \"content\": "
                        "\"two\"}\r\n{\"body\": \"thr\\u00e9e\", \"n\": 3}"),
              ElementsAre("one", "two", "thrée"));
  EXPECT_THAT(documents("a.jsonl",
                        "{\"score\": NaN, \"text\": \"a\", \"text\": \"b\\ud800\"}\n"
                        "{\"id\": 1000000000000000000000000000000, \"n\": -Infinity, \"text\": \"c\"}"),
              ElementsAre("b\uFFFD", "c"));
  EXPECT_THAT(documents("a.jsonl.gz", gzip("{\"text\": \"one\"}\n{\"text\": \"\"}\n")), ElementsAre("one"));
  EXPECT_THAT(documents("a.txt.gz", gzip("one\n") + gzip("more")), ElementsAre("one\nmore"));  // two members
}

TEST_F(ReadCorpus, NamesWhatIsWrong) {
  EXPECT_THAT(error_of([&] { read_corpus(folder_ / "absent.txt"); }), HasSubstr("absent.txt does not exist"));
  EXPECT_THAT(error_of([&] { read_corpus(folder_.path()); }), HasSubstr("is a directory"));
  EXPECT_THAT(error("a.txt", ""), HasSubstr("holds no text"));
  EXPECT_THAT(error("a.txt", " \n\n"), HasSubstr("holds no text"));
  EXPECT_THAT(error("a.jsonl", "{\"text\": \"one\"}\n{\"text\": oops}\n"),
              HasSubstr("line 2: this is not valid JSON: byte 10: a value should be here"));
  EXPECT_THAT(error("a.jsonl", "[1]"), HasSubstr("line 1 is no JSON object"));
  EXPECT_THAT(error("a.jsonl", "{\"n\": 1}"), HasSubstr("no string field"));
  EXPECT_THAT(error("a.jsonl", "{\"title\": \"x\", \"body\": \"y\"}"),
              HasSubstr("2 other string fields (body, title)"));
  EXPECT_THAT(error("a.txt.gz", "plain"), HasSubstr("is not valid gzip"));
  const std::string packed = gzip(std::string(5000, 'x') + "end");
  EXPECT_THAT(error("a.txt.gz", packed.substr(0, packed.size() - 9)), HasSubstr("cut short"));
  std::string damaged = packed;
  damaged[packed.size() - 6] ^= 1;  // the checksum
  EXPECT_THAT(error("a.txt.gz", damaged), HasSubstr("is not valid gzip"));
  EXPECT_THAT(error("a.txt.gz", ""), HasSubstr("cut short"));
}

TEST(DefaultCorpus, IsPlainEnglish) {
  const Corpus corpus = default_corpus();
  EXPECT_EQ(corpus.documents.size(), 12u);
  size_t bytes = 0, letters = 0;
  for (const std::string& document : corpus.documents) {
    bytes += document.size();
    letters += static_cast<size_t>(std::count_if(document.begin(), document.end(), [](char c) {
      return std::isalpha(static_cast<unsigned char>(c)) || c == ' ';
    }));
  }
  EXPECT_GT(bytes, 390000u);
  EXPECT_GT(letters, bytes * 9 / 10);
}

// Puts token 3 before and behind every text.
std::unique_ptr<Tokenizer> tokenizer_with_bos() {
  nlohmann::json spec = nlohmann::json::parse(read_golden("small_byte_level.json"));
  const nlohmann::json id = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                       text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  spec["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {id, text, id}},
      {"pair", nlohmann::json::array()},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {3}}, {"tokens", {"<s>"}}}}}}};
  return Tokenizer::from_json(spec.dump());
}

std::vector<int32_t> to_vector(const at::Tensor& ids) {
  const at::Tensor flat = ids.contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

TEST(Windows, AreConsecutive) {
  const auto tokenizer = tokenizer_with_bos();
  Corpus corpus = default_corpus();
  corpus.documents.resize(3);
  const std::vector<int32_t> all = tokenizer->encode(
      corpus.documents[0] + "\n\n" + corpus.documents[1] + "\n\n" + corpus.documents[2], BosPolicy::never);
  const at::Tensor windows = make_windows(*tokenizer, corpus, 40, 128, BosPolicy::never);
  EXPECT_EQ(windows.sizes(), (at::IntArrayRef{40, 128}));
  EXPECT_EQ(windows.scalar_type(), at::kLong);
  EXPECT_EQ(to_vector(windows), std::vector<int32_t>(all.begin(), all.begin() + 40 * 128));
  // More windows begin with the same ones, though another stretch of text was tokenised.
  EXPECT_TRUE(
      at::equal(make_windows(*tokenizer, corpus, 200, 128, BosPolicy::never).slice(0, 0, 40), windows));
}

TEST(Windows, CountTheBosAndLeaveTheEosOut) {
  const auto tokenizer = tokenizer_with_bos();
  const Corpus corpus = default_corpus();
  const at::Tensor plain = make_windows(*tokenizer, corpus, 1, 1000, BosPolicy::never).flatten();
  for (const BosPolicy policy : {BosPolicy::model, BosPolicy::always}) {
    const at::Tensor windows = make_windows(*tokenizer, corpus, 9, 101, policy);
    EXPECT_TRUE((windows.select(1, 0) == 3).all().item<bool>());
    EXPECT_TRUE(at::equal(windows.slice(1, 1).flatten(), plain.slice(0, 0, 900)));
  }
}

TEST(Windows, CrossDocumentsByABlankLine) {
  const auto tokenizer = Tokenizer::from_json(read_golden("small_byte_level.json"));
  const Corpus corpus{"c", {"ab", "cd", "ef"}};
  const std::vector<int32_t> all = tokenizer->encode("ab\n\ncd\n\nef", BosPolicy::never);
  const auto count = static_cast<int64_t>(all.size());
  EXPECT_EQ(to_vector(make_windows(*tokenizer, corpus, 1, count, BosPolicy::model)), all);
  EXPECT_THAT(error_of([&] { make_windows(*tokenizer, corpus, 1, count + 1, BosPolicy::model); }),
              HasSubstr("gives 0 windows"));
}

TEST(Windows, FromRandomPlacesAreReproducible) {
  const auto tokenizer = tokenizer_with_bos();
  const Corpus corpus = default_corpus();
  const at::Tensor one = make_windows(*tokenizer, corpus, 12, 64, BosPolicy::model, 1);
  EXPECT_TRUE(at::equal(one, make_windows(*tokenizer, corpus, 12, 64, BosPolicy::model, 1)));
  EXPECT_FALSE(at::equal(one, make_windows(*tokenizer, corpus, 12, 64, BosPolicy::model, 2)));
  EXPECT_FALSE(at::equal(one, make_windows(*tokenizer, corpus, 12, 64, BosPolicy::model, 0)));
  EXPECT_TRUE((one.select(1, 0) == 3).all().item<bool>());
  // Every window stands in the text, and they stand in different parts of it.
  std::string text;
  for (const std::string& document : corpus.documents) text += (text.empty() ? "" : "\n\n") + document;
  std::vector<size_t> places;
  for (int64_t i = 0; i < 12; ++i) {
    places.push_back(text.find(tokenizer->decode(to_vector(one[i].slice(0, 1)))));
    EXPECT_NE(places.back(), std::string::npos);
  }
  std::sort(places.begin(), places.end());
  EXPECT_LT(places.front(), text.size() / 2);
  EXPECT_GT(places.back(), text.size() / 2);
}

TEST(Windows, NameWhatIsWrong) {
  const auto tokenizer = tokenizer_with_bos();
  const Corpus corpus{"small.txt", {"some words of text, and a few more of them"}};
  const auto error = [&](int64_t sequences, int64_t tokens, uint64_t seed) {
    return error_of([&] { make_windows(*tokenizer, corpus, sequences, tokens, BosPolicy::model, seed); });
  };
  const auto count = static_cast<int64_t>(tokenizer->encode(corpus.documents[0], BosPolicy::never).size());
  EXPECT_THAT(
      error(100, 5, 0),
      HasSubstr(fmt::format("small.txt gives {} windows of 5 tokens, and 100 were asked for", count / 4)));
  EXPECT_THAT(error(100, 5, 9), HasSubstr(fmt::format("gives {} windows", count / 4)));
  EXPECT_THAT(error(0, 5, 0), HasSubstr("at least 1"));
  EXPECT_THAT(error(1, -1, 0), HasSubstr("at least 1"));
  EXPECT_THAT(error(1, 1, 0), HasSubstr("no room"));
  EXPECT_THAT(error(int64_t{1} << 40, int64_t{1} << 40, 0), HasSubstr("too many"));
}

}  // namespace
}  // namespace outliers::text
