#include "outliers/report/results.h"

#include <cmath>

#include <gmock/gmock.h>

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::MatchesRegex;
using tests::SampleReport;

class ReadResults : public testing::Test {
 protected:
  /// What read_results says of the sample after `change`.
  template <typename Change>
  std::string refusal(Change&& change) {
    SampleReport sample = tests::sample_report();
    change(sample.json);
    sample.write(scratch_ / "r");
    std::string message = tests::error_of([&] { read_results(scratch_ / "r"); });
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(ReadResults, GivesBackWhatWasWritten) {
  const SampleReport sample = tests::sample_report();
  sample.write(scratch_ / "r");
  const Results results = read_results(scratch_ / "r");
  EXPECT_EQ(results.json, sample.json);
  EXPECT_EQ(results.sizes.L, 2);
  EXPECT_EQ(results.sizes.D, 4);
  EXPECT_EQ(results.sizes.F, 6);
  EXPECT_EQ(results.sizes.T, 5);
  EXPECT_EQ(results.sizes.P, 3);
  for (const auto& [name, tensor] : sample.arrays)
    EXPECT_TRUE(at::equal(results.array(name), tensor)) << name;
}

TEST_F(ReadResults, NamesTheFieldThatIsMissingOrWrong) {
  EXPECT_THAT(refusal([](auto& r) { r["activations"]["corpus"]["resid_out"][1].erase("top"); }),
              HasSubstr("results.json: activations.corpus.resid_out[1].top is missing"));
  EXPECT_THAT(refusal([](auto& r) { r["attention"]["corpus"][0]["median"] = "x"; }),
              HasSubstr("attention.corpus[0].median is \"x\"; it should be of type number"));
  EXPECT_THAT(refusal([](auto& r) { r["writes"][0]["largest"]["mlp"] = "x"; }),
              HasSubstr("writes[0].largest.mlp is \"x\"; it should be of type number or null"));
  EXPECT_THAT(refusal([](auto& r) { r["run"] = 3; }), HasSubstr("run is 3; it should be of type object"));
  EXPECT_THAT(refusal([](auto& r) { r["prompt"]["classes"][0] = "king"; }),
              HasSubstr("prompt.classes[0] is \"king\", which is none of its values"));
  EXPECT_THAT(refusal([](auto& r) { r["weights"][1]["modules"]["down"]["index"] = -1; }),
              HasSubstr("weights[1].modules.down.index is -1, below 0"));
  EXPECT_THAT(refusal([](auto& r) { r["weights"][1]["modules"]["down"]["index"] = 18446744073709551615U; }),
              HasSubstr("weights[1].modules.down.index is 18446744073709551615"));
  EXPECT_THAT(refusal([](auto& r) { r["weights"][0]["modules"]["side"] = r["weights"][0]["modules"]["up"]; }),
              HasSubstr("weights[0].modules has an unknown entry side"));
  EXPECT_THAT(refusal([](auto& r) { r["summary"]["born_layer"] = "one"; }), HasSubstr("summary.born_layer"));
}

TEST_F(ReadResults, HoldsCountsAndPlacesAgainstEachOther) {
  EXPECT_THAT(refusal([](auto& r) { r["writes"].erase(1); }),
              HasSubstr("writes has 1 entries, but model.layers says 2"));
  EXPECT_THAT(refusal([](auto& r) { r["prompt"]["tokens"].push_back("more"); }),
              HasSubstr("prompt.tokens has 4 entries, but prompt.ids says 3"));
  EXPECT_THAT(refusal([](auto& r) { r["activations"]["prompt"]["down_in"][1]["top"][0]["channel"] = 6; }),
              HasSubstr("activations.prompt.down_in[1].top[0].channel is 6, but there are only 6"));
  EXPECT_THAT(refusal([](auto& r) { r["attention"]["corpus"][1]["outlier_keys"][0]["key"] = 5; }),
              HasSubstr("attention.corpus[1].outlier_keys[0].key is 5"));
  EXPECT_THAT(refusal([](auto& r) { r["summary"]["removed_layer"] = 2; }),
              HasSubstr("summary.removed_layer is 2"));
  EXPECT_THAT(refusal([](auto& r) { r["writes"][0]["layer"] = 1; }), HasSubstr("writes[0].layer is 1"));
  EXPECT_THAT(refusal([](auto& r) { r["writes"][1]["largest"]["neurons"][0]["neuron"] = 9; }),
              HasSubstr("writes[1].largest.neurons[0].neuron is 9"));
}

TEST_F(ReadResults, RefusesAnotherSchema) {
  EXPECT_THAT(refusal([](auto& r) { r["schema"] = "outliers-results/2"; }),
              HasSubstr("is of outliers-results/2: this program reads outliers-results/1; read it with"));
  EXPECT_THAT(refusal([](auto& r) { r.erase("schema"); }), HasSubstr("is no report: it has no field schema"));
  EXPECT_THAT(refusal([](auto& r) { r = ordered_json::array(); }), HasSubstr("is no report"));
}

TEST_F(ReadResults, RefusesWhatIsNotThereOrCutShort) {
  EXPECT_THAT(tests::error_of([&] { read_results(scratch_ / "none"); }),
              HasSubstr("holds no report: it has no results.json"));
  const SampleReport sample = tests::sample_report();
  sample.write(scratch_ / "r");
  const std::string text = tests::read_file(scratch_ / "r/results.json");
  for (size_t size = 0; size < text.size(); size += 97) {
    tests::write_file(scratch_ / "r/results.json", text.substr(0, size));
    EXPECT_THAT(
        tests::error_of([&] { read_results(scratch_ / "r"); }),
        AllOf(HasSubstr("results.json: this is not valid JSON"), HasSubstr("it is damaged or cut short")));
  }
  tests::write_file(scratch_ / "r/results.json", "{\"schema\": NaN}");
  EXPECT_THAT(tests::error_of([&] { read_results(scratch_ / "r"); }), HasSubstr("it has no field schema"));
  tests::write_file(scratch_ / "r/results.json", text);

  const std::string arrays = tests::read_file(scratch_ / "r/arrays.npz");
  tests::write_file(scratch_ / "r/arrays.npz", arrays.substr(0, arrays.size() / 2));
  EXPECT_THAT(tests::error_of([&] { read_results(scratch_ / "r"); }), HasSubstr("arrays.npz"));
  std::filesystem::remove(scratch_ / "r/arrays.npz");
  EXPECT_THAT(tests::error_of([&] { read_results(scratch_ / "r"); }), HasSubstr("it has no arrays.npz"));
}

TEST_F(ReadResults, ChecksTheShapesOfArrays) {
  SampleReport sample = tests::sample_report();
  sample.arrays["prompt.resid_out"] = at::ones({2, 3, 5});
  sample.arrays.erase("prompt.down_in");
  sample.write(scratch_ / "r");
  const Results results = read_results(scratch_ / "r");
  EXPECT_THAT(tests::error_of([&] { results.array("prompt.resid_out"); }),
              HasSubstr("prompt.resid_out has the shape [2, 3, 5], but [L, K, D] here is [2, 3, 4]"));
  EXPECT_THAT(tests::error_of([&] { results.array("prompt.down_in"); }),
              HasSubstr("arrays.npz has no array prompt.down_in"));
}

TEST_F(ReadResults, KeepsNaNAsGaps) {
  SampleReport sample = tests::sample_report();
  sample.json["activations"]["corpus"]["resid_out"][0]["kurtosis_pearson"] = NAN;  // written as null
  sample.arrays["prompt.resid_out"][0][0][0] = NAN;
  sample.write(scratch_ / "r");
  const Results results = read_results(scratch_ / "r");
  EXPECT_TRUE(
      std::isnan(number_of(results.json["activations"]["corpus"]["resid_out"][0]["kurtosis_pearson"])));
  EXPECT_EQ(number_of(results.json["activations"]["corpus"]["resid_out"][0]["mean"]), 0.5);
  EXPECT_TRUE(std::isnan(results.array("prompt.resid_out")[0][0][0].item<double>()));
  // Python writes them back as NaN.
  std::string text = tests::read_file(scratch_ / "r/results.json");
  const size_t null = text.find("null", text.find("\"kurtosis_pearson\""));
  tests::write_file(scratch_ / "r/results.json",
                    text.replace(null, 4, "NaN").insert(text.find('{') + 1, "\"x\": [Infinity],"));
  EXPECT_TRUE(std::isnan(number_of(
      read_results(scratch_ / "r").json["activations"]["corpus"]["resid_out"][0]["kurtosis_pearson"])));
  // A null is no place.
  EXPECT_THAT(
      refusal([](auto& r) { r["activations"]["prompt"]["resid_out"][0]["top"][0]["token"] = nullptr; }),
      MatchesRegex(".*top\\[0\\]\\.token is null; it should be of type integer"));
}

}  // namespace
}  // namespace outliers::report
