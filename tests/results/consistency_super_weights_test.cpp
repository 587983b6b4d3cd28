// Places of super weights against the rest of the results: each rule is seen to fail.
#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "every_field.h"
#include "support.h"

namespace outliers::results {
namespace {

class SuperWeightConsistency : public testing::Test {
 protected:
  /// What is said of every_field() after `change`.
  template <typename Change>
  std::string refusal(Change&& change) {
    Results results = sample_;
    change(results);
    tests::write_file(scratch_ / "results.json", to_text(results, -1));
    return tests::error_of([&] { read(scratch_ / "results.json"); });
  }

  const Results sample_ = tests::every_field(false);
  const int64_t width_ = sample_.model.width, mlp_width_ = sample_.model.mlp_width,
                tokens_ = sample_.inputs[0].tokens_per_sequence, experts_ = sample_.model.experts->count;
  tests::ScratchDirectory scratch_;
};

#define EXPECT_BROKEN(change, ...)                  \
  EXPECT_THAT(refusal([&](Results& r) { change; }), \
              testing::EndsWith("results.json: " + fmt::format(__VA_ARGS__)))

TEST_F(SuperWeightConsistency, OfPlacesAndCounts) {
  EXPECT_BROKEN(r.super_weights->input = "corpus", "super_weights.input is corpus, which is no prompt");
  EXPECT_BROKEN(r.super_weights->found[1].layer = 12,
                "super_weights.found[1].layer is 12, but there are only 12");
  EXPECT_BROKEN(r.super_weights->found[1].expert->number = experts_,
                "super_weights.found[1].expert is {0}, but there are only {0}", experts_);
  EXPECT_BROKEN(r.super_weights->found[0].token = tokens_,
                "super_weights.found[0].token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(r.super_weights->found[0].row = width_,
                "super_weights.found[0].row is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.super_weights->found[0].column = mlp_width_,
                "super_weights.found[0].column is {0}, but there are only {0}", mlp_width_);
  EXPECT_BROKEN(r.super_weights->left.channel = width_,
                "super_weights.left.channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.criticality->input = "prompt", "criticality.input is prompt, which is no corpus");
  EXPECT_BROKEN(r.criticality->weights.pop_back(),
                "criticality.weights has 1 entries, but super_weights.found says 2");
  EXPECT_BROKEN(r.super_weights.reset(), "criticality stands where there are no super_weights");
}

}  // namespace
}  // namespace outliers::results
