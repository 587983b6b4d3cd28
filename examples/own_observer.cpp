// How long the residual stream's vectors are, layer by layer, and which token has the longest one.
// usage: own_observer MODEL TEXT
#include <iostream>
#include <stdexcept>

#include <outliers/outliers.h>

class ResidualNorms : public outliers::run::Observer {
 public:
  bool wants(const outliers::run::Site& site, size_t) const override {
    return site.point == outliers::run::Point::resid_out;
  }
  void on_point(const outliers::run::Site& site, const outliers::run::Slice&, const at::Tensor& x) override {
    const at::Tensor norms = x.norm(2, -1).flatten();  // x is [B, T, D]
    std::cout << outliers::run::site_name(site) << ": mean " << norms.mean().item<float>() << ", largest "
              << norms.max().item<float>() << " at token " << norms.argmax().item<int64_t>() << "\n";
  }
};

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: own_observer MODEL TEXT");
  const outliers::Session session;
  const auto model = outliers::Model::open(argv[1]);
  ResidualNorms norms;
  session.forward(model, {model.text(argv[2])}, {&norms});
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
