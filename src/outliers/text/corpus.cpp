// Reading corpora and cutting windows. The default corpus is linked in as the bytes of its gzip file.
#include "outliers/text/corpus.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>

#include <ATen/Functions.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"
#include "outliers/text/unicode.h"

// .incbin rather than a generated source: no tool is needed at build time, and compiling takes no time.
__asm__(
    ".pushsection .rodata\n"
    ".global outliers_default_corpus_begin\n"
    ".global outliers_default_corpus_end\n"
    "outliers_default_corpus_begin:\n"
    ".incbin \"" OUTLIERS_DEFAULT_CORPUS
    "\"\n"
    "outliers_default_corpus_end:\n"
    ".popsection\n");
extern "C" const char outliers_default_corpus_begin[];
extern "C" const char outliers_default_corpus_end[];

namespace outliers::text {
namespace {

constexpr std::string_view separator = "<|endoftext|>";
constexpr std::string_view document_joint = "\n\n";

// Inflates gzip bytes (one or many members). Throws with `name` where they are damaged or cut short.
std::string gunzip(std::string_view bytes, const std::string& name) {
  z_stream stream{};
  constexpr int gzip_only = 15 + 16;
  require(inflateInit2(&stream, gzip_only) == Z_OK, "cannot start zlib");
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> owner(&stream, &inflateEnd);
  std::string out;
  std::vector<char> buffer(1 << 18);
  int status = Z_OK;
  for (size_t at = 0; at < bytes.size();) {
    const size_t chunk = std::min<size_t>(bytes.size() - at, 1u << 30);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + at));
    stream.avail_in = static_cast<uInt>(chunk);
    do {
      if (status == Z_STREAM_END) inflateReset(&stream);
      stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream.avail_out = static_cast<uInt>(buffer.size());
      status = inflate(&stream, Z_NO_FLUSH);
      require(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
              "{} is not valid gzip: {}; download it again or decompress it yourself", name,
              stream.msg ? stream.msg : "damaged data");
      out.append(buffer.data(), buffer.size() - stream.avail_out);
      check_interrupt();
    } while (stream.avail_in > 0 || stream.avail_out == 0);
    at += chunk;
  }
  require(status == Z_STREAM_END, "{} is cut short: its gzip data does not end; download it again", name);
  return out;
}

// The document in one line of JSON.
std::string document_of(const std::string& line, const std::string& name, size_t number) {
  const auto where = [&] { return fmt::format("{}, line {}", name, number); };
  const auto value = parse_json<nlohmann::json>(line, where());
  require(value.is_object(), "{} is no JSON object; a line looks like {{\"text\": \"...\"}}", where());
  for (const char* key : {"text", "content"}) {
    if (const auto field = value.find(key); field != value.end() && field->is_string()) {
      return field->get<std::string>();
    }
  }
  std::vector<std::string> strings;
  for (const auto& [key, field] : value.items()) {
    if (field.is_string()) strings.push_back(key);
  }
  require(!strings.empty(), "{} has no string field; the text belongs in \"text\"", where());
  require(strings.size() == 1,
          "{} has no field \"text\" or \"content\" and {} other string fields ({}): name one \"text\"",
          where(), strings.size(), printable(fmt::format("{}", fmt::join(strings, ", "))));
  return value[strings[0]].get<std::string>();
}

std::vector<std::string> json_documents(const std::string& text, const std::string& name) {
  std::vector<std::string> documents;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = replace_invalid_utf8(std::string_view(text).substr(at, end - at));
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    std::string document = document_of(line, name, number);
    if (!document.empty()) documents.push_back(std::move(document));
  }
  return documents;
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// What a policy puts in front of a text.
std::vector<int64_t> prefix_of(const Tokenizer& tokenizer, BosPolicy policy) {
  const std::vector<int32_t> plain = tokenizer.encode("a", BosPolicy::never);
  const std::vector<int32_t> framed = tokenizer.encode("a", policy);
  const auto body = std::search(framed.begin(), framed.end(), plain.begin(), plain.end());
  return std::vector<int64_t>(framed.begin(), body);
}

// Tokenises from `begin` until `wanted` tokens are there or the text ends. The text is cut somewhere behind
// them, so a few more tokens are asked for and dropped: the cut cannot have changed the ones that stay.
std::vector<int32_t> first_tokens(const Tokenizer& tokenizer, std::string_view text, size_t wanted) {
  constexpr size_t spare = 64;
  for (size_t bytes = (wanted + spare) * 6;; bytes *= 2) {
    check_interrupt();
    size_t end = std::min(bytes, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    std::vector<int32_t> ids = tokenizer.encode(text.substr(0, end), BosPolicy::never);
    if (end == text.size() || ids.size() >= wanted + spare) {
      if (ids.size() > wanted) ids.resize(wanted);
      return ids;
    }
  }
}

// The first byte behind white space at or after `place`; near the end of the text, or inside a very long
// word, the next character.
size_t next_word(std::string_view text, size_t place) {
  constexpr size_t longest_word = 256;
  const size_t blank =
      text.substr(0, std::min(text.size(), place + longest_word)).find_first_of(" \n\t", place);
  if (blank != std::string_view::npos && blank + 1 < text.size()) return blank + 1;
  while (place < text.size() && (static_cast<unsigned char>(text[place]) & 0xc0) == 0x80) ++place;
  return place;
}

}  // namespace

std::vector<std::string> split_documents(std::string_view text) {
  std::vector<std::string> documents;
  const auto add = [&](std::string_view document) {
    // The line break before the separator belongs to the separator.
    if (document.ends_with('\n')) document.remove_suffix(1);
    if (!is_blank(document)) documents.emplace_back(document);
  };
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line == separator) {
      add(text.substr(begin, at - begin));
      begin = std::min(end + 1, text.size());
    }
    at = end + 1;
  }
  if (begin == 0 && !is_blank(text)) return {std::string(text)};  // one document: every byte of it
  add(text.substr(begin));
  return documents;
}

Corpus read_corpus(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  std::error_code ignored;
  require(std::filesystem::exists(path, ignored), "the corpus {} does not exist", name);
  require(!std::filesystem::is_directory(path, ignored),
          "the corpus {} is a directory; name a .txt, .jsonl or .jsonl.gz file", name);
  std::ifstream file(path, std::ios::binary);
  require(file.good(), "cannot read the corpus {}: {}", name, std::strerror(errno));
  std::ostringstream buffer;
  buffer << file.rdbuf();
  require(!file.bad(), "cannot read the corpus {}: {}", name, std::strerror(errno));
  std::string text = std::move(buffer).str();

  std::filesystem::path plain = path;
  const bool compressed = path.extension() == ".gz";
  if (compressed) {
    plain.replace_extension();
    text = gunzip(text, name);
  }
  const std::string extension = plain.extension().string();
  const bool json = extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
  Corpus corpus{path.filename().string(), json ? json_documents(text, name) : split_documents(text)};
  require(!corpus.documents.empty(), "the corpus {} holds no text", name);
  return corpus;
}

Corpus default_corpus() {
  const std::string_view bytes(
      outliers_default_corpus_begin,
      static_cast<size_t>(outliers_default_corpus_end - outliers_default_corpus_begin));
  return {"state-of-the-union", split_documents(gunzip(bytes, "the default corpus"))};
}

at::Tensor make_windows(const Tokenizer& tokenizer, const Corpus& corpus, int64_t sequences, int64_t tokens,
                        BosPolicy bos, uint64_t seed) {
  require(sequences > 0 && tokens > 0, "{} sequences of {} tokens: both must be at least 1", sequences,
          tokens);
  constexpr int64_t most = int64_t{1} << 40;
  require(tokens <= most / sequences, "{} sequences of {} tokens are too many", sequences, tokens);
  const std::vector<int64_t> prefix = prefix_of(tokenizer, bos);
  const int64_t body = tokens - static_cast<int64_t>(prefix.size());
  require(body > 0, "windows of {} tokens have no room behind the {} that stand in front of every window",
          tokens, prefix.size());
  std::string text;
  for (const std::string& document : corpus.documents) {
    if (!text.empty()) text += document_joint;
    text += document;
  }
  const auto count = static_cast<size_t>(sequences * body);
  const auto too_short = [&](size_t windows) {
    fail(
        "the corpus {} gives {} windows of {} tokens, and {} were asked for; ask for fewer or shorter ones, "
        "or name a longer corpus",
        printable(corpus.name), windows, tokens, sequences);
  };

  at::Tensor windows = at::empty({sequences, tokens}, at::kLong);
  int64_t* row = windows.mutable_data_ptr<int64_t>();
  const auto write_row = [&](const int32_t* ids) {
    row = std::copy(prefix.begin(), prefix.end(), row);
    row = std::copy(ids, ids + body, row);
  };
  const size_t body_size = static_cast<size_t>(body);
  constexpr size_t generous_bytes_per_token = 8;
  if (seed == 0 || text.size() / generous_bytes_per_token < count) {
    const std::vector<int32_t> ids = first_tokens(tokenizer, text, count);
    if (ids.size() < count) too_short(ids.size() / body_size);
    if (seed == 0) {
      for (size_t i = 0; i < count; i += body_size) write_row(ids.data() + i);
      return windows;
    }
  }
  std::mt19937_64 engine(seed);
  constexpr int most_draws = 10000;
  for (int64_t i = 0; i < sequences; ++i) {
    std::vector<int32_t> ids;
    for (int draw = 0; draw < most_draws && ids.size() < body_size; ++draw) {
      const size_t place = next_word(text, static_cast<size_t>(engine() % text.size()));
      ids = first_tokens(tokenizer, std::string_view(text).substr(place), body_size);
    }
    if (ids.size() < body_size) too_short(static_cast<size_t>(i));
    write_row(ids.data());
  }
  return windows;
}

}  // namespace outliers::text
