// Bytes a second of one tokenizer on one core. usage: tokenizer_bench TOKENIZER TEXT [--repeat 5]
// TOKENIZER is a folder with tokenizer.json, or vocab.json and merges.txt. TEXT is cut into documents at
// lines `<|endoftext|>`; a .gz is unpacked. Prints JSON: bytes, documents, tokens, a hash of all ids, and the
// seconds of each pass. The word cache is cold in the first pass only; bench/tokenizer_peer.py runs it beside
// Hugging Face's tokenizers.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "outliers/core/input.h"
#include "outliers/text/tokenizer.h"
#include "outliers/text/unpack.h"

#include "support.h"

namespace {

std::vector<std::string> documents_of(const std::string& path) {
  outliers::InputFile file(path);
  const auto bytes =
      outliers::text::unpacked([&](char* to, size_t most) { return file.read(to, most); }, path);
  std::string text, piece(size_t{1} << 20, '\0');
  for (size_t got = 0; (got = bytes(piece.data(), piece.size())) > 0;) text.append(piece, 0, got);
  const std::string separator = "<|endoftext|>\n";
  std::vector<std::string> documents;
  size_t begin = 0;
  for (size_t end = 0; (end = text.find("\n" + separator, begin)) != std::string::npos;
       begin = end + 1 + separator.size())
    documents.push_back(text.substr(begin, end - begin));
  documents.push_back(text.substr(begin));
  if (documents.size() > 1 && documents.back().ends_with('\n')) documents.back().pop_back();
  return documents;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  CLI::App app("tokenizer speed");
  std::string tokenizer_path, text_path;
  int repeat = 5;
  app.add_option("TOKENIZER", tokenizer_path)->required();
  app.add_option("TEXT", text_path)->required();
  app.add_option("--repeat", repeat)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  const std::filesystem::path folder = tokenizer_path;
  const auto tokenizer = outliers::text::Tokenizer::from_files(
      {.tokenizer_json = outliers::tests::read_file(folder / "tokenizer.json"),
       .vocab_json = outliers::tests::read_file(folder / "vocab.json"),
       .merges_txt = outliers::tests::read_file(folder / "merges.txt")});
  const std::vector<std::string> documents = documents_of(text_path);
  size_t bytes = 0;
  for (const std::string& document : documents) bytes += document.size();
  std::vector<double> seconds;
  size_t tokens = 0;
  uint32_t hash = 0;
  for (int pass = 0; pass < repeat; ++pass) {
    tokens = 0;
    hash = 0x811c9dc5;
    std::vector<std::vector<int32_t>> all;
    const auto begin = Clock::now();
    for (const std::string& document : documents)
      all.push_back(tokenizer->encode(document, outliers::text::BosPolicy::never));
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    for (const auto& ids : all) {
      tokens += ids.size();
      for (const int32_t id : ids) hash = (hash ^ static_cast<uint32_t>(id)) * 0x01000193;
    }
  }
  std::puts(nlohmann::ordered_json{{"bytes", bytes},
                                   {"documents", documents.size()},
                                   {"tokens", tokens},
                                   {"hash", hash},
                                   {"seconds", seconds}}
                .dump()
                .c_str());
}
