// What edits take from a whole input, against the formulas; what a branch shares; what cannot be branched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/run/runner.h"

#include "run/golden_inputs.h"
#include "run/recorder.h"
#include "support.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;

class EditedRun : public testing::Test {
 protected:
  const std::unique_ptr<models::Model> model_ =
      models::Model::open(tests::golden("models/llama_untied/model.safetensors"));

  Input input(int64_t B = 3, int64_t T = 20) const {
    at::manual_seed(3);
    return {"a", at::randint(model_->config().vocabulary, {B, T}, at::kLong)};
  }
  Input edited(const std::string& text, Input input) const {
    input.edits = parse_edits(text, model_->config());
    return input;
  }
  Input edited(const std::string& text) const { return edited(text, input()); }
  Input branch(const std::string& text, size_t parent = 0) const {
    Input branch{text};
    branch.parent = parent;
    branch.edits = parse_edits(text, model_->config());
    return branch;
  }
  at::Tensor point(const std::string& name, const std::vector<Input>& inputs, size_t input = 0,
                   RunOptions options = {}) const {
    options.logits = true;
    Recorder recorder(parse_sites(name, model_->config()), input);
    forward(*model_, inputs, {&recorder}, options);
    return recorder.get(name);
  }
  std::string error_of(const std::vector<Input>& inputs) const {
    return tests::error_of([&] { forward(*model_, inputs, {}, {}); });
  }
};

/// Makes massive activations in two sequences, and some that are large but not 1000 times the median.
constexpr const char* kMassive =
    "layer.0.mlp_added[token=0,channel=3]=value(5000);layer.0.mlp_added[token=7,channel=9]=value(-4000);"
    "layer.0.mlp_added[token=2,channel=4]=value(150)";

TEST_F(EditedRun, FindsMassiveActivations) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    RunOptions options;
    options.dtype = dtype;
    options.chunk_tokens = 20;
    const at::Tensor before = point("layer.0.resid_out", {edited(kMassive)}, 0, options);
    const at::Tensor median = before.abs().flatten().quantile(0.5);
    const at::Tensor massive = before.abs().gt(100).logical_and_(before.abs().gt(1000 * median));
    ASSERT_EQ(massive.sum().item<int64_t>(), 6);
    ASSERT_EQ(before.abs().gt(100).sum().item<int64_t>(), 9);
    const auto after = [&](const std::string& edit) {
      return point("layer.0.resid_out", {edited(std::string(kMassive) + ";layer.0.resid_out" + edit)}, 0,
                   options);
    };
    EXPECT_TRUE(at::equal(after("[massive]=zero"), before.masked_fill(massive, 0))) << toString(dtype);
    EXPECT_TRUE(at::equal(after("[massive,token=1..-1]=zero"),
                          before.masked_fill(massive.index_fill(1, at::zeros({1}, at::kLong), false), 0)));
    // The mean of each channel over the massive ones of all sequences.
    const at::Tensor sums = before.masked_fill(massive.logical_not(), 0).sum(at::IntArrayRef({0, 1})),
                     means = (sums / massive.sum(at::IntArrayRef({0, 1}))).to(dtype).to(at::kDouble);
    EXPECT_TRUE(at::equal(after("[massive]=mean"), at::where(massive, means, before))) << toString(dtype);
  }
}

TEST_F(EditedRun, FindsOutlierTokens) {
  Input large = input(4, 40);
  const at::Tensor before =
      point("layer.0.resid_out", {edited("layer.0.mlp_added[token=5,channel=3]=value(1000000)", large)});
  const at::Tensor outlier = before.abs().amax(2).gt(1000 * before.abs().mean());
  ASSERT_EQ(outlier.sum().item<int64_t>(), 4);
  const at::Tensor after = point(
      "layer.0.resid_out",
      {edited("layer.0.mlp_added[token=5,channel=3]=value(1000000);layer.0.resid_out[outlier]=scale(0.5)",
              large)});
  EXPECT_TRUE(at::equal(after, at::where(outlier.unsqueeze(2), 0.5 * before, before)));
}

TEST_F(EditedRun, FindsThemInHeads) {
  const Input own = input(4, 40);
  for (const char* criterion : {"[massive]", "[outlier]"}) {
    const std::string edit = "layer.1.query" + std::string(criterion) + "=zero";
    Input parentless = own;
    parentless.edits = parse_edits("layer.1.attn_norm_out[token=4]=scale(1e7);" + edit, model_->config());
    const at::Tensor before =
                         point("layer.1.query", {edited("layer.1.attn_norm_out[token=4]=scale(1e7)", own)}),
                     after = point("layer.1.query", {parentless});
    const at::Tensor size = before.abs();
    at::Tensor chosen = size.gt(100).logical_and_(size.gt(1000 * size.flatten().quantile(0.5)));
    if (criterion == std::string("[outlier]"))
      chosen = size.amax({1, 3}, true).gt(1000 * size.mean()).expand_as(before);
    EXPECT_TRUE(at::equal(after, before.masked_fill(chosen, 0))) << criterion;
    if (criterion == std::string("[massive]")) {
      EXPECT_GT(chosen.sum().item<int64_t>(), 100);
    }
    // A branch's criteria are of its parent, in which nothing is large.
    const at::Tensor branched =
        point("layer.1.query", {own, branch("layer.1.attn_norm_out[token=4]=scale(1e7);" + edit)}, 1);
    EXPECT_TRUE(at::equal(branched, before)) << criterion;
  }
}

TEST_F(EditedRun, ShowsTheSumsOfEditedProbabilities) {
  class Sums : public Observer {
   public:
    bool wants(const Site& site, size_t input) const override {
      return input == 1 && site == Site{1, Point::attn_probs};
    }
    bool wants_attention_sums(int64_t layer, size_t input) const override { return layer == 1 && input == 1; }
    void on_point(const Site&, const Slice&, const at::Tensor& x) override { probs = x; }
    void on_attention_sums(int64_t, const Slice&, const ops::AttentionSums& shown) override { sums = shown; }
    at::Tensor probs;
    ops::AttentionSums sums;
  } sums;
  forward(*model_, {input(), branch("layer.1.attn_probs[key=0]=zero")}, {&sums}, {});
  EXPECT_EQ(sums.probs.select(3, 0).abs().max().item<double>(), 0);
  EXPECT_TRUE(at::allclose(sums.sums.key_sums, sums.probs.sum(2), 1e-5, 1e-6));
  EXPECT_EQ(sums.sums.sink_rates.abs().max().item<double>(), 0);
}

TEST_F(EditedRun, TakesTheFirstOfEqualEntries) {
  const std::string equal = "layer.1.down_in[channel=5]=value(-70);layer.1.down_out=zero;layer.1.mlp_added";
  const at::Tensor x = point("layer.1.mlp_added", {edited(equal + "[top=1]=value(3)")});
  EXPECT_EQ(x.sum().item<double>(), 3);
  EXPECT_EQ(x.flatten()[0].item<double>(), 3);
  EXPECT_EQ(point("layer.1.mlp_added", {edited(equal + "[token=2|4,top=31]=value(3)")}).nonzero().size(0),
            31);
  EXPECT_EQ(point("layer.1.mlp_added", {edited(equal + "[top=1000000]=value(3)")}).min().item<double>(), 3);
}

TEST_F(EditedRun, NeverChoosesWhatIsNotFinite) {
  const at::Tensor logits = point("layer.1.attn_logits", {input()});
  const at::Tensor after = point("layer.1.attn_logits", {edited("layer.1.attn_logits[top=2]=value(0.25)")});
  EXPECT_TRUE(at::equal(logits.isinf(), after.isinf()));
  EXPECT_EQ(after.ne(logits).sum().item<int64_t>(), 2);
  const at::Tensor mean = point("layer.1.attn_logits", {edited("layer.1.attn_logits[key=0]=mean")});
  EXPECT_TRUE(at::allclose(
      mean.select(3, 0), logits.select(3, 0).mean(at::IntArrayRef({0, 2}), true).expand_as(mean.select(3, 0)),
      1e-6, 1e-7));
}

TEST_F(EditedRun, AddsTheSameNoiseInAnyChunks) {
  const Input plain = input(40, 10);
  const std::string site = "layer.1.attn_out";
  RunOptions small;
  small.chunk_tokens = 1;
  small.dtype = at::kDouble;
  RunOptions large;
  large.dtype = at::kDouble;
  const auto noisy = [&](const std::string& edit, const RunOptions& options) {
    return point(site, {plain, branch(site + edit)}, 1, options) - point(site, {plain}, 0, options);
  };
  const at::Tensor noise = noisy("=noise(0.5)", large);
  EXPECT_TRUE(at::allclose(noise, noisy("=noise(0.5)", small), 1e-10, 1e-10));
  EXPECT_NEAR(noise.std().item<double>(), 0.5, 0.01);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.02);
  EXPECT_FALSE(at::allclose(noise[0], noise[1], 1e-3, 1e-3));
  EXPECT_GT((noise - noisy("=noise(0.5,1)", large)).abs().mean().item<double>(), 0.3);
  const at::Tensor part = noisy("[token=3]=noise(0.5)", large);
  EXPECT_TRUE(at::allclose(part.select(1, 3), noise.select(1, 3), 1e-10, 1e-10));
  EXPECT_EQ(part.index_fill(1, at::full({1}, 3), 0).abs().max().item<double>(), 0);
}

TEST_F(EditedRun, DrawsTheSameEntriesInAnyChunksAndCountsThem) {
  const Input plain = input(4, 20);
  const auto entries = [&](const std::string& selection, int64_t chunk,
                           std::shared_ptr<EditMatches> matches) {
    RunOptions options;
    options.chunk_tokens = chunk;
    Input edit = branch("layer.1.resid_out[" + selection + "]=value(1234)");
    edit.matches = std::move(matches);
    return point("layer.1.resid_out", {plain, edit}, 1, options).eq(1234);
  };
  const std::string selection = "token=3|5..6,channel=1|4";
  const auto matches = std::make_shared<EditMatches>();
  const at::Tensor chosen = entries(selection, 2048, nullptr);
  const at::Tensor drawn = entries(selection + ",random=9", 2048, matches);
  EXPECT_TRUE(at::equal(drawn, entries(selection + ",random=9", 1, nullptr)));
  EXPECT_FALSE(at::equal(drawn, entries(selection + ",random=10", 1, nullptr)));
  EXPECT_TRUE(at::equal(drawn.flatten(1).sum(1), chosen.flatten(1).sum(1)));
  EXPECT_FALSE(at::equal(drawn[0], drawn[1]));
  for (int64_t b = 0; b < 4; ++b) EXPECT_EQ(matches->count(0, b), 6);
  EXPECT_FALSE(drawn.any(2).logical_and(chosen.any(2)).any().item<bool>());
  EXPECT_FALSE(drawn.any(1).logical_and(chosen.any(1)).any().item<bool>());
  // Where all channels are taken, other tokens' are left; where all is taken, nothing is.
  const at::Tensor whole = entries("token=0,random=1", 2048, nullptr);
  EXPECT_EQ(whole.sum().item<int64_t>(), 4 * model_->config().width);
  EXPECT_FALSE(whole.select(1, 0).any().item<bool>());
  EXPECT_EQ(entries("random=1", 2048, nullptr).sum().item<int64_t>(), 0);
}

TEST_F(EditedRun, CallsFunctions) {
  Input own = input();
  Edit edit{Site{1, Point::resid_mid}};
  edit.selection.choices = {{Axis::token, {{2, 2}}}};
  edit.operation.kind = Operation::Kind::function;
  std::vector<int64_t> seen;
  edit.operation.function = [&](const at::Tensor& x, const Slice& slice) {
    seen.push_back(slice.first_sequence);
    return x.neg();
  };
  own.edits = {edit};
  RunOptions options;
  options.chunk_tokens = 20;
  const at::Tensor before = point("layer.1.resid_mid", {input()}, 0, options),
                   after = point("layer.1.resid_mid", {own}, 0, options);
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(at::equal(after.select(1, 2), -before.select(1, 2)));
  EXPECT_TRUE(at::equal(after.select(1, 3), before.select(1, 3)));
  own.edits[0].operation.function = [](const at::Tensor& x, const Slice&) { return x.select(0, 0); };
  EXPECT_THAT(error_of({own}), HasSubstr("an edit's function should give a tensor of [3, 20, 30]"));
}

TEST_F(EditedRun, SharesWhatABranchHasOfItsParent) {
  const std::vector<Input> inputs = {input(), branch("layer.1.query=zero"), branch("logits=zero"),
                                     branch("layer.0.key=zero")};
  std::vector<Recorder> all;
  for (size_t i = 0; i < inputs.size(); ++i) all.emplace_back(i);
  RunOptions options;
  options.logits = true;
  const RunTimes times = forward(*model_, inputs, {&all[0], &all[1], &all[2], &all[3]}, options);
  Recorder alone(0);
  // Each weight is read once.
  EXPECT_EQ(forward(*model_, {input()}, {&alone}, options).weight_bytes_read, times.weight_bytes_read);
  const auto same = [&](size_t branch, const std::string& name) {
    return all[branch].parts().at(name)[0].is_same(all[0].parts().at(name)[0]);
  };
  for (const auto& [name, parts] : all[0].parts()) {
    EXPECT_TRUE(at::equal(all[0].get(name), alone.get(name))) << name;
    EXPECT_EQ(same(1, name), name.starts_with("layer.0.") || name == "layer.1.resid_in") << name;
    EXPECT_EQ(same(2, name), name.starts_with("layer.")) << name;
    EXPECT_EQ(same(3, name), name == "layer.0.resid_in") << name;
  }
  EXPECT_EQ(all[2].get("logits").abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(all[2].get("final_norm_out"), all[0].get("final_norm_out")));
}

TEST_F(EditedRun, MayHaveBranchesWithoutEdits) {
  const std::vector<Input> inputs = {input(), branch("layer.1.query=zero")};
  std::vector<Input> plain = inputs;
  plain[1].edits.clear();
  EXPECT_TRUE(at::equal(point("logits", plain, 0), point("logits", plain, 1)));
  EXPECT_FALSE(at::equal(point("logits", inputs, 0), point("logits", inputs, 1)));
}

TEST_F(EditedRun, RefusesWhatCannotBeBranched) {
  EXPECT_THAT(error_of({branch("layer.1.query=zero", 1), input()}), HasSubstr("should be an earlier input"));
  EXPECT_THAT(error_of({branch("layer.1.query=zero", 0)}), HasSubstr("should be an earlier input"));
  EXPECT_THAT(error_of({input(), branch("layer.1.query=zero"), branch("layer.1.key=zero", 1)}),
              HasSubstr("should be neither a branch nor edited; give the branch all edits"));
  EXPECT_THAT(error_of({edited("layer.1.query=zero"), branch("layer.1.key=zero")}),
              HasSubstr("neither a branch nor edited"));
  EXPECT_THAT(error_of({edited("layer.1.query[token=20]=zero")}), HasSubstr("token 20 of edit"));
  EXPECT_THAT(error_of({edited("layer.1.query[token=initial]=zero")}),
              HasSubstr("name classes of tokens, which the input does not have"));
  Input classes = edited("layer.1.attn_out=mean(other)");
  classes.classes = at::zeros({3, 19}, at::kLong);
  EXPECT_THAT(error_of({classes}), HasSubstr("classes"));
}

}  // namespace
}  // namespace outliers::run
