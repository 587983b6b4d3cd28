// The table of fields of results.json: fields(visitor, x) calls visitor(Field, member) for each member of x,
// in the order of the file. Only this room includes it.
#pragma once

#include "outliers/results/fields_findings.h"
#include "outliers/results/fields_lifecycle.h"
#include "outliers/results/fields_measured.h"
#include "outliers/results/fields_run.h"
#include "outliers/results/fields_summary.h"
#include "outliers/results/fields_super_weights.h"

namespace outliers::results {

template <typename V>
void fields(V& v, Definition& x) {
  v(field("shape", "of a measure's values: [] is one number, [H] one a head; letters as of arrays.npz")
        .or_left_out(),
    x.shape);
  v(field("title", "of a measure's values: what a chart calls them").or_left_out(), x.title);
  v(field("definition"), x.definition);
  v(field("source", "the paper, and the place in it").or_left_out(), x.source);
}

template <typename V>
void fields(V& v, Results& x) {
  v(field("schema"), x.schema);
  v(field("model", "what was measured"), x.model);
  v(field("run", "how"), x.run);
  v(field("criteria", "the thresholds of all definitions"), x.criteria);
  v(field("inputs", "what was run, in order").not_empty(), x.inputs);
  v(field("images", "only of models of images"), x.images);
  v(field("layers", "the measurements").not_empty(), x.layers);
  v(field("summary", "what they say together"), x.summary);
  v(field("lifecycle", "how outliers come, what they do to attention, and how they go (docs/lifecycle.md)"),
    x.lifecycle);
  v(field("super_weights", "single weights whose outputs are the first to spike (measures.md)"),
    x.super_weights);
  v(field("criticality",
          "what becomes of the predictions without the super weights; not there where none was found"),
    x.criticality);
  v(field("vocabulary", "which of the vocabulary's tokens spike at position 0 (measures.md)"), x.vocabulary);
  v(field("findings", "what rules say of them, the worst first (rules.md); older reports have none"),
    x.findings);
  v(field("definitions",
          "what the fields of layers and summary are, and others that have a source or a threshold, by path"),
    x.definitions);
}

}  // namespace outliers::results
