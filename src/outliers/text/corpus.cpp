// Reading corpora and cutting windows. The default corpus is linked in as the bytes of its gzip file.
#include "outliers/text/corpus.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <ATen/Functions.h>

#include "outliers/core/error.h"
#include "outliers/core/input.h"
#include "outliers/core/interrupt.h"

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

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

/// Whether the name says that there are JSON lines in it.
bool is_named_json_lines(const std::filesystem::path& path) {
  std::filesystem::path name = lower(path.filename().string());
  for (const char* packed : {".gz", ".gzip", ".zst", ".zstd"}) {
    if (name.extension() == packed) {
      name.replace_extension();
      break;
    }
  }
  const std::string ending = name.extension().string();
  return ending == ".jsonl" || ending == ".ndjson" || ending == ".json";
}

/// The beginning, and a reader where there is more.
Corpus begin_corpus(std::string name, std::vector<CorpusReader::Source> sources) {
  const std::string where = sources.size() == 1 ? sources.front().name : "the corpus " + printable(name);
  Corpus corpus{std::move(name), "", std::make_shared<CorpusReader>(std::move(sources))};
  while (corpus.rest && corpus.text.size() < kCorpusAhead) {
    if (!corpus.rest->read(corpus.text)) corpus.rest = nullptr;
  }
  require(!corpus.text.empty(), "{} holds no text", where);
  return corpus;
}

constexpr const char* kWhat = "the corpus ";

/// From the first byte on.
CorpusReader::Contents contents(const std::shared_ptr<InputFile>& file, const std::filesystem::path& path,
                                const std::string& text_field) {
  if (file->can_rewind()) {
    char first[4] = {};
    const size_t got = file->read_at(0, first, sizeof first);
    if (is_parquet({first, got})) return parquet_rows(file, text_field, kLongestRow);
    // A pointer of git-lfs would pass as text.
    require(lower(path.extension().string()) != ".parquet",
            "{} is no Parquet file, whatever its name says: it does not begin with PAR1; download it again{}",
            file->name(), std::string_view(first, got) == "vers" ? " (it may be a pointer of git-lfs)" : "");
  }
  return unpacked([file](char* to, size_t most) { return file->read(to, most); }, file->name());
}

CorpusReader::Source source_of(const std::filesystem::path& path, const std::string& text_field,
                               bool keep_empty) {
  const auto file = std::make_shared<InputFile>(path, kWhat);
  CorpusReader::Source source;
  source.name = file->name();
  source.text_field = text_field;
  source.keep_empty = keep_empty;
  source.form = !text_field.empty() || is_named_json_lines(path) ? CorpusReader::Form::json_lines
                : file->can_rewind() && path != "-"              ? CorpusReader::Form::text
                                                                 : CorpusReader::Form::by_first_line;
  source.open = [file, path, text_field, first = true]() mutable {
    require(first || file->can_rewind(), Cause{ErrorKind::argument, {Setting::seed}},
            "{} has more than {} MiB of text and can be read only once, so no windows can come from random "
            "places; save it to a file",
            file->name(), kCorpusAhead >> 20);
    if (!first) file->rewind();
    first = false;
    return contents(file, path, text_field);
  };
  return source;
}

/// Text that may go on: at least `bytes` of it, or all there is.
using TextUpTo = std::function<std::string_view(size_t bytes)>;

// Tokenises until `wanted` tokens are there or the text ends. The text is cut somewhere behind them, so a few
// more tokens are asked for and dropped: the cut cannot have changed the ones that stay.
std::vector<int32_t> first_tokens(const Tokenizer& tokenizer, const TextUpTo& text_up_to, size_t wanted) {
  constexpr size_t spare = 64, longest_character = 4;
  constexpr size_t most = size_t{1} << 48;  // no text is longer
  for (size_t bytes = std::min(wanted, most / 8) * 6 + spare * 6;; bytes *= 2) {
    check_interrupt();
    const std::string_view text = text_up_to(bytes + longest_character);
    size_t end = std::min(bytes, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    std::vector<int32_t> ids = tokenizer.encode(text.substr(0, end), BosPolicy::never);
    if (end == text.size() || ids.size() - std::min(ids.size(), wanted) >= spare) {
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

/// Parts of a text, by the place at which each begins.
class Places {
 public:
  explicit Places(Corpus corpus) : corpus_(std::move(corpus)), size_(corpus_.text.size()) {
    if (!corpus_.rest) return;
    corpus_.text = {};
    corpus_.rest->rewind();
    size_ = 0;
    std::string piece;
    while (corpus_.rest->read(piece)) {
      size_ += piece.size();
      piece.clear();
    }
  }

  /// Of the text, in bytes.
  size_t size() const { return size_; }

  /// `bytes` from each place on, or what there is before the end.
  std::vector<std::string> read(const std::vector<size_t>& places, size_t bytes) {
    std::vector<std::string> parts(places.size());
    if (!corpus_.rest) {
      for (size_t i = 0; i < places.size(); ++i) parts[i] = corpus_.text.substr(places[i], bytes);
      return parts;
    }
    std::vector<size_t> order(places.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return places[a] < places[b]; });
    corpus_.rest->rewind();
    std::string piece;
    size_t begin = 0, first = 0;  // of the piece; of what is not complete, by order
    while (first < order.size() && corpus_.rest->read(piece)) {
      const size_t end = begin + piece.size();
      for (size_t i = first; i < order.size() && places[order[i]] < end; ++i) {
        const size_t from = std::max(places[order[i]] + parts[order[i]].size(), begin);
        parts[order[i]].append(piece, from - begin, bytes - parts[order[i]].size());
      }
      while (first < order.size() && parts[order[first]].size() == bytes) ++first;
      begin = end;
      piece.clear();
    }
    return parts;
  }

 private:
  Corpus corpus_;
  size_t size_;
};

/// Tokens of a window from a place on; nothing where the part is too short for it and the text goes on.
std::optional<std::vector<int32_t>> tokens_at(const Tokenizer& tokenizer, std::string_view part, bool goes_on,
                                              size_t wanted) {
  part.remove_prefix(next_word(part, 0));
  bool short_part = false;
  const auto up_to = [&](size_t bytes) {
    short_part = goes_on && bytes > part.size();
    return part;
  };
  std::vector<int32_t> ids = first_tokens(tokenizer, up_to, wanted);
  return short_part ? std::nullopt : std::optional(std::move(ids));
}

}  // namespace

std::vector<int64_t> prefix_of(const Tokenizer& tokenizer, BosPolicy policy) {
  const std::vector<int32_t> plain = tokenizer.encode("a", BosPolicy::never);
  const std::vector<int32_t> framed = tokenizer.encode("a", policy);
  const auto body = std::search(framed.begin(), framed.end(), plain.begin(), plain.end());
  return std::vector<int64_t>(framed.begin(), body);
}

std::vector<int32_t> first_tokens(const Tokenizer& tokenizer, std::vector<Corpus> corpora, size_t wanted) {
  std::string text;
  size_t next = 0;
  std::shared_ptr<CorpusReader> rest;
  const auto up_to = [&](size_t bytes) {
    while (text.size() < bytes) {
      if (rest) {
        if (!rest->read(text)) rest = nullptr;
      } else if (next < corpora.size()) {
        Corpus& corpus = corpora[next++];
        if (next > 1) text += kJoint;
        text += std::exchange(corpus.text, {});
        rest = std::move(corpus.rest);
      } else {
        break;
      }
    }
    return std::string_view(text);
  };
  return first_tokens(tokenizer, up_to, wanted);
}

Corpus read_corpus(const std::filesystem::path& path, const std::string& text_field, bool keep_empty) {
  return begin_corpus(path == "-" ? "standard input" : path.filename().string(),
                      {source_of(path, text_field, keep_empty)});
}

Corpus read_corpus(const std::string& name, const std::vector<std::filesystem::path>& parts,
                   const std::string& text_field, bool keep_empty) {
  std::vector<CorpusReader::Source> sources;
  for (const std::filesystem::path& part : parts) {
    CorpusReader::Source source = source_of(part, text_field, keep_empty);
    // Not all open at once: there may be thousands.
    source.open = [part, text_field] {
      return contents(std::make_shared<InputFile>(part, kWhat), part, text_field);
    };
    sources.push_back(std::move(source));
  }
  return begin_corpus(name, std::move(sources));
}

Corpus corpus_of(std::string name, std::string text) {
  const auto bytes = std::make_shared<std::string>(std::move(text));
  CorpusReader::Source source;
  source.name = fmt::format("the corpus {}", printable(name));
  source.open = [bytes, where = source.name] {
    const auto next = [bytes, at = size_t{0}](char* to, size_t most) mutable {
      const size_t count = bytes->copy(to, most, at);
      at += count;
      return count;
    };
    return CorpusReader::Contents(unpacked(next, where));
  };
  return begin_corpus(std::move(name), {std::move(source)});
}

Corpus default_corpus() {
  return corpus_of("state-of-the-union",
                   {outliers_default_corpus_begin,
                    static_cast<size_t>(outliers_default_corpus_end - outliers_default_corpus_begin)});
}

at::Tensor make_windows(const Tokenizer& tokenizer, Corpus corpus, int64_t sequences, int64_t tokens,
                        BosPolicy bos, uint64_t seed) {
  require(sequences > 0 && tokens > 0, kArgument, "{} sequences of {} tokens: both must be at least 1",
          sequences, tokens);
  constexpr int64_t most = int64_t{1} << 40;
  require(tokens <= most / sequences, kArgument, "{} sequences of {} tokens are too many", sequences, tokens);
  const std::vector<int64_t> prefix = prefix_of(tokenizer, bos);
  const int64_t body = tokens - static_cast<int64_t>(prefix.size());
  require(body > 0, kArgument,
          "windows of {} tokens have no room behind the {} that stand in front of every window", tokens,
          prefix.size());
  const auto count = static_cast<size_t>(sequences * body);
  const std::string name = printable(corpus.name);
  const auto too_short = [&](size_t windows) {
    fail(kArgument,
         "the corpus {} gives {} windows of {} tokens, and {} were asked for; ask for fewer or shorter ones, "
         "or name a longer corpus",
         name, windows, tokens, sequences);
  };

  at::Tensor windows = at::empty({sequences, tokens}, at::kLong);
  int64_t* row = windows.mutable_data_ptr<int64_t>();
  const auto write_row = [&](const int32_t* ids) {
    row = std::copy(prefix.begin(), prefix.end(), row);
    row = std::copy(ids, ids + body, row);
  };
  const size_t body_size = static_cast<size_t>(body);
  constexpr size_t generous_bytes_per_token = 8;
  if (seed == 0 || (!corpus.rest && corpus.text.size() / generous_bytes_per_token < count)) {
    const auto up_to = [&](size_t bytes) {
      while (corpus.rest && corpus.text.size() < bytes) {
        if (!corpus.rest->read(corpus.text)) corpus.rest = nullptr;
      }
      return std::string_view(corpus.text);
    };
    const std::vector<int32_t> ids = first_tokens(tokenizer, up_to, count);
    if (ids.size() < count) too_short(ids.size() / body_size);
    if (seed == 0) {
      for (size_t i = 0; i < count; i += body_size) write_row(ids.data() + i);
      return windows;
    }
  }
  std::mt19937_64 engine(seed);
  Places text(std::move(corpus));
  // Enough for most texts; a place that needs more is read again.
  size_t bytes = (body_size + 64) * 16 + 256;
  constexpr size_t most_failures = 10000, most_at_once = size_t{64} << 20;
  size_t failures = 0;
  for (int64_t done = 0; done < sequences;) {
    std::vector<size_t> places(
        std::clamp<size_t>(most_at_once / bytes, 1, static_cast<size_t>(sequences - done)));
    for (size_t& place : places) place = static_cast<size_t>(engine() % text.size());
    std::vector<std::string> parts = text.read(places, bytes);
    for (size_t i = 0; i < places.size(); ++i) {
      auto ids = tokens_at(tokenizer, parts[i], places[i] + parts[i].size() < text.size(), body_size);
      for (size_t longer = bytes; !ids;) {
        longer *= 4;
        const std::string part = text.read({places[i]}, longer).front();
        ids = tokens_at(tokenizer, part, places[i] + part.size() < text.size(), body_size);
      }
      if (ids->size() < body_size) {
        if (++failures == most_failures) too_short(static_cast<size_t>(done));
        continue;
      }
      failures = 0;
      write_row(ids->data());
      ++done;
    }
  }
  return windows;
}

}  // namespace outliers::text
