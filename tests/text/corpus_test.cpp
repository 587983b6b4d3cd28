// Corpora from files of all kinds, and the windows cut from them.
#include "outliers/text/corpus.h"

#include <zstd.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "outliers/core/exception.h"
#include "outliers/text/unicode.h"

#include "golden.h"

namespace outliers::text {
namespace {

using testing::AllOf;
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

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

/// UTF-8 as UTF-16; `big`: the high byte first.
std::string utf16(const std::string& text, bool big, bool mark = true) {
  std::string out;
  const auto add = [&](char32_t unit) {
    const auto high = static_cast<char>(unit >> 8), low = static_cast<char>(unit & 0xff);
    out += big ? std::string{high, low} : std::string{low, high};
  };
  if (mark) add(0xfeff);
  for (size_t at = 0; at < text.size();) {
    const char32_t point = next_code_point(text, at);
    if (point < 0x10000) {
      add(point);
    } else {
      add(0xd800 + ((point - 0x10000) >> 10));
      add(0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  return out;
}

class ReadCorpus : public testing::Test {
 protected:
  std::string text(const std::string& name, const std::string& bytes, const std::string& field = "") {
    tests::write_file(folder_ / name, bytes);
    Corpus corpus = read_corpus(folder_ / name, field);
    EXPECT_EQ(corpus.rest, nullptr);
    return corpus.text;
  }
  std::string error(const std::string& name, const std::string& bytes, const std::string& field = "") {
    return error_of([&] { text(name, bytes, field); });
  }
  ScratchDirectory folder_;
};

TEST_F(ReadCorpus, PlainText) {
  EXPECT_EQ(text("a.txt", " one\n\ntwo\n"), " one\n\ntwo\n");
  EXPECT_EQ(text("a.txt", "one\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\n<|endoftext|>\n \n"), "one\n\ntwo\r");
  EXPECT_EQ(text("a.txt", "<|endoftext|>\none <|endoftext|> still one"), "one <|endoftext|> still one");
  EXPECT_EQ(text("a.txt", "\n \none\n<|endoftext|>\n\n\ntwo\n\n<|endoftext|>"), "\n \none\n\n\n\ntwo\n");
  EXPECT_EQ(text("a.txt", "one\n<|endoftext|>"), "one");
  EXPECT_EQ(text("a.txt", "one\n<|endoftext|"), "one\n<|endoftext|");
  EXPECT_EQ(text("no_extension", "{\"text\": \"x\"}"), "{\"text\": \"x\"}");
}

// Pieces end anywhere: inside a separator, a character, a line break.
TEST_F(ReadCorpus, PiecesOfAnyLengthGiveTheSameText) {
  const std::string whole =
      "\n \n\u00e9ins\n\n<|endoftext|>\r\n\r\nzwei <|endoftext|>\ndrei \U0001f600\n<|endoftext|>\n";
  for (const std::string& bytes :
       {whole, utf16(whole, false), utf16(whole, true), gzip(whole), zstd(whole)}) {
    for (size_t most = 1; most <= bytes.size(); ++most) {
      const auto source = [&] {
        return unpacked(
            [&bytes, most, at = size_t{0}](char* to, size_t room) mutable {
              const size_t count = bytes.copy(to, std::min(room, most), at);
              at += count;
              return count;
            },
            "it");
      };
      CorpusReader reader({source, "it", CorpusReader::Form::text, ""});
      for (int round = 0; round < 2; ++round, reader.rewind()) {
        std::string got;
        while (reader.read(got)) {
        }
        ASSERT_EQ(got, "\n \n\u00e9ins\n\n\n\r\nzwei <|endoftext|>\ndrei \U0001f600") << most;
      }
    }
  }
}

TEST_F(ReadCorpus, JsonLines) {
  EXPECT_EQ(text("a.jsonl",
                 "{\"text\": \"one\", \"id\": \"7\"}\n\n{\"url\": \"u\", \"content\": "
                 "\"two\"}\r\n{\"text\": null, \"content\": \"thr\\u00e9e\", \"n\": 3}"),
            "one\n\ntwo\n\nthr\u00e9e");
  const std::string rows = "{\"text\": \"one\"}\n{\"text\": \"\"}\n";
  for (const char* name : {"a.jsonl.gz", "a.JSONL", "a.Ndjson.GZ", "a.jsonl.zst", "a.json"})
    EXPECT_EQ(text(name, rows), "one");
  EXPECT_EQ(text("a.jsonl", "{\"body\": \"one\", \"text\": \"two\"}\n", "body"), "one");
  EXPECT_EQ(text("a.txt", "{\"body\": \"one\"}\n{\"body\": \"two\"}", "body"), "one\n\ntwo");
  // What Python writes and nobody needs here.
  EXPECT_EQ(text("a.jsonl",
                 "{\"score\": NaN, \"text\": \"a\", \"text\": \"b\\ud800\"}\n"
                 "{\"id\": 1000000000000000000000000000000, \"n\": -Infinity, \"text\": \"c\"}"),
            "b\uFFFD\n\nc");
}

TEST_F(ReadCorpus, KnowsCompressionsAndEncodingsByTheirFirstBytes) {
  const std::string plain = "One caf\u00e9.\nTwo \U0001f600.\n", rows = "{\"text\": \"caf\u00e9\"}\n";
  for (const char* name : {"a.txt", "a.txt.gz", "a.zst", "a"}) {
    EXPECT_EQ(text(name, plain), plain);
    EXPECT_EQ(text(name, "\xef\xbb\xbf" + plain), plain);
    for (const std::string& bytes : {utf16(plain, false), utf16(plain, true)}) {
      EXPECT_EQ(text(name, bytes), plain);
      EXPECT_EQ(text(name, gzip(bytes)), plain);
    }
    EXPECT_EQ(text(name, gzip(plain)), plain);
    EXPECT_EQ(text(name, zstd(plain)), plain);
    EXPECT_EQ(text(name, gzip("one\n") + gzip("more")), "one\nmore");
    EXPECT_EQ(text(name, zstd("one\n") + zstd("more")), "one\nmore");
    EXPECT_EQ(text(name, gzip("one\n") + std::string(500, '\0')), "one\n");
  }
  EXPECT_EQ(text("a.jsonl", gzip(utf16(rows, true))), "caf\u00e9");
  const std::string large(3 << 20, 'x');
  EXPECT_EQ(text("a.txt", gzip(large)), large);
  EXPECT_EQ(text("a.txt", zstd(large)), large);
}

TEST_F(ReadCorpus, NamesWhatIsWrong) {
  EXPECT_THAT(error_of([&] { read_corpus(folder_ / "absent.txt"); }), HasSubstr("absent.txt: No such file"));
  EXPECT_THAT(error_of([&] { read_corpus(folder_.path()); }), HasSubstr("is a directory"));
  EXPECT_THAT(error("a.txt", ""), HasSubstr("holds no text"));
  EXPECT_THAT(error("a.txt", " \n\n"), HasSubstr("holds no text"));
  EXPECT_THAT(error("a.jsonl", "{\"text\": \"one\"}\n{\"text\": oops}\n"),
              HasSubstr("a.jsonl, line 2: this is not valid JSON: byte 10: a value should be here"));
  EXPECT_THAT(error("a.jsonl", "[1]"), HasSubstr("a.jsonl, line 1 is no JSON object"));
  EXPECT_THAT(error("a.jsonl", "\n{\"n\": 1}"), HasSubstr("a.jsonl, line 2 has no string"));
  EXPECT_THAT(error("a.jsonl", "{\"text\": 1}"), HasSubstr("line 1 has no string"));
  EXPECT_THAT(error("a.jsonl", "{\"title\": \"x\", \"body\": \"y\"}"),
              HasSubstr("name one of its fields: body, title"));
  EXPECT_THAT(error("a.jsonl", "{\"text\": \"x\"}", "body"), HasSubstr("line 1 has no string \"body\""));
  const std::string packed = gzip(std::string(5000, 'x') + "end");
  EXPECT_THAT(error("a.txt", packed.substr(0, packed.size() - 9)), HasSubstr("cut short"));
  EXPECT_THAT(error("a.txt", packed + "more"), HasSubstr("is not valid gzip"));
  std::string damaged = packed;
  damaged[packed.size() - 6] ^= 1;  // the checksum
  EXPECT_THAT(error("a.txt.gz", damaged), HasSubstr("is not valid gzip"));
  const std::string frame = zstd(std::string(5000, 'x') + "end");
  EXPECT_THAT(error("a.txt", frame.substr(0, frame.size() - 2)), HasSubstr("cut short"));
  EXPECT_THAT(error("a.txt", frame + "more"), HasSubstr("zstd"));
}

TEST_F(ReadCorpus, SaysThatAnotherFieldCanBeNamed) {
  for (const char* field : {"", "title"}) {
    try {
      text("a.jsonl", "{\"body\": \"y\"}", field);
      ADD_FAILURE() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_EQ(error.settings(), std::vector<Setting>{Setting::text_field});
    }
  }
}

TEST_F(ReadCorpus, RefusesWhatIsNoText) {
  const auto refused = [&](const std::string& bytes, const std::string& why) {
    for (const std::string& packed : {bytes, gzip(bytes), zstd(bytes)})
      EXPECT_THAT(error("a.bin", packed), AllOf(HasSubstr("a.bin is no text"), HasSubstr(why)));
  };
  refused("one caf\xe9 and more", "byte 7 is not UTF-8");
  refused(std::string(300000, 'x') + "\xff", "byte 300000 is not UTF-8");
  refused("cut \xc3", "byte 4 is not UTF-8");
  refused(std::string("one\0two", 7), "byte 3 is NUL");
  refused(utf16("plain", false, false), "UTF-16 without its mark");
  refused(utf16("plain", true, false), "UTF-16 without its mark");
  refused(utf16("plain", false) + "x", "ends inside a character");
  refused(std::string("\xff\xfe\x00\xdc", 4), "half a surrogate pair");
  refused(std::string("\xff\xfe\x3d\xd8", 4), "half a surrogate pair");
  refused(std::string("\x7f"
                      "ELF\2\1\1\0\0",
                      9),
          "a program");
  for (const std::string& packed : {gzip("PAR1 and so on"), zstd("PAR1 and so on")})
    EXPECT_THAT(error("a.bin", packed), AllOf(HasSubstr("a.bin is no text"), HasSubstr("Parquet")));
  EXPECT_THAT(error("a.jsonl", "{\"text\": \"caf\xe9\"}"), HasSubstr("not UTF-8"));
}

// More text than is read ahead: what is wanted is read, and windows are those of the whole text.
TEST_F(ReadCorpus, ALongCorpusIsReadAsFarAsItIsNeeded) {
  const auto tokenizer = Tokenizer::from_json(read_golden("small_byte_level.json"));
  std::string words;
  for (int i = 0; words.size() < (size_t{9} << 20); ++i)
    words += fmt::format("word{} of the text,\n", i * 7919 % 100003);
  std::string packed, whole;
  for (int i = 0; i < 8; ++i) {
    packed += gzip(words);
    whole += words;
  }
  tests::write_file(folder_ / "long.txt", packed);
  const Corpus corpus = read_corpus(folder_ / "long.txt");
  EXPECT_GE(corpus.text.size(), kCorpusAhead);
  EXPECT_LT(corpus.text.size(), kCorpusAhead + (size_t{2} << 20));
  ASSERT_NE(corpus.rest, nullptr);
  const Corpus held{"held", whole, nullptr};
  for (const uint64_t seed : {0u, 1u, 7u}) {
    EXPECT_TRUE(
        at::equal(make_windows(*tokenizer, read_corpus(folder_ / "long.txt"), 40, 50, BosPolicy::never, seed),
                  make_windows(*tokenizer, held, 40, 50, BosPolicy::never, seed)))
        << seed;
  }
  // What is damaged far behind the windows stops nothing; a seed reads all of it.
  packed[packed.size() - 6] ^= 1;
  tests::write_file(folder_ / "long.txt", packed);
  EXPECT_NO_THROW(make_windows(*tokenizer, read_corpus(folder_ / "long.txt"), 4, 50, BosPolicy::never));
  EXPECT_THAT(error_of([&] {
                make_windows(*tokenizer, read_corpus(folder_ / "long.txt"), 4, 50, BosPolicy::never, 1);
              }),
              HasSubstr("not valid gzip"));
}

TEST_F(ReadCorpus, ALongRowIsRefused) {
  std::string packed = gzip("{\"text\": \"");
  const std::string piece = gzip(std::string(size_t{8} << 20, 'x'));
  for (int i = 0; i < 9; ++i) packed += piece;
  EXPECT_THAT(error("a.jsonl", packed), HasSubstr("a.jsonl, line 1 is longer than 64 MiB"));
}

TEST(DefaultCorpus, IsPlainEnglish) {
  const Corpus corpus = default_corpus();
  const size_t bytes = corpus.text.size();
  const auto letters = static_cast<size_t>(std::count_if(corpus.text.begin(), corpus.text.end(), [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == ' ';
  }));
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
  corpus.text.resize(100000);
  const std::vector<int32_t> all = tokenizer->encode(corpus.text, BosPolicy::never);
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
  const Corpus corpus = corpus_of("c", "ab\n<|endoftext|>\ncd\n<|endoftext|>\nef\n");
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
  const std::string& text = corpus.text;
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
  const Corpus corpus = corpus_of("small.txt", "some words of text, and a few more of them");
  const auto error = [&](int64_t sequences, int64_t tokens, uint64_t seed) {
    return error_of([&] { make_windows(*tokenizer, corpus, sequences, tokens, BosPolicy::model, seed); });
  };
  const auto count = static_cast<int64_t>(tokenizer->encode(corpus.text, BosPolicy::never).size());
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
