// Running the pipeline. Scratch memory and the word caches are pooled, so encode() is const and thread-safe
// and the cache outlives a call.
#include "outliers/text/pipeline.h"

#include <algorithm>
#include <mutex>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/text/tokenizer_sources.h"
#include "outliers/text/unicode.h"

namespace outliers::text {

const char* bos_policy_name(BosPolicy policy) {
  switch (policy) {
    case BosPolicy::model:
      return "model";
    case BosPolicy::always:
      return "always";
    case BosPolicy::never:
      return "never";
  }
  return "";
}

namespace {

class Pipeline final : public Tokenizer {
 public:
  explicit Pipeline(Parts parts) : parts_(std::move(parts)) {
    size_ = static_cast<int64_t>(parts_.model->vocabulary().size());
    for (const AddedToken& token : parts_.added) size_ = std::max<int64_t>(size_, token.id + int64_t{1});
    added_of_.assign(static_cast<size_t>(size_), -1);
    for (size_t i = 0; i < parts_.added.size(); ++i) {
      const AddedToken& token = parts_.added[i];
      added_of_[static_cast<size_t>(token.id)] = static_cast<int32_t>(i);
    }
    const auto in_range = [&](const std::optional<int32_t>& id, const char* role) {
      require(!id || (*id >= 0 && *id < size_),
              "{}: the {} token has id {}, but the vocabulary has {} tokens", parts_.where, role,
              id.value_or(0), size_);
    };
    in_range(parts_.bos, "bos");
    in_range(parts_.eos, "eos");
    in_range(parts_.unknown, "unknown");
    in_range(parts_.padding, "padding");
    // Special tokens come first, as in tokenizers: of equal patterns the first wins.
    for (const bool special : {true, false}) {
      for (AddedToken& token : parts_.added) {
        if (token.special != special) continue;
        if (token.normalized && parts_.normalizer) {
          // From here on the token is spelled in its normalised form, as in tokenizers.
          Segment content{token.content};
          parts_.normalizer->apply(content);
          token.content = content.text;
        }
        (token.normalized ? normalized_added_ : raw_added_).add(token, token.content);
      }
    }
    if (parts_.splits_special_tokens) {
      raw_added_.leave_special_tokens();
      normalized_added_.leave_special_tokens();
    }
    for (const AddedToken& token : parts_.cut_out) normalized_added_.add(token, token.content);
  }

  std::vector<int32_t> encode(std::string_view text, BosPolicy policy) const override {
    std::vector<int32_t> ids;
    if (policy == BosPolicy::model) ids = parts_.adds.before;
    const size_t body = ids.size();
    name_file("", parts_.where, [&] {
      if (is_valid_utf8(text)) {
        encode_body(text, ids);
      } else {
        encode_body(replace_invalid_utf8(text), ids);
      }
    });
    if (policy == BosPolicy::model) ids.insert(ids.end(), parts_.adds.after.begin(), parts_.adds.after.end());
    if (policy == BosPolicy::always) {
      require(parts_.bos.has_value(), Cause{ErrorKind::argument, {Setting::bos}},
              "{}: the tokenizer has no BOS token to put first always", parts_.where);
      if (ids.size() == body || ids[body] != *parts_.bos) ids.insert(ids.begin(), *parts_.bos);
    }
    return ids;
  }

  std::string decode(const std::vector<int32_t>& ids) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const int32_t id : ids) tokens.push_back(piece(id));
    std::string out;
    if (parts_.decoder) {
      parts_.decoder->apply(tokens);
      for (const std::string& token : tokens) out += token;
    } else {
      for (size_t i = 0; i < tokens.size(); ++i) out += (i > 0 ? " " : "") + tokens[i];
    }
    return replace_invalid_utf8(out);
  }

  std::string piece(int32_t id) const override {
    require(id >= 0 && id < size_, kArgument, "{}: token id {} is outside the vocabulary of {} tokens",
            parts_.where, id, size_);
    if (const AddedToken* token = added(id)) return token->content;
    return static_cast<size_t>(id) < parts_.model->vocabulary().size()
               ? std::string(parts_.model->vocabulary().piece(id))
               : std::string();
  }

  std::string bytes(int32_t id) const override {
    const std::string spelling = piece(id);
    if (added(id)) return spelling;
    std::string out;
    if (parts_.byte_level && unspell_bytes(spelling, out)) return out;
    const int byte = parts_.byte_level ? -1 : byte_of_fallback_piece(spelling);
    if (byte >= 0) return std::string(1, static_cast<char>(byte));
    return replace_all(spelling, "▁", std::nullopt, " ");
  }

  std::string display(int32_t id) const override { return escape(bytes(id)); }

  int64_t size() const override { return size_; }

  std::string description() const override {
    size_t base = 0;
    const auto& pieces = parts_.model->vocabulary().pieces();
    for (size_t id = 0; id < pieces.size(); ++id) base += pieces[id].data() && added_of_[id] < 0;
    return fmt::format("{} {}, {} + {} tokens", parts_.byte_level ? "byte-level" : "SentencePiece",
                       parts_.model->name(), base, parts_.added.size());
  }

  std::vector<SpecialToken> special_tokens() const override {
    std::vector<SpecialToken> out;
    for (int32_t id = 0; id < size_; ++id) {
      if (is_special(id)) out.push_back({id, piece(id), role(id)});
    }
    return out;
  }

  std::optional<int32_t> bos() const override { return parts_.bos; }
  const Additions& additions() const override { return parts_.adds; }

  bool is_special(int32_t id) const override {
    const AddedToken* token = id >= 0 && id < size_ ? added(id) : nullptr;
    return (token && token->special) || (id >= 0 && !role(id).empty());
  }

  std::optional<int32_t> find(std::string_view piece) const override {
    const int32_t id = parts_.model->vocabulary().find(piece);
    if (id >= 0) return id;
    for (const AddedToken& token : parts_.added) {
      if (token.content == piece) return token.id;
    }
    return std::nullopt;
  }

 private:
  struct Workspace {
    std::unique_ptr<Model::Scratch> scratch;
    std::vector<TokenOrText> raw, normalized;
  };

  const AddedToken* added(int32_t id) const {
    const int32_t index = added_of_[static_cast<size_t>(id)];
    return index < 0 ? nullptr : &parts_.added[static_cast<size_t>(index)];
  }

  std::string role(int32_t id) const {
    return parts_.bos == id       ? "bos"
           : parts_.eos == id     ? "eos"
           : parts_.unknown == id ? "unk"
           : parts_.padding == id ? "pad"
                                  : "";
  }

  static std::string escape(std::string_view bytes) {
    std::string out;
    for (size_t i = 0; i < bytes.size();) {
      const size_t length = valid_sequence(bytes, i);
      if (length == 0) {
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[i++]));
        continue;
      }
      const size_t begin = i;
      const char32_t point = next_code_point(bytes, i);
      if (point == '\n') {
        out += "\\n";
      } else if (point == '\t') {
        out += "\\t";
      } else if (point == '\r') {
        out += "\\r";
      } else if (point < 0x20 || point == 0x7f) {
        out += fmt::format("\\x{:02x}", static_cast<uint32_t>(point));
      } else if (is_invisible(point) || (point != ' ' && is_white_space(point))) {
        out += point <= 0xffff ? fmt::format("\\u{:04x}", static_cast<uint32_t>(point))
                               : fmt::format("\\U{:08x}", static_cast<uint32_t>(point));
      } else {
        out.append(bytes, begin, length);
      }
    }
    return out;
  }

  void encode_body(std::string_view text, std::vector<int32_t>& ids) const {
    std::unique_ptr<Workspace> work = borrow();
    raw_added_.split(text, work->raw);
    for (const TokenOrText& part : work->raw) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        encode_segment(part.text, part.text.data() == text.data(), *work, ids);
      }
    }
    give_back(std::move(work));
  }

  void encode_segment(std::string_view text, bool at_start, Workspace& work,
                      std::vector<int32_t>& ids) const {
    Segment segment{std::string(text), at_start};
    if (parts_.normalizer) parts_.normalizer->apply(segment);
    if (normalized_added_.empty()) {
      encode_pieces(std::move(segment), work, ids);
      return;
    }
    normalized_added_.split(segment.text, work.normalized);
    for (const TokenOrText& part : work.normalized) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        const bool first = segment.at_start && part.text.data() == segment.text.data();
        encode_pieces({std::string(part.text), first}, work, ids);
      }
    }
  }

  void encode_pieces(Segment segment, Workspace& work, std::vector<int32_t>& ids) const {
    Pieces pieces{std::move(segment.text), {}, segment.at_start};
    if (pieces.text.empty()) return;
    pieces.spans.push_back({0, pieces.text.size()});
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(pieces, true);
    constexpr size_t interrupt_interval = 1u << 16;
    for (size_t i = 0; i < pieces.spans.size(); i += interrupt_interval) {
      if (i > 0) check_interrupt();
      const size_t last = std::min(i + interrupt_interval, pieces.spans.size());
      parts_.model->encode(pieces, i, last, *work.scratch, ids);
    }
  }

  std::unique_ptr<Workspace> borrow() const {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Workspace> work = std::move(idle_.back());
        idle_.pop_back();
        return work;
      }
    }
    auto work = std::make_unique<Workspace>();
    work->scratch = parts_.model->make_scratch();
    return work;
  }

  void give_back(std::unique_ptr<Workspace> work) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(work));
  }

  Parts parts_;
  int64_t size_ = 0;
  std::vector<int32_t> added_of_;  // id -> index into parts_.added, or -1
  AddedTokenMatcher raw_added_, normalized_added_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace

std::unique_ptr<Tokenizer> assemble(Parts parts) {
  return std::make_unique<Pipeline>(std::move(parts));
}

}  // namespace outliers::text
