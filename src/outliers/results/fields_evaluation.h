// Of the table of fields (field.h): evaluations on text.
#pragma once

#include "outliers/results/fields_run.h"
#include "outliers/results/intervention.h"
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

/// How each file of an evaluation begins.
template <typename V, typename Evaluated>
void fields_of_evaluation(V& v, Evaluated& x) {
  v(field("schema"), x.schema);
  v(field("model", "what was evaluated"), x.model);
  v(field("run", "how"), x.run);
  v(field("text", "on what"), x.text);
}

template <typename V>
void fields(V& v, Perplexity& x) {
  fields_of_evaluation(v, x);
  fields(v, static_cast<Score&>(x));
  v(field("per_window", "each window's; not in what --json prints").or_left_out(), x.per_window);
}

template <typename V>
void fields(V& v, Effect& x) {
  v(field("nll_difference", "nll_nats less the plain run's"), x.nll_difference);
  v(field("nll_difference_standard_error",
          "its standard error over windows, each compared with itself; null for one window")
        .from(0)
        .or_null(),
    x.nll_difference_standard_error);
  v(field("kl_nats", "KL(plain || edited) of the next token's distribution, mean over scored tokens"),
    x.kl_nats);
  v(field("top1_agreement", "share of scored tokens whose most probable token is the plain run's")
        .from(0)
        .to(1),
    x.top1_agreement);
}

template <typename V>
void fields(V& v, EditMatch& x) {
  v(field("edit", "in one layer"), x.edit);
  v(field("smallest", "fewest values that it changed in a window; of weights, entries of the matrix").from(0),
    x.smallest);
  v(field("largest", "most in a window").from(0), x.largest);
  v(field("total", "in all windows; of weights, entries of the matrix").from(0), x.total);
}

template <typename V>
void fields(V& v, LayerState& x) {
  v(field("layer").from(0), x.layer);
  v(field("max", "largest abs x of the residual stream after the layer, over all windows").from(0), x.max);
  v(field("median", "median of abs x there").from(0), x.median);
  v(field("max_over_median", "null where the median is 0").from(0).or_null(), x.max_over_median);
  v(field("sink_rate",
          "mean over heads of the share of windows whose first key is a sink, as in results.json",
          "arXiv 2410.10781, Sink_1")
        .from(0)
        .to(1),
    x.sink_rate);
}

template <typename V>
void fields(V& v, InterventionRun& x) {
  v(field("name", "plain, edit1, edit1-control1, ..., edit2, ..."), x.name);
  v(field("edits", "what is changed; not there in the plain run").or_left_out(), x.edits);
  v(field("control_of", "of a control: the run that it is matched to"), x.control_of);
  v(field("seed", "of a control: by which its places are drawn").from(1), x.seed);
  fields(v, static_cast<Score&>(x));
  v(field("effect", "beside the plain run; not there in that"), x.effect);
  v(field("matched", "how many values the edits changed, an entry a layer").or_left_out(), x.matched);
  v(field("sink_rate", "mean over all layers' sink_rate").from(0).to(1), x.sink_rate);
  v(field("layers", "from the first edited layer on; of the plain run all").or_left_out(), x.layers);
  v(field("window_nll_nats", "each window's mean; not in what --json prints").or_left_out(),
    x.window_nll_nats);
}

template <typename V>
void fields(V& v, Interventions& x) {
  fields_of_evaluation(v, x);
  v(field("runs", "the first is the plain one").not_empty(), x.runs);
}

}  // namespace outliers::results
