// A tokenizer from a SentencePiece model: as the sentencepiece program reads it where the file is given for
// itself, and as AutoTokenizer of transformers 5.23 converts it where it stands in a folder
// (_convert_from_sentencepiece in tokenization_utils_tokenizers.py, SentencePieceExtractor and SpmConverter
// in convert_slow_tokenizer.py). The latter takes pieces and scores, and has the class build the rest.
#include <algorithm>
#include <map>
#include <set>

#include "outliers/core/error.h"
#include "outliers/text/bpe.h"
#include "outliers/text/sentencepiece.h"
#include "outliers/text/tokenizer_class.h"
#include "outliers/text/tokenizer_config.h"
#include "outliers/text/tokenizer_sources.h"
#include "outliers/text/unicode.h"
#include "outliers/text/unigram.h"

namespace outliers::text {
namespace {

using Type = SentencePieceModel::Type;
using Spellings = std::vector<std::string>;

// tiktoken's files have lines of a token in base64, a space and its rank.
bool is_tiktoken(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || !decode_base64(line.substr(0, space))) return false;
  const std::string_view rank = line.substr(space + 1);
  return !rank.empty() &&
         std::all_of(rank.begin(), rank.end(), [](char c) { return (c >= '0' && c <= '9') || c == '\r'; });
}

SentencePieceModel parse(std::string_view bytes, const std::string& name) {
  require(!is_tiktoken(bytes),
          "{}: this is a tiktoken file, not a SentencePiece model; save the tokenizer as tokenizer.json with "
          "transformers and put it beside the weights",
          name);
  return parse_sentencepiece(bytes);
}

Vocabulary vocabulary_of(const Spellings& pieces) {
  size_t bytes = 0;
  for (const std::string& piece : pieces) bytes += piece.size();
  Vocabulary vocabulary;
  vocabulary.reserve(pieces.size(), bytes);
  for (size_t id = 0; id < pieces.size(); ++id) vocabulary.set(static_cast<int32_t>(id), pieces[id]);
  vocabulary.index();
  return vocabulary;
}

struct Merge {
  int32_t left, right, whole;
};

// Two pieces merge where they make a third: in the order of its id, then of the shorter left one
// (generate_merges of tokenization_utils_base.py), whatever scores the file has.
std::vector<Merge> merges_of(const Vocabulary& vocabulary, const std::string& where) {
  // Far longer than what anybody has; without a limit a hostile file would take hours.
  constexpr size_t longest = 1024;
  require(vocabulary.longest_bytes() <= longest, kUnsupported,
          "{}: a piece of {} bytes is longer than {}, the most supported", where, vocabulary.longest_bytes(),
          longest);
  std::vector<bool> lengths(longest + 1);
  for (const std::string_view piece : vocabulary.pieces()) lengths[piece.size()] = true;
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.piece(static_cast<int32_t>(id));
    for (size_t cut = sequence_length(piece[0]); cut < piece.size(); cut += sequence_length(piece[cut])) {
      if (!lengths[cut] || !lengths[piece.size() - cut]) continue;
      const int32_t left = vocabulary.find(piece.substr(0, cut));
      const int32_t right = left < 0 ? -1 : vocabulary.find(piece.substr(cut));
      if (right >= 0) merges.push_back({left, right, static_cast<int32_t>(id)});
    }
  }
  return merges;
}

// The generic class spells a piece as added_tokens_decoder does, unless another one is spelled so. Returns
// the ids that have changed.
std::set<int32_t> respell(const std::vector<AddedToken>& listed, const Vocabulary& vocabulary,
                          const std::string& where, Spellings& pieces) {
  std::map<std::string_view, int32_t> changed;  // by the new spelling
  for (const AddedToken& token : listed) {
    const bool of_a_piece = static_cast<size_t>(token.id) < pieces.size() && !token.content.empty();
    if (of_a_piece && vocabulary.find(token.content) < 0) changed.emplace(token.content, token.id);
  }
  std::set<int32_t> ids;
  for (const auto& [content, id] : changed) {
    pieces[static_cast<size_t>(id)] = content;
    ids.insert(id);
  }
  for (const AddedToken& token : listed) {
    if (static_cast<size_t>(token.id) >= pieces.size()) continue;
    const auto again = changed.find(token.content);
    require(
        (again == changed.end() || again->second == token.id) &&
            ids.count(vocabulary.find(token.content)) == 0,
        "{}: more than one id of an added token is \"{}\"'s, and transformers goes by the order of the file; "
        "save tokenizer.json with transformers",
        where, printable(token.content));
  }
  return ids;
}

// A BPE model of pieces, whatever the file's type. `pieces` is how they are spelled in the end.
std::unique_ptr<Model> bpe_of(const std::vector<Merge>& merges, const Spellings& pieces, BpeOptions options,
                              const std::string& unknown) {
  Vocabulary vocabulary = vocabulary_of(pieces);
  if (const int32_t id = vocabulary.find(unknown); id >= 0) {
    options.unknown = id;
  } else {
    options.missing_unknown = unknown;
  }
  auto model = std::make_unique<Bpe>(std::move(vocabulary), std::move(options));
  model->reserve_merges(merges.size());
  const auto spelling = [&](int32_t id) -> const std::string& { return pieces[static_cast<size_t>(id)]; };
  for (const Merge& merge : merges) model->add_merge(spelling(merge.left), spelling(merge.right));
  return model;
}

// A Unigram model of pieces, whatever the file's type.
std::unique_ptr<Model> unigram_of(const Spellings& pieces, std::vector<double> scores, int64_t unknown,
                                  bool byte_fallback, const std::string& where) {
  require(unknown >= 0 && unknown < static_cast<int64_t>(pieces.size()),
          "{}: the id {} of the unknown token is none of its {} pieces", where, unknown, pieces.size());
  UnigramOptions options;
  options.unknown = static_cast<int32_t>(unknown);
  options.unknown_score = *std::min_element(scores.begin(), scores.end()) - Unigram::unknown_penalty;
  options.byte_fallback = byte_fallback;
  return std::make_unique<Unigram>(vocabulary_of(pieces), std::move(scores), options);
}

// What transformers makes of a SentencePiece model.
class Conversion {
 public:
  Conversion(const SentencePieceModel& model, TokenizerConfig& config, std::string where)
      : model_(model),
        config_(config),
        where_(std::move(where)),
        vocabulary_(check_sentencepiece(model, where_)) {
    for (const auto& piece : model.pieces) {
      pieces_.push_back(piece.text);
      scores_.push_back(piece.score);
      // Unless a configuration lists tokens of its own.
      const bool control = piece.type == Type::control;
      if (!config.lists_extra && (control || piece.type == Type::user_defined))
        config.extra.push_back({.content = piece.text, .special = control});
    }
  }

  Parts of_class(const TokenizerClass& own) {
    set_defaults(own, config_);
    // CodeLlama's marks are in both lists.
    for (const auto& [key, content] : own.named) {
      if (!config_.lists_extra && !is_standard_token(key) && config_.none.count(key) == 0)
        config_.extra.push_back({.content = content, .special = true});
    }
    Parts parts;
    if (own.pieces == TokenizerClass::Pieces::unigram) {
      add_sentinels();
      constexpr int64_t unknown = 2;  // T5's, whatever the file says
      parts.model = unigram_of(pieces_, std::move(scores_), unknown, own.byte_fallback, where_);
    } else {
      BpeOptions options;
      options.byte_fallback = own.byte_fallback;
      options.fuse_unknown = own.fuse_unknown;
      const AddedToken* const unknown = config_.find("unk_token");
      parts.model = bpe_of(merges_of(vocabulary_, where_), pieces_, std::move(options),
                           !own.has_unknown ? ""
                           : unknown        ? unknown->content
                                            : "None");
    }
    own.build(config_, parts);
    if (own.uses_charsmap && !model_.charsmap.empty())
      parts.normalizer = make_precompiled(Charsmap(model_.charsmap, where_));
    return parts;
  }

  // TokenizersBackend, with build_tokenizer_from_spm_proto.
  Parts generic() {
    Parts parts;
    if (model_.kind == SentencePieceModel::Kind::bpe) {
      parts.model = generic_bpe();
    } else {
      require(
          config_.listed.empty(),
          "{}: transformers opens no Unigram model beside added_tokens_decoder or added_tokens.json unless "
          "a file names its tokenizer_class; save tokenizer.json with transformers",
          where_);
      parts.model = unigram_of(pieces_, std::move(scores_), model_.unknown, model_.byte_fallback, where_);
    }
    std::vector<NormalizerPtr> steps;
    if (!model_.charsmap.empty()) steps.push_back(make_precompiled(Charsmap(model_.charsmap, where_)));
    steps.push_back(make_replace(" ", std::nullopt, "▁"));
    parts.normalizer = make_sequence(std::move(steps));
    parts.decoder = model_.byte_fallback ? make_sentencepiece_decoder(0, 0)
                                         : make_replace_decoder("▁", std::nullopt, " ");
    const auto named = [&](const char* key, int64_t id, const std::string& piece, const char* otherwise) {
      if (id >= 0) config_.set_default(key, piece.empty() ? otherwise : piece);
    };
    named("bos_token", model_.bos, model_.bos_piece, "<s>");
    named("eos_token", model_.eos, model_.eos_piece, "</s>");
    named("unk_token", model_.unknown, model_.unknown_piece, "<unk>");
    return parts;
  }

 private:
  std::unique_ptr<Model> generic_bpe() {
    const std::vector<Merge> merges = merges_of(vocabulary_, where_);
    const std::set<int32_t> changed = respell(config_.listed, vocabulary_, where_, pieces_);
    for (const Merge& merge : changed.empty() ? std::vector<Merge>() : merges) {
      for (const int32_t id : {merge.left, merge.right, merge.whole}) {
        require(changed.count(id) == 0,
                "{}: piece {}, {}, is spelled \"{}\" among the added tokens, but others merge with it or "
                "into it, so "
                "transformers does not open the model; save tokenizer.json with transformers",
                where_, id, printable(std::string(vocabulary_.piece(id))),
                printable(pieces_[static_cast<size_t>(id)]));
      }
    }
    BpeOptions options;
    options.byte_fallback = model_.byte_fallback;
    options.fuse_unknown = true;
    return bpe_of(merges, pieces_, std::move(options), model_.unknown_piece);
  }

  // T5's <extra_id_99> to <extra_id_0>, which the file does not have.
  void add_sentinels() {
    const auto sentinel = [](int64_t number) { return fmt::format("<extra_id_{}>", number); };
    const auto own = std::count_if(model_.pieces.begin(), model_.pieces.end(), [](const auto& piece) {
      return (piece.type == Type::control || piece.type == Type::user_defined) &&
             piece.text.find("<extra_id_") != std::string::npos;
    });
    const int64_t count = config_.extra_ids;
    require(own == 0 || count == 0,
            "{}: the model has {} sentinels (<extra_id_0>, ...) and extra_ids asks for {} more; set "
            "extra_ids to 0 in "
            "tokenizer_config.json, or save tokenizer.json with transformers",
            where_, own, count);
    for (int64_t i = count - 1; i >= 0; --i) {
      require(vocabulary_.find(sentinel(i)) < 0,
              "{}: the model has the piece {}, and extra_ids asks for another; set extra_ids to 0 in "
              "tokenizer_config.json, or save tokenizer.json with transformers",
              where_, sentinel(i));
      pieces_.push_back(sentinel(i));
      scores_.push_back(0);
    }
    if (config_.lists_extra) return;
    for (int64_t i = 0; i < count; ++i) config_.extra.push_back({.content = sentinel(i), .special = true});
  }

  const SentencePieceModel& model_;
  TokenizerConfig& config_;
  std::string where_;
  Vocabulary vocabulary_;
  Spellings pieces_;
  std::vector<double> scores_;
};

// What the class puts around a text where the files do not say, or whatever they say.
void add_frame(const TokenizerClass* own, TokenizerConfig& config, Parts& parts) {
  const bool silent = !config.add_bos && config.none.count("add_bos_token") == 0;
  if (own != nullptr && own->adds_bos && silent) config.add_bos = true;
  apply_bos_and_eos(config, parts);
  if (own == nullptr) return;
  if (own->adds_bos && silent)
    parts.adds.reason = fmt::format("a {} begins every text with a BOS", own->name);
  if (!own->ends_with_eos) return;
  require(parts.eos.has_value(), "{}: a {} ends every text with its eos_token, which is null", parts.where,
          own->name);
  parts.adds = {{}, {*parts.eos}, fmt::format("a {} ends every text with its EOS", own->name)};
}

}  // namespace

std::unique_ptr<Tokenizer> from_pieces(const TokenizerFiles& files) {
  const std::string name = files.folder + files.sentencepiece_name;
  const SentencePieceModel model = parse(files.sentencepiece_model, name);
  TokenizerConfig config = read_tokenizer_config(files);
  const TokenizerClass* const own = class_of(files, config);
  require(
      files.sentencepiece_name != "spiece.model" || (own != nullptr && own->reads_spiece),
      "{}: transformers looks for tokenizer.model unless a file names T5Tokenizer, and does not find this "
      "one; rename it if tokenizer.model is what it is, or save tokenizer.json with transformers",
      name);
  Conversion conversion(model, config, name);
  Parts parts = own != nullptr ? conversion.of_class(*own) : conversion.generic();
  parts.where = name;
  parts.unknown = parts.model->unknown();
  add_configured_tokens(config, parts);
  add_frame(own, config, parts);
  return assemble(std::move(parts));
}

std::unique_ptr<Tokenizer> Tokenizer::from_sentencepiece(std::string_view bytes, const std::string& name) {
  return name_file("", name, [&] {
    const SentencePieceModel model = parse(bytes, name);
    Parts parts = sentencepiece_parts(model, name);
    parts.where = name;
    const auto control = [&](int64_t id) -> std::optional<int32_t> {
      if (id < 0 || static_cast<size_t>(id) >= model.pieces.size()) return std::nullopt;
      if (model.pieces[static_cast<size_t>(id)].type != Type::control) return std::nullopt;
      return static_cast<int32_t>(id);
    };
    parts.bos = control(model.bos);
    parts.eos = control(model.eos);
    parts.padding = control(model.padding);
    parts.adds.reason = "SentencePiece models of the type BPE begin every text with a BOS, others do not";
    if (model.kind == SentencePieceModel::Kind::bpe && parts.bos) parts.adds.before = {*parts.bos};
    return assemble(std::move(parts));
  });
}

}  // namespace outliers::text
