// Statistics of the residual stream and of the down projection's input, over all tokens.
#include <map>

#include "outliers/core/thresholds.h"
#include "outliers/measures/measure.h"
#include "outliers/measures/point_statistics.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

using run::Point;

/// Entries of massive_tokens at most.
constexpr size_t kMassiveTexts = 100;

/// Where the MLP is of experts, down_in is measured with the experts of a token side by side: [b,T,k*Fe], and
/// the shared one's Fs behind them. Here is which neuron of which expert a channel of that is.
class Routes {
 public:
  bool any() const { return !index_.empty(); }
  void add_index(const at::Tensor& x) { index_.push_back(x.cpu()); }

  /// x [b,T,k,Fe], of the tokens of the last add_index().
  void add(const at::Tensor& x, int64_t experts) {
    const at::Tensor values = finite_abs(x.flatten(0, 2)), index = index_.back().flatten();
    const at::Tensor order = index.argsort().to(values.device()), counts = at::bincount(index, {}, experts);
    if (!largest_.defined()) largest_ = at::zeros({experts, values.size(1)}, values.options());
    int64_t begin = 0;
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t count = counts[e].item<int64_t>();
      if (count == 0) continue;
      largest_[e].copy_(
          at::maximum(largest_[e], values.index_select(0, order.narrow(0, begin, count)).amax(0)));
      begin += count;
    }
  }
  void save(ByteWriter& out) const {
    out.put(at::cat(index_));
    out.put(on_host(largest_));
  }
  void merge(ByteReader& in) {
    index_.push_back(in.get_tensor());
    largest_ = at::maximum(on_host(largest_), in.get_tensor());
  }

  void name(results::Place& place, const models::Experts& experts) const {
    const int64_t route = place.channel / experts.width;
    if (route >= experts.used) {
      place.expert = results::Expert{results::Expert::kShared};
      place.channel -= experts.used * experts.width;
      return;
    }
    int64_t sequence = place.sequence;
    size_t part = 0;
    for (; sequence >= index_[part].size(0); ++part) sequence -= index_[part].size(0);
    place.expert = results::Expert{index_[part].accessor<int64_t, 3>()[sequence][place.token][route]};
    place.channel %= experts.width;
  }

  /// The neurons of all experts with the largest maxima; channel_max [k*Fe + Fs] as measured.
  std::vector<results::ChannelMax> top(const at::Tensor& channel_max, const models::Experts& experts,
                                       size_t most) const {
    const at::Tensor of_experts = on_host(largest_).flatten();  // [E*Fe]
    const at::Tensor all = at::cat({of_experts, shared(channel_max, experts)});
    const auto [values, channels] = all.topk(std::min(static_cast<int64_t>(most), all.numel()));
    std::vector<results::ChannelMax> list;
    for (int64_t i = 0; i < values.numel(); ++i) {
      const int64_t c = channels[i].item<int64_t>();
      const bool is_shared = c >= of_experts.numel();
      list.push_back({is_shared ? c - of_experts.numel() : c % experts.width, values[i].item<double>(),
                      results::Expert{is_shared ? results::Expert::kShared : c / experts.width}});
    }
    return list;
  }
  /// By neuron, over all experts: [F].
  at::Tensor channel_max(const at::Tensor& channel_max, const models::Experts& experts, int64_t F) const {
    return at::maximum(padded(on_host(largest_).amax(0), F), padded(shared(channel_max, experts), F));
  }

 private:
  static at::Tensor shared(const at::Tensor& channel_max, const models::Experts& experts) {
    return channel_max.slice(0, experts.used * experts.width);
  }

  std::vector<at::Tensor> index_;  // experts of the tokens, [b,T,k], in the order of sequences
  at::Tensor largest_;             // [E,Fe]: largest abs x by expert and neuron
};

class Activations : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t layer) const override {
    // Of these a layer has those of its kind of MLP.
    PointSet points = {Point::resid_out, Point::down_in, Point::experts_index, Point::experts_down_in,
                       Point::shared_down_in};
    if (layer == 0 && input().is_prompt()) points.add(Point::resid_in);
    return {.points = points};
  }

  void add(const run::Site& site, const at::Tensor& x, int64_t first_sequence) override {
    Spill* spill = context().spill;
    switch (site.point) {
      case Point::resid_in:
        measure_embedding(x);
        return;
      case Point::resid_out:
        resid_out_.add(x, first_sequence, spill);
        return;
      case Point::down_in:
        down_in_.add(x, first_sequence, spill);
        return;
      case Point::experts_index:
        routes_.add_index(x);
        return;
      case Point::experts_down_in:
        routes_.add(x, config().experts.count);
        if (config().experts.shared_width > 0) {
          waiting_ = x;
        } else {
          down_in_.add(x.flatten(2), first_sequence, spill);
        }
        return;
      case Point::shared_down_in:
        down_in_.add(at::cat({waiting_.flatten(2), x}, 2), first_sequence, spill);
        waiting_ = at::Tensor();
        return;
      default:
        return;
    }
  }

  void save(ByteWriter& out) const override {
    resid_out_.save(out);
    down_in_.save(out);
    out.put(routes_.any());
    if (routes_.any()) routes_.save(out);
  }
  void merge(ByteReader& in) override {
    resid_out_.merge(in);
    down_in_.merge(in);
    if (in.get<bool>()) routes_.merge(in);
  }

  std::string question() override {
    ByteWriter bins;
    bool any = false;
    for (PointStatistics* point : {&resid_out_, &down_in_}) {
      const std::vector<int64_t> asked = point->question();
      any |= !asked.empty();
      bins.put(asked);
    }
    return any ? bins.bytes() : "";
  }
  std::string answer(const std::string& question) const override {
    ByteReader bins(question);
    ByteWriter counts;
    for (const PointStatistics* point : {&resid_out_, &down_in_}) {
      point->answer(bins, counts);
    }
    return counts.bytes();
  }
  void hear(const std::string& answer) override {
    ByteReader in(answer);
    for (PointStatistics* point : {&resid_out_, &down_in_}) {
      point->hear(in);
    }
  }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    results::LayerInput& here = part(layer);
    const stats::ActivationSummary resid_out = resid_out_.finish(), down_in = down_in_.finish();
    here.resid_out = listed(resid_out, false);
    here.down_in = listed(down_in, routes_.any());
    const int64_t F = models::widest_mlp(config());
    const std::string name = input().name;
    arrays.add(name + ".resid_out.channel_max", resid_out.channel_max);
    arrays.add(name + ".resid_out.token_max", resid_out.token_max);
    arrays.add(name + ".down_in.channel_max",
               routes_.any() ? routes_.channel_max(down_in.channel_max, config().experts, F)
                             : padded(down_in.channel_max, F));
    arrays.add(name + ".down_in.token_max", down_in.token_max);
  }

  void forget_layer() override {
    resid_out_ = PointStatistics(context().criteria);
    down_in_ = PointStatistics(context().criteria);
    routes_ = {};
  }

  void finish(results::Results& results) const override {
    if (input().is_prompt()) results.inputs[input_number()].embedding = embedding_;
  }

  Memory memory(const Load& load) const override {
    // Of each point a histogram, and kept keys or their counts.
    constexpr int64_t kFloat = sizeof(float);
    const models::Experts& experts = config().experts;
    const int64_t L = config().layers, D = config().width, F = models::widest_mlp(config());
    const int64_t side_by_side = experts.used * experts.width + experts.shared_width;
    const int64_t widest = std::max(F, experts.count > 0 ? side_by_side : 0);
    const auto e = static_cast<int64_t>(c10::elementSize(load.dtype));
    Memory memory;
    memory.arrays = L * (D + F + 2 * load.all()) * kFloat;
    for (const int64_t channels : {D, widest})
      memory.held += PointStatistics::held_bytes(load.dtype, load.all() * channels);
    if (load.dtype == at::kFloat) {
      memory.spillable = load.all() * widest * e;  // resid_out in memory is the hidden states
      memory.on_disk = load.all() * (D + widest) * e;
    }
    memory.moment = load.chunk * widest * kFloat / 4;  // a quarter of the keys
    if (experts.count > 0) {
      memory.held += load.all() * experts.used * static_cast<int64_t>(sizeof(int64_t));
      memory.held += experts.count * experts.width * kFloat;
      memory.moment += load.chunk * (experts.used * experts.width * 3 * kFloat + widest * e);
    }
    return memory;
  }

 private:
  void measure_embedding(const at::Tensor& x) {
    PointStatistics embedding(context().criteria);
    embedding.add(x, 0, nullptr);
    embedding.look_again();
    const stats::ActivationSummary summary = embedding.finish();
    embedding_ = {summary.max, summary.median};
  }

  results::Activations listed(const stats::ActivationSummary& s, bool routed) const {
    const auto places = [&](const std::vector<stats::ActivationValue>& values, bool named) {
      std::vector<results::Place> list;
      for (const stats::ActivationValue& v : values) {
        results::Place& place = list.emplace_back();
        place.value = v.value;
        place.sequence = v.sequence;
        place.token = v.token;
        place.channel = v.channel;
        if (routed) routes_.name(place, config().experts);
        if (!named) continue;
        const TokenNames::Name name = context().names.name(input().ids, v.sequence, v.token);
        place.token_text = name.text;
        place.token_class = name.kind;
      }
      return list;
    };
    results::Activations listed;
    listed.max = s.max;
    listed.median = s.median;
    listed.mean = s.mean;
    listed.kurtosis_pearson = s.kurtosis_pearson;
    listed.infinity_norm = s.infinity_norm;
    listed.top3_mean = s.top3_mean;
    listed.count = s.count;
    listed.top = places(s.top, false);
    if (routed) {
      listed.top_channels = routes_.top(s.channel_max, config().experts, s.top_channels.size());
    } else {
      for (const stats::ChannelMax& c : s.top_channels) listed.top_channels.push_back({c.channel, c.max, {}});
    }
    listed.massive = places(s.massive, true);
    listed.massive_count = s.massive_count;
    listed.nonfinite = s.nan_count + s.inf_count;
    listed.massive_tokens = massive_tokens(s);
    return listed;
  }

  /// The tokens that hold a massive activation, by text and class, the most frequent first.
  std::vector<results::TokenCount> massive_tokens(const stats::ActivationSummary& s) const {
    const double above = massive_threshold(s.median, context().criteria);
    const at::Tensor& ids = input().ids;
    const auto id = ids.accessor<int64_t, 2>();
    const auto max = s.token_max.accessor<float, 2>();
    std::map<std::pair<int64_t, bool>, int64_t> counts;  // by id, and whether it is the first of its window
    for (int64_t n = 0; n < ids.size(0); ++n) {
      for (int64_t t = 0; t < ids.size(1); ++t) {
        if (max[n][t] > above) ++counts[{id[n][t], t == 0}];
      }
    }
    std::vector<std::pair<int64_t, std::pair<int64_t, bool>>> order;
    for (const auto& [token, count] : counts) order.emplace_back(-count, token);
    std::sort(order.begin(), order.end());
    order.resize(std::min(order.size(), kMassiveTexts));
    std::vector<results::TokenCount> list;
    for (const auto& [count, token] : order) {
      const auto [number, first] = token;
      list.push_back({context().names.text(number), context().names.kind(number, first ? 0 : 1), -count});
    }
    return list;
  }

  PointStatistics resid_out_{context().criteria}, down_in_{context().criteria};
  Routes routes_;
  at::Tensor waiting_;  // experts' down_in, [b,T,k,Fe], until the shared one's is there
  results::Extent embedding_;
};

}  // namespace

MeasureInfo activations_measure() {
  return {.name = "activations",
          .description =
              "largest, middle and massive values of the residual stream and of the down "
              "projection's input",
          .source = "arXiv 2402.17762, arXiv 2502.06415",
          .make = make<Activations>};
}

}  // namespace outliers::measures
