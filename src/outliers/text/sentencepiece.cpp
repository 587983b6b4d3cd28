// A protobuf is a list of (field number, wire type, value); only the three messages that matter are walked
// into, so there is no recursion, and every length is checked against what is left.
#include "outliers/text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "outliers/core/error.h"
#include "outliers/text/bpe.h"
#include "outliers/text/unicode.h"
#include "outliers/text/unigram.h"

namespace outliers::text {
namespace {

using Kind = SentencePieceModel::Kind;
using Type = SentencePieceModel::Type;

/// One protobuf message.
class Message {
 public:
  Message(std::string_view bytes, size_t offset, std::string name)
      : bytes_(bytes), offset_(offset), name_(std::move(name)) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    field_ = key >> 3;
    const uint64_t wire = key & 7;
    if (field_ == 0) refuse("a field has the number 0");
    switch (wire) {
      case 0:
        number_ = varint();
        break;
      case 1:
        take(8);
        break;
      case 2: {
        const uint64_t size = varint();
        if (size > bytes_.size() - at_) {
          refuse(
              fmt::format("field {} claims {} bytes where {} are left", field_, size, bytes_.size() - at_));
        }
        take(static_cast<size_t>(size));
        break;
      }
      case 5:
        take(4);
        break;
      default:
        refuse(fmt::format("field {} has the wire type {}", field_, wire));
    }
    wire_ = wire;
    return true;
  }
  uint64_t field() const { return field_; }

  std::string_view bytes() const {
    expect(2, "bytes");
    return value_;
  }
  Message message(std::string name) const {
    return {bytes(), offset_ + at_ - value_.size(), std::move(name)};
  }
  float number32() const {
    expect(5, "a 32-bit float");
    float out;
    std::memcpy(&out, value_.data(), sizeof out);
    return out;
  }
  bool boolean() const { return integer() != 0; }
  int64_t integer() const {
    expect(0, "a whole number");
    return static_cast<int64_t>(number_);
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail("{}: {} (near byte {} of the file); the file is damaged or no SentencePiece model", name_, what,
         offset_ + at_);
  }

 private:
  void expect(uint64_t wire, const char* wanted) const {
    if (wire_ != wire) refuse(fmt::format("field {} is not {}", field_, wanted));
  }
  uint64_t varint() {
    uint64_t out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) refuse("ends within a number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      out |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return out;
    }
    refuse("a number of more than ten bytes");
  }
  void take(size_t size) {
    if (size > bytes_.size() - at_) refuse("ends within a value");
    value_ = bytes_.substr(at_, size);
    at_ += size;
  }

  std::string_view bytes_, value_;
  size_t offset_, at_ = 0;
  std::string name_;
  uint64_t field_ = 0, wire_ = 0, number_ = 0;
};

SentencePieceModel::Piece read_piece(Message message) {
  SentencePieceModel::Piece piece;
  while (message.next()) {
    if (message.field() == 1) {
      piece.text = message.bytes();
    } else if (message.field() == 2) {
      piece.score = message.number32();
    } else if (message.field() == 3) {
      const int64_t type = message.integer();
      if (type < 1 || type > 6) message.refuse(fmt::format("the type {} is none of 1 to 6", type));
      piece.type = static_cast<Type>(type);
    }
  }
  return piece;
}

void read_trainer(Message message, SentencePieceModel& model) {
  while (message.next()) {
    switch (message.field()) {
      case 3: {
        const int64_t kind = message.integer();
        if (kind < 1 || kind > 4) message.refuse(fmt::format("the model type {} is none of 1 to 4", kind));
        model.kind = static_cast<Kind>(kind);
        break;
      }
      case 24:
        model.treat_whitespace_as_suffix = message.boolean();
        break;
      case 35:
        model.byte_fallback = message.boolean();
        break;
      case 40:
        model.unknown = message.integer();
        break;
      case 41:
        model.bos = message.integer();
        break;
      case 42:
        model.eos = message.integer();
        break;
      case 43:
        model.padding = message.integer();
        break;
      case 45:
        model.unknown_piece = message.bytes();
        break;
      case 46:
        model.bos_piece = message.bytes();
        break;
      case 47:
        model.eos_piece = message.bytes();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(Message message, SentencePieceModel& model) {
  while (message.next()) {
    switch (message.field()) {
      case 2:
        model.charsmap = message.bytes();
        break;
      case 3:
        model.add_dummy_prefix = message.boolean();
        break;
      case 4:
        model.remove_extra_whitespaces = message.boolean();
        break;
      case 5:
        model.escape_whitespaces = message.boolean();
        break;
      default:
        break;
    }
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes) {
  SentencePieceModel model;
  Message file(bytes, 0, "the SentencePiece model");
  while (file.next()) {
    switch (file.field()) {
      case 1:
        model.pieces.push_back(read_piece(file.message(fmt::format("piece {}", model.pieces.size()))));
        break;
      case 2:
        read_trainer(file.message("the trainer_spec"), model);
        break;
      case 3:
        read_normalizer(file.message("the normalizer_spec"), model);
        break;
      case 5: {
        SentencePieceModel back;
        read_normalizer(file.message("the denormalizer_spec"), back);
        model.denormalizer = back.charsmap;
        break;
      }
      default:
        break;
    }
  }
  return model;
}

Vocabulary check_sentencepiece(const SentencePieceModel& model, std::string_view where) {
  require(model.kind == Kind::unigram || model.kind == Kind::bpe, kUnsupported,
          "{}: the model type {} is not supported; UNIGRAM and BPE are", where,
          model.kind == Kind::word ? "WORD" : "CHAR");
  require(model.denormalizer.empty(), kUnsupported, "{}: a denormalizer_spec with rules is not supported",
          where);
  require(!model.pieces.empty(), "{}: the model has no pieces", where);
  size_t bytes = 0;
  for (const auto& piece : model.pieces) bytes += piece.text.size();
  Vocabulary vocabulary;
  vocabulary.reserve(model.pieces.size(), bytes);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    require(!piece.text.empty(), "{}: piece {} is empty", where, id);
    require(is_valid_utf8(piece.text), "{}: piece {}, {}, is not valid UTF-8", where, id,
            printable(piece.text));
    require(std::isfinite(piece.score), "{}: the score of piece {}, {}, is not a finite number", where, id,
            printable(piece.text));
    vocabulary.set(static_cast<int32_t>(id), piece.text);
  }
  vocabulary.index();
  int unknown = 0, byte_pieces = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    require(vocabulary.find(piece.text) == static_cast<int32_t>(id), "{}: the piece {} is there twice", where,
            printable(piece.text));
    unknown += piece.type == Type::unknown;
    if (piece.type != Type::byte) continue;
    require(byte_of_fallback_piece(piece.text) >= 0, "{}: piece {}, {}, is not the spelling of a byte", where,
            id, printable(piece.text));
    ++byte_pieces;
  }
  require(unknown <= 1, "{}: the model has {} unknown pieces; one is allowed", where, unknown);
  require(model.byte_fallback ? byte_pieces == 256 : unknown == 1,
          "{}: the model has {} of 256 byte pieces and {} unknown pieces, so some text would have no id",
          where, byte_pieces, unknown);
  return vocabulary;
}

Parts sentencepiece_parts(const SentencePieceModel& model, std::string_view where) {
  Vocabulary vocabulary = check_sentencepiece(model, where);
  const bool bpe = model.kind == Kind::bpe;

  Parts parts;
  SentencePieceRules rules;
  std::vector<double> scores;
  float worst = std::numeric_limits<float>::max();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    const auto number = static_cast<int32_t>(id);
    constexpr double never = -std::numeric_limits<double>::infinity();
    if (piece.type == Type::unknown) parts.unknown = number;
    if (piece.type == Type::unknown || piece.type == Type::control) {
      parts.added.push_back({.id = number, .content = piece.text, .special = true});
    }
    if (piece.type == Type::normal) {
      worst = std::min(worst, piece.score);
      scores.push_back(piece.score);
    } else if (piece.type == Type::user_defined) {
      rules.verbatim.push_back(piece.text);
      // A symbol of BPE is cut out before anything merges; one of Unigram gets a score that wins.
      if (bpe) parts.cut_out.push_back({.id = number, .content = piece.text});
      scores.push_back(bpe ? never
                           : double{static_cast<float>(0.1 * (static_cast<int>(piece.text.size()) - 1))});
    } else {
      require(piece.type != Type::unused || !bpe, kUnsupported,
              "{}: piece {}, {}, is of the type UNUSED, which is not supported in a BPE model", where, id,
              printable(piece.text));
      scores.push_back(never);
    }
  }
  if (bpe) {
    BpeOptions options;
    options.unknown = parts.unknown;
    options.fuse_unknown = true;
    options.byte_fallback = model.byte_fallback;
    auto built = std::make_unique<Bpe>(std::move(vocabulary), std::move(options));
    built->set_scores(std::vector<float>(scores.begin(), scores.end()), EqualScores::leftmost_first);
    parts.model = std::move(built);
  } else {
    UnigramOptions options;
    options.style = UnigramStyle::sentencepiece;
    options.unknown = parts.unknown;
    options.unknown_score = worst - Unigram::unknown_penalty;
    options.byte_fallback = model.byte_fallback;
    parts.model = std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), options);
  }

  if (!model.charsmap.empty()) rules.charsmap.emplace(model.charsmap, where);
  rules.add_dummy_prefix = model.add_dummy_prefix;
  rules.remove_extra_whitespaces = model.remove_extra_whitespaces;
  rules.escape_whitespaces = model.escape_whitespaces;
  rules.treat_whitespace_as_suffix = model.treat_whitespace_as_suffix;
  parts.normalizer = make_sentencepiece(std::move(rules));

  const size_t dummy = model.add_dummy_prefix ? 1 : 0;
  parts.decoder = model.treat_whitespace_as_suffix ? make_sentencepiece_decoder(0, dummy)
                                                   : make_sentencepiece_decoder(dummy, 0);
  return parts;
}

}  // namespace outliers::text
