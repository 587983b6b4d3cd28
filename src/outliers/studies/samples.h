// What the metrics find in results: a function each. Nothing is told of layers that are not finite.
#pragma once

#include <functional>

#include "outliers/studies/metrics.h"

namespace outliers::studies {

using Samples = std::vector<Sample>;

/// Of each point, layer and input what `value` gives, with the place of the largest value; NaN: nothing.
Samples of_points(const results::Results& r, const std::function<double(const results::Activations&)>& value);
/// max/median; NaN where the median is 0.
double over_median(const results::Activations& x);
/// Of the points and layers that hold a massive activation; the token is that of the largest.
Samples massive(const results::Results& r);

/// Of each matrix what `put` makes of it.
Samples of_weights(const results::Results& r,
                   const std::function<void(const results::Weight&, Sample&)>& put);
void put_score(const results::Weight& weight, Sample& sample);
void put_row(const results::Weight& weight, Sample& sample);

/// By layer and corpus; of sinks and later keys only where the model reads text.
Samples sink_rates(const results::Results& r);
Samples top_keys(const results::Results& r);
/// Of each corpus the share of its outlier keys that are not its windows' first; the token is the most
/// frequent of these.
Samples later_keys(const results::Results& r);

Samples not_finite(const results::Results& r);
/// Of the layer where each prompt's outlier is born.
Samples births(const results::Results& r);
/// Of the layers with outliers whose top column is not the top channel.
Samples top_weights(const results::Results& r);
/// Of the super experts of arXiv 2507.23279: above the 99.5th percentile of all experts' largest outputs, and
/// above a tenth of the largest.
Samples super_experts(const results::Results& r);
Samples high_patches(const results::Results& r);
/// A measure's number by layer or head.
Samples of_value(const results::Results& r, const std::string& name, bool by_head);

}  // namespace outliers::studies
