// Each decoder follows the behaviour of its namesake in Hugging Face `tokenizers`.
#include "outliers/text/decoder.h"

#include <utility>

#include "outliers/text/normalizer.h"
#include "outliers/text/tokenizer.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

class ByteLevel final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes, one;
    for (const std::string& token : tokens) bytes += unspell_bytes(token, one) ? one : token;
    tokens = {replace_invalid_utf8(bytes)};
  }
};

class ByteFallback final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (is_valid_utf8(bytes)) {
        out.push_back(bytes);
      } else {
        for (size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\uFFFD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of_fallback_piece(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

class Replace final : public Decoder {
 public:
  Replace(std::string literal, std::optional<Regex> regex, std::string content)
      : literal_(std::move(literal)), regex_(std::move(regex)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) token = replace_all(token, literal_, regex_, content_);
  }

 private:
  std::string literal_;
  std::optional<Regex> regex_;
  std::string content_;
};

class Strip final : public Decoder {
 public:
  Strip(std::string content, size_t start, size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      for (size_t i = 0; i < start_ && token.starts_with(content_); ++i) token.erase(0, content_.size());
      for (size_t i = 0; i < stop_ && token.ends_with(content_); ++i)
        token.resize(token.size() - content_.size());
    }
  }

 private:
  std::string content_;
  size_t start_, stop_;
};

class Metaspace final : public Decoder {
 public:
  Metaspace(std::string replacement, PrependScheme scheme)
      : replacement_(std::move(replacement)), scheme_(scheme) {}
  void apply(std::vector<std::string>& tokens) const override {
    // In the first token every mark goes, not only the leading one: tokenizers does so.
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && scheme_ != PrependScheme::never;
      tokens[i] = replace_all(tokens[i], replacement_, std::nullopt, drop ? "" : " ");
    }
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
};

class BpeSuffix final : public Decoder {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = replace_all(tokens[i], suffix_, std::nullopt, i + 1 == tokens.size() ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

class Sequence final : public Decoder {
 public:
  explicit Sequence(std::vector<DecoderPtr> steps) : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

 private:
  std::vector<DecoderPtr> steps_;
};

}  // namespace

DecoderPtr make_byte_level_decoder() {
  return std::make_unique<ByteLevel>();
}
DecoderPtr make_byte_fallback_decoder() {
  return std::make_unique<ByteFallback>();
}
DecoderPtr make_fuse_decoder() {
  return std::make_unique<Fuse>();
}
DecoderPtr make_replace_decoder(std::string literal, std::optional<Regex> regex, std::string content) {
  return std::make_unique<Replace>(std::move(literal), std::move(regex), std::move(content));
}
DecoderPtr make_strip_decoder(std::string content, size_t start, size_t stop) {
  return std::make_unique<Strip>(std::move(content), start, stop);
}
DecoderPtr make_metaspace_decoder(std::string replacement, PrependScheme scheme) {
  return std::make_unique<Metaspace>(std::move(replacement), scheme);
}
DecoderPtr make_bpe_decoder(std::string suffix) {
  return std::make_unique<BpeSuffix>(std::move(suffix));
}
DecoderPtr make_decoder_sequence(std::vector<DecoderPtr> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}
DecoderPtr make_sentencepiece_decoder(size_t front, size_t back) {
  std::vector<DecoderPtr> steps;
  steps.push_back(make_replace_decoder("▁", std::nullopt, " "));
  steps.push_back(make_byte_fallback_decoder());
  steps.push_back(make_fuse_decoder());
  if (front + back > 0) steps.push_back(make_strip_decoder(" ", front, back));
  return make_decoder_sequence(std::move(steps));
}

}  // namespace outliers::text
