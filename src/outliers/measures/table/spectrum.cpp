// How many directions the tokens of a sequence use in the residual stream: where one token's norm is far
// above the others', hardly more than one.
#include <algorithm>
#include <cmath>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

/// -sum p log p of p = x / sum x, [b,n] -> [b].
at::Tensor entropy(const at::Tensor& x) {
  return at::special_entr(x / x.sum(1, true).clamp_min(1e-300)).sum(1);
}

class Spectrum : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = {run::Point::resid_out}}; }
  void add(const run::Site&, const at::Tensor& x_in, int64_t) override {
    for (int64_t b = 0; b < x_in.size(0); ++b) {
      at::Tensor x = x_in[b].to(at::kDouble);
      if (!at::isfinite(x).all().item<bool>()) {
        parts_.push_back(at::full({2, 1}, std::nan(""), at::kDouble));
        continue;
      }
      if (x.size(0) > x.size(1)) x = x.t();
      const at::Tensor squares = at::linalg_eigvalsh(at::matmul(x, x.t())).clamp_min(0).unsqueeze(0);
      parts_.push_back(at::stack({entropy(squares), entropy(squares.sqrt())}).cpu());
    }
  }
  void save(ByteWriter& out) const override { out.put(at::cat(parts_, 1)); }
  void merge(ByteReader& in) override { parts_.push_back(in.get_tensor()); }

  void end_layer(results::Layer& layer, Arrays&) override {
    const at::Tensor all = at::cat(parts_, 1);  // [2,N]
    const auto put = [&](const char* name, const at::Tensor& x) {
      part(layer).values[name] = {x.mean().item<double>()};
    };
    const double most = std::log(static_cast<double>(std::min(input().ids.size(1), config().width)));
    put("matrix_entropy", all[0]);
    if (most > 0) put("matrix_entropy_share", all[0] / most);
    put("effective_rank", all[1].exp());
  }
  void forget_layer() override { parts_.clear(); }
  Memory memory(const Load& load) const override {
    constexpr int64_t kDouble = sizeof(double);
    const int64_t D = config().width, n = std::min(D, load.tokens);
    return {.held = 4 * load.sequences * kDouble, .moment = (2 * load.tokens * D + 4 * n * n) * kDouble};
  }

 private:
  std::vector<at::Tensor> parts_;  // of this layer, in the order of sequences: [2,b] float64
};

}  // namespace

MeasureInfo spectrum_measure() {
  constexpr const char* kSource = "arXiv 2510.06477";
  return {.name = "spectrum",
          .description = "how many directions the tokens of a sequence use in the residual stream",
          .source = "arXiv 2510.06477, arXiv 2502.02013",
          .values =
              {{"matrix_entropy", "[]", "matrix entropy, nats",
                "-sum p_i log p_i of p_i = s_i^2 / sum s^2, s the singular values of a sequence's resid_out "
                "[T, D]; mean over sequences",
                kSource},
               {"matrix_entropy_share", "[]", "matrix entropy over its largest",
                "matrix_entropy over log min(T, D)", kSource},
               {"effective_rank", "[]", "effective rank",
                "e^(-sum q_i log q_i) of q_i = s_i / sum s; mean over sequences",
                "Roy and Vetterli (EUSIPCO 2007)"}},
          .on_request = "eigenvalues in float64 of a matrix of tokens or channels, a sequence and layer",
          .make = make<Spectrum>};
}

}  // namespace outliers::measures
