// Of the table of fields (fields.h): findings.
#pragma once

#include "outliers/results/fields_measured.h"
#include "outliers/results/fields_run.h"

namespace outliers::results {

template <>
inline constexpr const char* kNames<Severity>[] = {"note", "warning", "severe"};

template <typename V>
void fields(V& v, FindingPlace& x) {
  v(field("layers", "the layers that reach the threshold; none of what is of the whole model")
        .from(0)
        .or_left_out(),
    x.layers);
  v(field("layer", "the layer where it is worst; like what follows").from(0), x.layer);
  v(field("point", "of activations").or_left_out(), x.point);
  v(field("module", "of weights").or_left_out(), x.module);
  v(field("input", "the input where it was measured").or_left_out(), x.input);
  v(field("head").from(0), x.head);
  v(kChannelField, x.channel);
  v(field("neuron", "of the MLP: a column of its down projection").from(0), x.neuron);
  v(kExpertField, x.expert);
  v(field("token_text", kTokenTextField.what).or_left_out(), x.token_text);
}

template <typename V>
void fields(V& v, Finding& x) {
  v(field("id", "the rule"), x.id);
  v(field("severity", "how bad it is"), x.severity);
  v(field("metric", "what the rule looks at"), x.metric);
  v(field("place", "where"), x.place);
  v(field("value", "the metric there, the worst"), x.value);
  v(field("threshold", "the threshold that it is beyond"), x.threshold);
  v(field("title", "what is found, in a line"), x.title);
  v(field("text", "what it means for number formats, quantisation and pruning"), x.text);
  v(field("advice", "what to do").or_left_out(), x.advice);
  v(field("source", "where the threshold is from").or_left_out(), x.source);
}

}  // namespace outliers::results
