// Names, hashes and the cache's layout; what needs a server is in tests/apps/hub_test.py.
#include "outliers/io/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

#ifdef OUTLIERS_WITH_HUB
#include "outliers/io/digest.h"
#include "outliers/io/http.h"
#endif

namespace outliers::io {
namespace {

using testing::ElementsAre;

TEST(HubName, Parts) {
  const auto parts = [](const std::string& text) {
    const auto name = parse_hub_name(text);
    return name ? std::vector{name->repository, name->revision, name->file} : std::vector<std::string>{};
  };
  EXPECT_THAT(parts("Qwen/Qwen2.5-0.5B"), ElementsAre("Qwen/Qwen2.5-0.5B", "main", ""));
  EXPECT_THAT(parts("gpt2"), ElementsAre("gpt2", "main", ""));
  EXPECT_THAT(parts("a/b@v1.0"), ElementsAre("a/b", "v1.0", ""));
  EXPECT_THAT(parts("a/b@refs/pr/3:sub/x@1.gguf"), ElementsAre("a/b", "refs/pr/3", "sub/x@1.gguf"));
  EXPECT_THAT(parts("a/b.gguf:Q4_K_M"), ElementsAre("a/b.gguf", "main", "Q4_K_M"));
  for (const char* text :
       {"",           "/a",      "a/",     "a/b/c",           "../a", "a/..", "a--b/c",  "-a/b",     "a/b.",
        "a b",        "a/b.git", "a.gguf", "a/b.safetensors", "a/b@", "a/b:", "a/b@x y", "a/b@../c", "a/b@/c",
        "\xc3\xa9/b", "~/a",     "$HOME"}) {
    EXPECT_THAT(parts(text), ElementsAre()) << text;
  }
}

TEST(HubName, OfADataSet) {
  const auto parts = [](const std::string& text) {
    const HubName name = parse_hub_address("hf://datasets/" + text);
    EXPECT_TRUE(name.data_set);
    return std::vector{name.repository, name.revision, name.file, name.text()};
  };
  EXPECT_THAT(parts("a/b/c.txt"), ElementsAre("a/b", "main", "c.txt", "hf://datasets/a/b/c.txt"));
  EXPECT_THAT(parts("a/b/x/*@1.txt"), ElementsAre("a/b", "main", "x/*@1.txt", "hf://datasets/a/b/x/*@1.txt"));
  EXPECT_THAT(parts("a/b@v1/c"), ElementsAre("a/b", "v1", "c", "hf://datasets/a/b@v1/c"));
  EXPECT_THAT(parts("a/b@refs%2Fpr%2F3/c"),
              ElementsAre("a/b", "refs/pr/3", "c", "hf://datasets/a/b@refs/pr/3/c"));
  EXPECT_THAT(
      parts("a/b@refs/convert/parquet/d/c"),
      ElementsAre("a/b", "refs/convert/parquet", "d/c", "hf://datasets/a/b@refs/convert/parquet/d/c"));
  for (const char* text :
       {"a", "a/b", "a/b/", "a/b@", "a/b@v1", "a/b@v1/", "a/b@refs/pr/3", "a/../c", "/a/b", "a/b@%2e%2e/c"})
    EXPECT_THROW(parts(text), Error) << text;
}

TEST(HubName, OfAPathInTheCache) {
  EXPECT_EQ(hub_name_of("/c/hub/models--Qwen--Qwen2.5-0.5B/snapshots/0123/model.safetensors"),
            "Qwen/Qwen2.5-0.5B");
  EXPECT_EQ(hub_name_of("/c/hub/models--gpt2/snapshots/0123"), "gpt2");
  EXPECT_EQ(hub_name_of("/c/hub/models--gpt2/blobs/0123"), "");
  EXPECT_EQ(hub_name_of("/c/snapshots/0123"), "");
}

TEST(HubCache, KeepsRevisionsAndFiles) {
  const tests::ScratchDirectory scratch;
  HubSettings settings;
  settings.cache = scratch.path();
  const HubCache cache(settings, "org/name");
  const std::string commit(40, 'a');
  EXPECT_EQ(cache.commit_of("main"), std::nullopt);
  EXPECT_EQ(cache.commit_of(commit), commit);
  cache.set_commit("main", commit);
  EXPECT_EQ(cache.commit_of("main"), commit);
  EXPECT_EQ(tests::read_file(scratch / "models--org--name/refs/main"), commit);
  tests::write_file(scratch / "models--org--name/refs/broken", "no commit");
  EXPECT_EQ(cache.commit_of("broken"), std::nullopt);

  cache.prepare(commit, "sub/file", "etag");
  tests::write_file(cache.blob("etag"), "content");
  cache.link(commit, "sub/file", "etag", true);
  EXPECT_EQ(std::filesystem::read_symlink(cache.snapshot(commit) / "sub/file"), "../../../blobs/etag");
  EXPECT_EQ(tests::read_file(cache.snapshot(commit) / "sub/file"), "content");
  EXPECT_THAT(cache.files(commit), ElementsAre("sub/file"));
  // A link whose blob somebody removed is no file.
  std::filesystem::remove(cache.blob("etag"));
  EXPECT_FALSE(cache.has(commit, "sub/file"));
  EXPECT_THAT(cache.files(commit), ElementsAre());
}

#ifdef OUTLIERS_WITH_HUB
TEST(Digest, KnownHashes) {
  // FIPS 180-2, appendix B.1; `git hash-object` of an empty file and of "hello\n".
  Digest abc = Digest::sha256();
  abc.update("a");
  abc.update("bc");
  EXPECT_EQ(abc.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Digest::git_blob(0).finish(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  Digest hello = Digest::git_blob(6);
  hello.update("hello\n");
  EXPECT_EQ(hello.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(Http, Origins) {
  EXPECT_EQ(origin_of("https://Hub.example/a/b?c"), "https://hub.example:443");
  EXPECT_EQ(origin_of("http://hub.example:8080"), "http://hub.example:8080");
  EXPECT_EQ(origin_of("https://user@evil.example:1/https://hub.example"), "https://evil.example:1");
  for (const char* url : {"", "hub.example/a", "file:///etc/passwd", "ftp://hub.example", "https://"}) {
    EXPECT_THROW(origin_of(url), Error) << url;
  }
  EXPECT_EQ(url_quote("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(url_quote("a b/\xc3\xa9?#%", "/"), "a%20b/%C3%A9%3F%23%25");
}
#endif

}  // namespace
}  // namespace outliers::io
