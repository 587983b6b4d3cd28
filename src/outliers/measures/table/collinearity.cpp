// What the matrices of an MLP promise without data: where a row of the down projection lies along a direction
// that the up projection amplifies, one input is enough for a spike (arXiv 2511.23225).
#include <map>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

class CollinearityMeasure : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.weights = true}; }
  void add_weight(int64_t, const run::LayerWeight& weight) override {
    if (weight.module != "up" && weight.module != "down") return;
    const auto [other, is_first] = waiting_.try_emplace(weight.expert, weight.tensor);
    if (is_first) return;
    const bool is_down = weight.module == "down";
    add(is_down ? other->second : weight.tensor, is_down ? weight.tensor : other->second, weight.expert);
    waiting_.erase(other);
  }
  void end_layer(results::Layer& layer, Arrays&) override { layer.collinearity = found_; }
  void forget_layer() override {
    waiting_.clear();
    found_.reset();
  }
  Memory memory(const Load&) const override {
    constexpr int64_t kDouble = sizeof(double);
    const models::Config& c = config();
    const int64_t D = c.width, F = std::max(c.mlp_width, c.experts.width);
    return {.held = D * F * static_cast<int64_t>(sizeof(float)), .moment = (2 * D * F + 6 * D * D) * kDouble};
  }

 private:
  /// up [F,D], down [D,F]. With W_up v_i = s_i u_i, s_i (w_k . u_i) is entry k of W_down W_up v_i: the right
  /// singular vectors are enough.
  void add(const at::Tensor& up_in, const at::Tensor& down_in, int64_t expert) {
    const at::Tensor up = up_in.to(at::kDouble), down = down_in.to(at::kDouble);
    if (!at::isfinite(up).all().item<bool>() || !at::isfinite(down).all().item<bool>()) return;
    const auto [squares, vectors] = at::linalg_eigh(at::matmul(up.t(), up));     // ascending; v_i are columns
    const at::Tensor written = at::matmul(at::matmul(down, up), vectors).abs();  // [k,i]
    const int64_t place = written.argmax().item<int64_t>(), n = written.size(1);
    const double value = written.flatten()[place].item<double>();
    if (found_ && found_->value >= value) return;
    results::Collinearity& c = found_.emplace();
    c.value = value;
    c.channel = place / n;
    c.rank = n - 1 - place % n;
    c.singular_value = squares[place % n].clamp_min(0).sqrt().item<double>();
    if (expert != run::kNoExpert) c.expert = results::Expert{expert};
  }

  std::map<int64_t, at::Tensor> waiting_;  // by expert, the first of its two
  std::optional<results::Collinearity> found_;
};

}  // namespace

MeasureInfo collinearity_measure() {
  return {.name = "collinearity",
          .description = "how large a spike each layer's up and down projections promise without data",
          .source = "arXiv 2511.23225",
          .of = Of::model,
          .on_request = "eigenvectors in float64 of a matrix of channels, a layer or an expert",
          .make = make<CollinearityMeasure>};
}

}  // namespace outliers::measures
