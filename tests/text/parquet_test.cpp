// Parquet files of pyarrow's, whole and damaged. The program on them: tests/apps/parquet_test.py.
#include "outliers/text/parquet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/exception.h"
#include "outliers/text/corpus.h"

#include "golden.h"

namespace outliers::text {
namespace {

using testing::HasSubstr;
using tests::error_of;
using tests::ScratchDirectory;
namespace fs = std::filesystem;

fs::path golden_file(const std::string& name) {
  return tests::golden("text") / "parquet" / name;
}

std::vector<fs::path> good_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(golden_file(""))) {
    if (entry.path().filename().string().starts_with("good_")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class Parquet : public testing::Test {
 protected:
  void SetUp() override {
#ifndef OUTLIERS_WITH_PARQUET
    GTEST_SKIP() << "this build has no pyarrow";
#endif
  }
  ScratchDirectory folder_;
};

TEST_F(Parquet, EveryFormGivesTheTextOfTheSameRowsAsJson) {
  const std::vector<fs::path> files = good_files();
  ASSERT_GE(files.size(), 25u);
  for (const bool keep_empty : {false, true}) {
    const std::string wanted = read_corpus(golden_file("rows.jsonl"), "", keep_empty).text;
    ASSERT_GT(wanted.size(), 300u);
    for (const fs::path& file : files) {
      const Corpus corpus = read_corpus(file, "", keep_empty);
      EXPECT_EQ(corpus.text, wanted) << file;
      EXPECT_EQ(corpus.name, file.filename().string());
    }
  }
}

TEST_F(Parquet, AColumnCanBeNamed) {
  const fs::path file = golden_file("good_zstd_v1.parquet");
  EXPECT_EQ(read_corpus(file, "url").text, "u\n\nu\n\nu\n\nu\n\nu\n\nu\n\nu\n\nu\n\nu\n\nu");
  EXPECT_EQ(read_corpus(file, "text").text, read_corpus(file).text);
  for (const char* none : {"id", "Text", "text.text"}) {
    EXPECT_THAT(
        error_of([&] { read_corpus(file, none); }),
        HasSubstr(fmt::format("has no column of strings \"{}\"; name one of its columns: text, url", none)));
  }
  try {
    read_corpus(file, "id");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_EQ(error.settings(), std::vector<Setting>{Setting::text_field});
  }
}

TEST_F(Parquet, NamesWhatIsRefused) {
  const auto reasons = nlohmann::json::parse(read_golden("parquet/refused.json"));
  EXPECT_GE(reasons.size(), 12u);
  for (const auto& [name, reason] : reasons.items()) {
    const fs::path file = golden_file(name + ".parquet");
    const std::string error = error_of([&] { read_corpus(file); });
    EXPECT_THAT(error, HasSubstr(reason.get<std::string>())) << name;
    EXPECT_THAT(error, HasSubstr(name + ".parquet")) << name;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST_F(Parquet, TheNameAloneMakesNone) {
  tests::write_file(folder_ / "a.parquet",
                    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  EXPECT_THAT(error_of([&] { read_corpus(folder_ / "a.parquet"); }), HasSubstr("a pointer of git-lfs"));
  tests::write_file(folder_ / "a.PARQUET", "");
  EXPECT_THAT(error_of([&] { read_corpus(folder_ / "a.PARQUET"); }), HasSubstr("does not begin with PAR1"));
  // And none is needed.
  fs::copy_file(golden_file("good_plain.parquet"), folder_ / "0123456789abcdef");
  EXPECT_EQ(read_corpus(folder_ / "0123456789abcdef").text,
            read_corpus(golden_file("good_plain.parquet")).text);
}

/// What reading gives: the text, or the error, which is one line with the file's name.
std::string outcome(const fs::path& file) {
  try {
    return read_corpus(file).text;
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_THAT(what, HasSubstr(file.filename().string()));
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    return "";
  }
}

TEST_F(Parquet, CutAnywhereItIsAnError) {
  for (const char* name : {"good_plain.parquet", "good_snappy_v1.parquet", "good_zstd_v2.parquet"}) {
    const std::string bytes = tests::read_file(golden_file(name));
    const size_t step = std::max<size_t>(1, bytes.size() / 200);
    for (size_t size = 4; size + 8 < bytes.size(); size += step) {
      tests::write_file(folder_ / "cut.parquet", bytes.substr(0, size));
      EXPECT_THAT(error_of([&] { read_corpus(folder_ / "cut.parquet"); }),
                  HasSubstr("cut.parquet is cut short"))
          << size;
      // With the end in its place the footer lies elsewhere.
      tests::write_file(folder_ / "cut.parquet", bytes.substr(0, size) + bytes.substr(bytes.size() - 8));
      EXPECT_EQ(outcome(folder_ / "cut.parquet"), "") << size;
    }
  }
}

TEST_F(Parquet, FlippedBytesAreAnErrorOrAnotherText) {
  for (const char* name : {"good_plain.parquet", "good_content.parquet", "good_delta_byte_array.parquet",
                           "good_two_columns.parquet", "good_zstd_v2.parquet"}) {
    const std::string bytes = tests::read_file(golden_file(name));
    size_t errors = 0;
    for (size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 300) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        tests::write_file(folder_ / "damaged.parquet", damaged);
        errors += outcome(folder_ / "damaged.parquet").empty() ? 1 : 0;
      }
    }
    EXPECT_GT(errors, 20u) << name;
  }
}

// Where the writer put checksums, damage of a page is seen.
TEST_F(Parquet, ChecksumsAreChecked) {
  std::string bytes = tests::read_file(golden_file("good_plain.parquet"));
  const size_t at = bytes.find("Zwei Zeilen");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'D';
  tests::write_file(folder_ / "damaged.parquet", bytes);
  EXPECT_THAT(error_of([&] { read_corpus(folder_ / "damaged.parquet"); }), HasSubstr("CRC"));
}

TEST_F(Parquet, SeveralFilesAreOneText) {
  const fs::path rows = golden_file("rows.jsonl"), table = golden_file("good_gzip_v1.parquet");
  tests::write_file(folder_ / "a.txt", "plain\n");
  for (const bool keep_empty : {false, true}) {
    const std::string text = read_corpus(rows, "", keep_empty).text;
    const Corpus corpus = read_corpus("three", {table, folder_ / "a.txt", rows}, "", keep_empty);
    EXPECT_EQ(corpus.text, text + "\n\nplain\n\n" + text);
    EXPECT_EQ(corpus.name, "three");
  }
  EXPECT_THAT(error_of([&] {
                read_corpus("two", {table, folder_ / "b.txt"});
              }),
              HasSubstr("b.txt: No such file"));
  EXPECT_THAT(error_of([&] {
                read_corpus("two", {golden_file("empty_rows.parquet"), golden_file("no_rows.parquet")});
              }),
              HasSubstr("the corpus two holds no text"));
}

TEST_F(Parquet, IsReadAnewFromItsStart) {
  std::vector<CorpusReader::Source> sources;
  for (int i = 0; i < 2; ++i) {
    CorpusReader::Source source;
    source.name = "it";
    source.open = [] {
      return CorpusReader::Contents(parquet_rows(
          std::make_shared<InputFile>(golden_file("good_two_columns.parquet")), "", kLongestRow));
    };
    sources.push_back(source);
  }
  CorpusReader reader(sources);
  std::string texts[2];
  for (std::string& text : texts) {
    while (reader.read(text)) {
    }
    reader.rewind();
  }
  EXPECT_EQ(texts[0], texts[1]);
  const std::string once = read_corpus(golden_file("rows.jsonl")).text;
  EXPECT_EQ(texts[0], once + "\n\n" + once);
}

TEST(ParquetName, ItsFirstBytes) {
  EXPECT_TRUE(is_parquet("PAR1"));
  EXPECT_TRUE(is_parquet("PARE\0"));
  EXPECT_FALSE(is_parquet("PAR"));
  EXPECT_FALSE(is_parquet("par1"));
#ifndef OUTLIERS_WITH_PARQUET
  EXPECT_THAT(
      error_of([] { read_corpus(golden_file("good_plain.parquet")); }),
      HasSubstr("good_plain.parquet is a Parquet file, which this build cannot read: build with pyarrow"));
#endif
}

}  // namespace
}  // namespace outliers::text
