#include "outliers/measures/mlp_products.h"

#include <algorithm>

#include "outliers/measures/tensors.h"

namespace outliers::measures {

using run::Point;

PointSet MlpProducts::points() {
  return {Point::down_in,         Point::experts_index, Point::experts_weight,
          Point::experts_down_in, Point::shared_weight, Point::shared_down_in};
}

void MlpProducts::add(const run::LayerWeight& weight) {
  if (weight.module == "down") downs_[weight.expert] = weight.tensor;
}

void MlpProducts::forget() {
  shown_.clear();
  downs_.clear();
}

std::vector<MlpSource> MlpProducts::sources(int64_t token) const {
  if (has(Point::down_in)) return {{run::kNoExpert, 1.0, 0, on_host(shown(Point::down_in)[token])}};
  std::vector<MlpSource> list;
  const int64_t used = shown(Point::experts_index).size(1);
  for (int64_t place = 0; place < used; ++place) {
    const auto of_route = [&](Point point) { return shown(point)[token][place]; };
    list.push_back({of_route(Point::experts_index).item<int64_t>(),
                    of_route(Point::experts_weight).item<double>(), place,
                    on_host(of_route(Point::experts_down_in))});
  }
  if (has(Point::shared_down_in)) {
    list.push_back({run::kSharedExpert, shown(Point::shared_weight)[token][0].item<double>(), 0,
                    on_host(shown(Point::shared_down_in)[token])});
  }
  return list;
}

MlpProducts::At MlpProducts::parts_at(int64_t token, int64_t channel, double factor, int64_t count) const {
  const std::vector<MlpSource> all = sources(token);
  std::vector<at::Tensor> parts;
  for (const MlpSource& source : all) {
    const at::Tensor row = on_host(downs_.at(source.expert)[channel]);
    parts.push_back(source.down_in.to(at::kDouble) * row * (source.weight * factor));
  }
  const at::Tensor products = at::cat(parts);
  const auto [sizes, places] = products.abs().topk(std::min(count, products.size(0)));
  At result;
  result.sum = products.sum().item<double>();
  for (int64_t i = 0; i < places.size(0); ++i) {
    int64_t n = places[i].item<int64_t>();
    results::Neuron& neuron = result.neurons.emplace_back();
    neuron.product = products[n].item<double>();
    result.of_neurons += neuron.product;
    size_t from = 0;
    for (; n >= parts[from].size(0); ++from) n -= parts[from].size(0);
    const MlpSource& source = all[from];
    neuron.neuron = n;
    neuron.down_in = source.down_in[n].item<double>();
    neuron.weight = downs_.at(source.expert)[channel][n].item<double>();
    if (source.expert == run::kNoExpert) continue;
    neuron.expert = results::Expert{source.expert};
    neuron.expert_weight = source.weight;
  }
  return result;
}

}  // namespace outliers::measures
