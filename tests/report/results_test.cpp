#include "outliers/report/results.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::SampleReport;

class ReadResults : public testing::Test {
 protected:
  Results written(const SampleReport& sample) {
    sample.write(scratch_ / "r");
    return read_results(scratch_ / "r");
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(ReadResults, GivesBackWhatWasWritten) {
  const SampleReport sample = tests::sample_report();
  const Results results = written(sample);
  EXPECT_EQ(results::to_text(results.data), results::to_text(sample.data));
  size_t compared = 0;
  for (const auto& [name, tensor] : sample.arrays) {
    const size_t point = name.find('.');
    const results::Input* input = results.data.input(name.substr(0, point));
    const std::string own = input == nullptr ? name : name.substr(point + 1);
    EXPECT_TRUE(results.has(own, input)) << name;
    EXPECT_TRUE(at::equal(results.array(own, input), tensor)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 19u);
}

TEST_F(ReadResults, NamesTheFieldThatIsWrong) {
  SampleReport sample = tests::sample_report();
  sample.at(1, "prompt").down_in->top[0].channel = 6;
  EXPECT_THAT(tests::error_of([&] { written(sample); }),
              HasSubstr("layers[1].inputs.prompt.down_in.top[0].channel is 6, but there are only 6"));
}

TEST_F(ReadResults, RefusesWhatIsNotThereOrCutShort) {
  const std::filesystem::path none = scratch_ / "none";
  EXPECT_THAT(tests::error_of([&] { read_results(none); }),
              HasSubstr("holds no report: it has no results.json"));
  const std::filesystem::path r = scratch_ / "r";
  tests::sample_report().write(r);
  const std::string text = tests::read_file(r / "results.json");
  for (size_t size = 0; size < text.size(); size += 397) {
    tests::write_file(r / "results.json", text.substr(0, size));
    EXPECT_THAT(
        tests::error_of([&] { read_results(r); }),
        AllOf(HasSubstr("results.json: this is not valid JSON"), HasSubstr("it is damaged or cut short")));
  }
  tests::write_file(r / "results.json", text);
  const std::string arrays = tests::read_file(r / "arrays.npz");
  tests::write_file(r / "arrays.npz", arrays.substr(0, arrays.size() / 2));
  EXPECT_THAT(tests::error_of([&] { read_results(r); }), HasSubstr("arrays.npz"));
  std::filesystem::remove(r / "arrays.npz");
  EXPECT_THAT(tests::error_of([&] { read_results(r); }), HasSubstr("it has no arrays.npz"));
}

TEST_F(ReadResults, ChecksTheShapesOfArrays) {
  SampleReport sample = tests::sample_report();
  tests::add_input(sample, "prompt2", "prompt");
  sample.arrays["prompt2.resid_out"] = at::ones({2, 3, 5});
  sample.arrays.erase("prompt.down_in");
  const Results results = written(sample);
  const results::Input *first = results.data.prompt(), *second = results.data.input("prompt2");
  EXPECT_THAT(tests::error_of([&] { results.array("resid_out", second); }),
              HasSubstr("prompt2.resid_out has the shape [2, 3, 5], but [L, K, D] here is [2, 3, 4]"));
  EXPECT_THAT(tests::error_of([&] { results.array("down_in", first); }),
              HasSubstr("arrays.npz has no array prompt.down_in"));
  EXPECT_THAT(tests::error_of([&] { results.array("down_out", first); }),
              HasSubstr("array down_out is not one of docs/results.md"));
}

TEST_F(ReadResults, KnowsWhatWasMeasured) {
  SampleReport sample = tests::sample_report();
  tests::leave_out(sample, "attention_maps");
  tests::leave_out(sample, "weights");
  const Results results = written(sample);
  const results::Input *prompt = results.data.prompt(), *corpus = results.data.corpus();
  EXPECT_TRUE(results.has("resid_out", prompt));
  EXPECT_FALSE(results.has("resid_out", corpus));  // activations themselves are kept of prompts
  EXPECT_TRUE(results.has("ids", corpus));
  EXPECT_FALSE(results.has("ids", prompt));
  EXPECT_TRUE(results.has("resid_out.token_max", corpus));
  EXPECT_FALSE(results.has("resid_out.token_norm", prompt));  // of images
  EXPECT_FALSE(results.has("attention.probs", prompt));
  EXPECT_FALSE(results.has("weights.down.columns"));
}

TEST_F(ReadResults, KeepsNaNAsGaps) {
  SampleReport sample = tests::sample_report();
  sample.at(0, "corpus").resid_out->kurtosis_pearson = NAN;  // written as null
  sample.arrays["prompt.resid_out"][0][0][0] = NAN;
  const Results results = written(sample);
  const results::Activations& read = *results.data.layers[0].inputs.find("corpus")->resid_out;
  EXPECT_TRUE(std::isnan(read.kurtosis_pearson));
  EXPECT_EQ(read.mean, 0.5);
  EXPECT_TRUE(std::isnan(results.array("resid_out", results.data.prompt())[0][0][0].item<double>()));
}

}  // namespace
}  // namespace outliers::report
