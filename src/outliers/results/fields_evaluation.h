// Of the table of fields (field.h): evaluations on text.
#pragma once

#include "outliers/results/fields_run.h"
#include "outliers/results/perplexity.h"

namespace outliers::results {

inline constexpr const char* kBosPlaces[] = {"model", "every", "first", "never"};

template <typename V>
void fields(V& v, EvaluationRun& x) {
  fields(v, static_cast<Program&>(x));
  v(field("ranks", "processes that shared the windows; not there for one").from(2), x.ranks);
  v(field("seconds", "wall-clock seconds"), x.seconds);
  fields(v, static_cast<Cost&>(x));
}

template <typename V>
void fields(V& v, EvaluationText& x) {
  v(field("corpora", "their names; their documents and they are joined by a blank line").not_empty(),
    x.corpora);
  v(field("context", "tokens of a window, a BOS counted").from(2), x.context);
  v(field("stride", "tokens of the text from the start of a window to the start of the next").from(1),
    x.stride);
  v(field("bos",
          "model: what the checkpoint's tokenizer puts in front of a text; every: one BOS in each window; "
          "first: one in the first; never: none")
        .among(kBosPlaces),
    x.bos);
  v(field("bos_ids", "the ids that this put in front").from(0), x.bos_ids);
  v(field("windows", "how many there are, whole ones only").from(1), x.windows);
  v(field("tokens_scored", "tokens with a prediction that no earlier window scored").from(1),
    x.tokens_scored);
  v(field("bytes_scored", "bytes of their text in UTF-8").from(0), x.bytes_scored);
}

template <typename V>
void fields(V& v, Score& x) {
  v(field("nll_nats", "mean of -ln p(token | tokens of its window before it) over all scored tokens"),
    x.nll_nats);
  v(field("nll_standard_error",
          "its standard error, windows taken as independent: sqrt(N/(N-1) sum_w (S_w - nll n_w)^2) / sum_w "
          "n_w, for S_w the sum over the n_w scored tokens of window w of N; null for one window",
          "Cochran, Sampling Techniques, section 6.4: ratio estimators")
        .from(0)
        .or_null(),
    x.nll_standard_error);
  v(field("ppl", "perplexity: exp(nll_nats)").from(0), x.ppl);
  v(field(
        "bits_per_byte",
        "nll_nats tokens_scored / (ln 2 bytes_scored): comparable between tokenizers; null where the scored "
        "tokens have no text")
        .or_null(),
    x.bits_per_byte);
}

template <typename V>
void fields(V& v, WindowScore& x) {
  v(field("window").from(0), x.window);
  v(field("first_token", "place in the text, a BOS that stands in front of it counted, of its first token")
        .from(0),
    x.first_token);
  v(field("tokens_scored").from(0), x.tokens_scored);
  v(field("bytes_scored").from(0), x.bytes_scored);
  v(field("nll_nats", "mean over its scored tokens"), x.nll_nats);
}

template <typename V>
void fields(V& v, Perplexity& x) {
  v(field("schema"), x.schema);
  v(field("model", "what was evaluated"), x.model);
  v(field("run", "how"), x.run);
  v(field("text", "on what"), x.text);
  fields(v, static_cast<Score&>(x));
  v(field("per_window", "each window's; not in what --json prints").or_left_out(), x.per_window);
}

}  // namespace outliers::results
