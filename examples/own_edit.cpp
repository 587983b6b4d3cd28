// The next token of a run that is edited: by a text as docs/edits.md has it, and by a function of one's own.
// usage: own_edit MODEL TEXT EDITS
#include <iostream>
#include <map>
#include <stdexcept>

#include <ATen/ATen.h>
#include <outliers/outliers.h>

namespace run = outliers::run;
class LastLogits : public run::Observer {
 public:
  bool wants(const run::Site& site, size_t) const override { return site.point == run::Point::logits; }
  void on_point(const run::Site&, const run::Slice& slice, const at::Tensor& x) override {
    of[slice.input] = x.select(1, -1).flatten();  // x is [B, T, V]
  }
  std::map<size_t, at::Tensor> of;  // by input
};

int main(int argc, char** argv) try {
  if (argc != 4) throw std::invalid_argument("usage: own_edit MODEL TEXT EDITS");
  const outliers::Session session;
  const auto model = outliers::Model::open(argv[1]);
  run::Edit halve{run::Site{0, run::Point::resid_out}};
  halve.operation.kind = run::Operation::Kind::function;
  halve.operation.function = [](const at::Tensor& x, const run::Slice&) { return x / 2; };

  // The branches share the first input's run until they differ, and one reading of the weights.
  const run::Input branch{.name = "edited", .parent = 0, .edits = run::parse_edits(argv[3], model.config())};
  LastLogits logits;
  const outliers::ForwardOptions options{.logits = true};
  session.forward(model, {model.text(argv[2]), branch, {.name = "halved", .parent = 0, .edits = {halve}}},
                  {&logits}, options);
  for (const auto& [input, x] : logits.of)
    std::cout << "token " << x.argmax().item<int64_t>() << ", logits changed by "
              << (x - logits.of[0]).abs().max().item<float>() << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
