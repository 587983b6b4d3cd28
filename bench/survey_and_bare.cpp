// What all statistics together cost: the survey behind `outliers report` beside this program's own bare
// forward pass on the same tokens, in turn, in one process. One JSON object a repetition on standard output.
// usage: survey_and_bare MODEL [--sequences N] [--tokens N] [--dtype D] [--device D] [--threads N] [--repeat
// N]
#include <cstdio>
#include <exception>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "outliers/core/memory.h"
#include "outliers/models/model.h"
#include "outliers/run/runner.h"
#include "outliers/studies/survey.h"
#include "outliers/text/corpus.h"

namespace outliers {
namespace {

struct Options {
  std::string model, device = "cpu", dtype = "float32";
  studies::SurveyOptions survey;
  int threads = 2, repeat = 3;
};

/// Kernels of a GPU run on behind the host's back; a clock means something once they are done.
class Finish : public run::Observer {
 public:
  bool wants(const run::Site& site, size_t) const override {
    return site.point == run::Point::resid_out && site.layer + 1 == layers_;
  }
  void on_point(const run::Site&, const run::Slice&, const at::Tensor& x) override {
    if (!x.is_cpu()) x.flatten().slice(0, 0, 1).to(at::kCPU);
  }
  explicit Finish(int64_t layers) : layers_(layers) {}

 private:
  int64_t layers_;
};

nlohmann::ordered_json bare(const models::Model& model, const Options& options) {
  const at::Tensor windows =
      text::make_windows(model.tokenizer(), text::default_corpus(), options.survey.sequences,
                         options.survey.tokens, options.survey.bos, options.survey.seed);
  Finish finish(model.config().layers);
  run::RunOptions run;
  run.dtype = options.survey.dtype;
  run.device = options.survey.device;
  const run::RunTimes times = run::forward(model, {{"corpus", windows}}, {&finish}, run);
  return {{"load", times.load_seconds}, {"forward", times.forward_seconds + times.observer_seconds}};
}

void measure(Options options) {
  install_tensor_allocator();
  at::set_num_threads(options.threads);
  at::globalContext().setAllowTF32CuBLAS(false);
  options.survey.device = at::Device(options.device);
  if (options.survey.device.is_cuda()) {
    at::globalContext().lazyInitDevice(at::kCUDA);
    if (!options.survey.device.has_index()) options.survey.device.set_index(0);
  }
  options.survey.dtype = options.dtype == "bfloat16"  ? at::kBFloat16
                         : options.dtype == "float16" ? at::kHalf
                                                      : at::kFloat;
  const auto model = models::Model::open(options.model);
  for (int i = 0; i < options.repeat; ++i) {
    nlohmann::ordered_json row = {{"dtype", options.dtype},
                                  {"device", options.device},
                                  {"threads", options.threads},
                                  {"sequences", options.survey.sequences},
                                  {"tokens", options.survey.tokens}};
    row["bare"] = bare(*model, options);
    const studies::Survey survey = studies::survey(*model, options.survey);
    const results::Run& measured = survey.results.run;
    row["survey"] = {{"load", measured.seconds.load},
                     {"forward", measured.seconds.forward},
                     {"statistics", measured.seconds.statistics},
                     {"report", measured.seconds.report}};
    row["peak_host_bytes"] = measured.peak_host_bytes;
    row["peak_device_bytes"] = measured.peak_device_bytes;
    std::puts(row.dump().c_str());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace outliers

int main(int argc, char** argv) {
  outliers::Options options;
  options.survey.tokens = 1024;
  CLI::App app("the survey beside the bare forward pass");
  app.add_option("model", options.model)->required();
  app.add_option("--sequences", options.survey.sequences);
  app.add_option("--tokens", options.survey.tokens);
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  app.add_option("--device", options.device);
  app.add_option("--threads", options.threads);
  app.add_option("--repeat", options.repeat);
  CLI11_PARSE(app, argc, argv);
  try {
    outliers::measure(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "survey_and_bare: %s\n", error.what());
    return 1;
  }
  return 0;
}
