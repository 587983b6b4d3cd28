#include "outliers/eval/windows.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/corpus_source.h"

namespace outliers::eval {
namespace {

/// The context of published perplexities (docs/perplexity.md).
constexpr int64_t kDefaultContext = 2048;

void check_model(const models::Config& config) {
  const std::string name = printable(config.name);
  require(!models::reads_images(config), Cause{ErrorKind::unsupported},
          "{} reads images; perplexity is of models of text", name);
  require(models::has_head(config), Cause{ErrorKind::unsupported},
          "{} has no {}, which gives the logits, so there is no perplexity; take a checkpoint with its head",
          name, printable(config.missing_head));
}

std::vector<text::Corpus> read_corpora(const WindowOptions& options) {
  std::vector<text::Corpus> corpora;
  for (const std::filesystem::path& path : options.corpora) {
    require(options.ranks == nullptr || path != "-", Cause{ErrorKind::argument, {Setting::corpus}},
            "every rank reads the corpus, which standard input cannot give to all; name a file");
    check_interrupt();
    corpora.push_back(models::open_corpus(path, options.text_field, /*keep_empty=*/true));
  }
  if (corpora.empty()) corpora.push_back(text::default_corpus());
  return corpora;
}

std::vector<int64_t> bos_ids(const text::Tokenizer& tokenizer, BosPlace place) {
  if (place == BosPlace::never) return {};
  return text::prefix_of(tokenizer,
                         place == BosPlace::model ? text::BosPolicy::model : text::BosPolicy::always);
}

/// Bytes of tokens' texts, each id's asked for once.
class TokenBytes {
 public:
  explicit TokenBytes(const text::Tokenizer& tokenizer)
      : tokenizer_(tokenizer), bytes_(static_cast<size_t>(tokenizer.size()), kUnknown) {}
  int64_t operator()(int64_t id) {
    int64_t& bytes = bytes_[static_cast<size_t>(id)];
    if (bytes == kUnknown) bytes = static_cast<int64_t>(tokenizer_.bytes(static_cast<int32_t>(id)).size());
    return bytes;
  }

 private:
  static constexpr int64_t kUnknown = -1;
  const text::Tokenizer& tokenizer_;
  std::vector<int64_t> bytes_;
};

/// How windows lie in the text. The text begins with what stands in front of all windows, or each window
/// begins with what stands in front of it.
struct Layout {
  int64_t context = 0, body = 0, stride = 0;
  std::vector<int64_t> front, each;

  /// Tokens that `windows` windows take of the text.
  int64_t length(int64_t windows) const { return (windows - 1) * stride + body; }
  int64_t windows(int64_t length) const { return length < body ? 0 : (length - body) / stride + 1; }
};

Layout lay_out(const models::Model& model, const WindowOptions& options) {
  const models::Config& config = model.config();
  Layout layout;
  layout.context = options.context;
  if (layout.context == 0) {
    layout.context =
        config.max_positions > 0 ? std::min(kDefaultContext, config.max_positions) : kDefaultContext;
  }
  models::check_positions(config, layout.context, "a window should have", "ask for fewer", Setting::tokens);
  const bool each = options.bos == BosPlace::every;
  (each ? layout.each : layout.front) = bos_ids(model.tokenizer(), options.bos);
  layout.body = layout.context - std::ssize(layout.each);
  const auto before = std::max<int64_t>(std::ssize(layout.front) + std::ssize(layout.each), 1);
  require(layout.context > before, Cause{ErrorKind::argument, {Setting::tokens}},
          "a window of {} tokens has none to score; ask for at least {}", layout.context, before + 1);
  layout.stride = options.stride > 0 ? options.stride : layout.body;
  require(
      layout.stride <= layout.body, Cause{ErrorKind::argument, {Setting::stride}},
      "windows that start {} tokens apart leave some out, for a window has {} tokens of the text; ask for "
      "{} at most",
      layout.stride, layout.body, layout.body);
  return layout;
}

std::vector<int64_t> text_tokens(const models::Model& model, const WindowOptions& options,
                                 const Layout& layout, std::vector<std::string>& names) {
  std::vector<text::Corpus> corpora = read_corpora(options);
  for (const text::Corpus& corpus : corpora) names.push_back(printable(corpus.name));
  const bool all = options.sequences == 0;
  const size_t wanted =
      all ? SIZE_MAX : static_cast<size_t>(layout.length(options.sequences) - std::ssize(layout.front));
  std::vector<int64_t> tokens = layout.front;
  for (const int32_t id : text::first_tokens(model.tokenizer(), std::move(corpora), wanted))
    tokens.push_back(id);
  const int64_t windows = layout.windows(std::ssize(tokens));
  const std::string named = fmt::format("{}", fmt::join(names, ", "));
  require(windows > 0, Cause{ErrorKind::argument, {Setting::tokens, Setting::corpus}},
          "the corpus {} has {} tokens, fewer than one window of {}; name a longer one, or ask for a shorter "
          "context",
          named, std::ssize(tokens), layout.context);
  require(
      all || windows >= options.sequences,
      Cause{ErrorKind::argument, {Setting::sequences, Setting::tokens, Setting::corpus}},
      "the corpus {} gives {} windows of {} tokens, and {} were asked for; ask for fewer or shorter ones, "
      "or name a longer corpus",
      named, windows, layout.context, options.sequences);
  const int64_t largest = std::max(*std::max_element(tokens.begin(), tokens.end()),
                                   layout.each.empty() ? 0 : layout.each.front());
  require(largest < model.config().vocabulary,
          "the tokenizer of {} gives id {}, but the model's vocabulary has {}: they do not belong together",
          printable(model.config().name), largest, model.config().vocabulary);
  return tokens;
}

}  // namespace

const char* bos_place_name(BosPlace place) {
  constexpr const char* kNames[] = {"model", "every", "first", "never"};
  return kNames[static_cast<size_t>(place)];
}

Windows cut_windows(const models::Model& model, const WindowOptions& options) {
  check_model(model.config());
  const Layout layout = lay_out(model, options);
  Windows cut;
  const std::vector<int64_t> tokens = text_tokens(model, options, layout, cut.text.corpora);
  const int64_t N = layout.windows(std::ssize(tokens)), lead = std::ssize(layout.front);
  TokenBytes bytes(model.tokenizer());
  cut.ids = at::empty({N, layout.context}, at::kLong);
  int64_t* row = cut.ids.mutable_data_ptr<int64_t>();
  int64_t done = lead;  // before it all is scored, or never is
  for (int64_t w = 0; w < N; ++w) {
    check_interrupt();
    const int64_t begin = w * layout.stride, end = begin + layout.body;
    row = std::copy(layout.each.begin(), layout.each.end(), row);
    row = std::copy(tokens.begin() + begin, tokens.begin() + end, row);
    // What follows nothing has no prediction.
    const int64_t from = std::max(done, begin + (layout.each.empty() ? 1 : 0));
    Window& window = cut.windows.emplace_back(Window{begin, end - from, 0});
    for (int64_t i = from; i < end; ++i) window.scored_bytes += bytes(tokens[static_cast<size_t>(i)]);
    cut.text.tokens_scored += window.scored;
    cut.text.bytes_scored += window.scored_bytes;
    done = end;
  }
  cut.text.context = layout.context;
  cut.text.stride = layout.stride;
  cut.text.bos = bos_place_name(options.bos);
  cut.text.bos_ids = layout.each.empty() ? layout.front : layout.each;
  cut.text.windows = N;
  return cut;
}

Windows::Scored Windows::scored(int64_t first, int64_t last) const {
  const int64_t T = ids.size(1);
  std::vector<at::Tensor> places, targets;
  for (int64_t w = first; w < last; ++w) {
    const int64_t from = T - windows[static_cast<size_t>(w)].scored;
    places.push_back(at::arange((w - first) * T + from - 1, (w - first + 1) * T - 1, at::kLong));
    targets.push_back(ids[w].slice(0, from, T));
  }
  return {at::cat(places), at::cat(targets)};
}

}  // namespace outliers::eval
