// Counts and places of results against each other: each rule is seen to fail.
#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "every_field.h"
#include "support.h"

namespace outliers::results {
namespace {

using testing::EndsWith;

class Consistency : public testing::Test {
 protected:
  /// What is said of every_field() after `change`.
  template <typename Change>
  std::string refusal(Change&& change) {
    Results results = sample_;
    change(results);
    tests::write_file(scratch_ / "results.json", to_text(results, -1));
    return tests::error_of([&] { read(scratch_ / "results.json"); });
  }
  static LayerInput& corpus(Results& r, size_t layer) { return *r.layers[layer].inputs.find("corpus"); }
  static LayerInput& prompt(Results& r, size_t layer) { return *r.layers[layer].inputs.find("prompt"); }

  const Results sample_ = tests::every_field(false);
  const int64_t width_ = sample_.model.width, mlp_width_ = sample_.model.mlp_width,
                tokens_ = sample_.inputs[0].tokens_per_sequence, experts_ = sample_.model.experts->count;
  tests::ScratchDirectory scratch_;
};

#define EXPECT_BROKEN(change, ...)                                   \
  EXPECT_THAT(refusal([&]([[maybe_unused]] Results& r) { change; }), \
              EndsWith("results.json: " + fmt::format(__VA_ARGS__)))

TEST_F(Consistency, OfTheSampleHolds) {
  tests::write_file(scratch_ / "results.json", to_text(sample_));
  EXPECT_NO_THROW(read(scratch_ / "results.json"));
}

TEST_F(Consistency, OfInputs) {
  EXPECT_BROKEN(r.inputs[1].name = "corpus", "inputs[1].name is corpus, as of another input");
  EXPECT_BROKEN(r.inputs[1].sequences = 2, "inputs[1] is a prompt of 2 sequences; a prompt has one");
  EXPECT_BROKEN(r.inputs[1].ids.push_back(1),
                "inputs[1].ids has {} entries, but inputs[1].tokens_per_sequence says {}", tokens_ + 1,
                tokens_);
  EXPECT_BROKEN(r.inputs[1].tokens.pop_back(),
                "inputs[1].tokens has {} entries, but inputs[1].tokens_per_sequence says {}", tokens_ - 1,
                tokens_);
  EXPECT_BROKEN(r.inputs[1].classes.clear(),
                "inputs[1].classes has 0 entries, but inputs[1].tokens_per_sequence says {}", tokens_);
  EXPECT_BROKEN(r.inputs[1].kept_tokens = tokens_ + 1, "inputs[1].kept_tokens is {}, but there are only {}",
                tokens_ + 1, tokens_);
}

TEST_F(Consistency, OfLayers) {
  EXPECT_BROKEN(r.layers.pop_back(), "layers has 11 entries, but model.layers says 12");
  EXPECT_BROKEN(r.layers[3].layer = 4, "layers[3].layer is 4; layers stand in order, from 0");
  EXPECT_BROKEN(r.layers[3].weights.reset(), "layers[3] lacks weights, unlike layer 0");
  EXPECT_BROKEN(r.layers[0].weights.reset(), "layers[1] has weights, unlike layer 0");
  EXPECT_BROKEN(corpus(r, 2).resid_out.reset(), "layers[2] lacks resid_out of corpus, unlike layer 0");
  EXPECT_BROKEN(corpus(r, 2).down_in.reset(), "layers[2] lacks down_in of corpus, unlike layer 0");
  EXPECT_BROKEN(corpus(r, 2).attention.reset(), "layers[2] lacks attention of corpus, unlike layer 0");
  EXPECT_BROKEN(prompt(r, 2).writes.reset(), "layers[2] lacks writes of prompt, unlike layer 0");
  EXPECT_BROKEN(prompt(r, 2).norms.reset(), "layers[2] lacks norms of prompt, unlike layer 0");
  EXPECT_BROKEN(r.layers[2].inputs["more"], "layers[2].inputs has 3 entries, but inputs says 2");
  EXPECT_BROKEN(r.inputs[0].name = "corpus2", "layers[0].inputs.corpus2 is missing");
}

TEST_F(Consistency, OfActivations) {
  EXPECT_BROKEN(corpus(r, 1).resid_out->top[1].sequence = tokens_,
                "layers[1].inputs.corpus.resid_out.top[1].sequence is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(prompt(r, 1).resid_out->massive[1].sequence = 1,
                "layers[1].inputs.prompt.resid_out.massive[1].sequence is 1, but there are only 1");
  EXPECT_BROKEN(corpus(r, 1).resid_out->massive[0].token = tokens_,
                "layers[1].inputs.corpus.resid_out.massive[0].token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(corpus(r, 1).resid_out->top[0].channel = width_,
                "layers[1].inputs.corpus.resid_out.top[0].channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(corpus(r, 1).down_in->top[0].channel = mlp_width_,
                "layers[1].inputs.corpus.down_in.top[0].channel is {0}, but there are only {0}", mlp_width_);
  EXPECT_BROKEN(corpus(r, 1).down_in->top_channels[1].channel = mlp_width_,
                "layers[1].inputs.corpus.down_in.top_channels[1].channel is {0}, but there are only {0}",
                mlp_width_);
}

TEST_F(Consistency, OfExperts) {
  const auto past = [&](const std::string& path) {
    return fmt::format("{0} is {1}, but there are only {1}", path, experts_);
  };
  const Expert none{experts_};
  EXPECT_BROKEN(corpus(r, 1).down_in->top[0].expert = none, "{}",
                past("layers[1].inputs.corpus.down_in.top[0].expert"));
  EXPECT_BROKEN(corpus(r, 1).down_in->massive[0].expert = none, "{}",
                past("layers[1].inputs.corpus.down_in.massive[0].expert"));
  EXPECT_BROKEN(corpus(r, 1).down_in->top_channels[0].expert = none, "{}",
                past("layers[1].inputs.corpus.down_in.top_channels[0].expert"));
  EXPECT_BROKEN(corpus(r, 1).experts[1].expert = none, "{}",
                past("layers[1].inputs.corpus.experts[1].expert"));
  EXPECT_BROKEN(prompt(r, 1).writes->largest.neurons[0].expert = none, "{}",
                past("layers[1].inputs.prompt.writes.largest.neurons[0].expert"));
  EXPECT_BROKEN(r.layers[1].weights->modules["down"].expert = none, "{}",
                past("layers[1].weights.modules.down.expert"));
  EXPECT_BROKEN(r.layers[1].weights->experts[1].expert = none, "{}",
                past("layers[1].weights.experts[1].expert"));
  EXPECT_BROKEN(r.summary.first_nonfinite->expert = none, "{}", past("summary.first_nonfinite.expert"));
  EXPECT_BROKEN(r.summary.first_nonfinite->before->expert = none, "{}",
                past("summary.first_nonfinite.before.expert"));
  EXPECT_BROKEN(r.model.experts.reset(),
                "inputs[0].amax.corpus.expert stands where the model has no experts");
}

TEST_F(Consistency, OfLargestValues) {
  EXPECT_BROKEN(r.inputs[1].amax["corpus"].sequence = 1,
                "inputs[1].amax.corpus.sequence is 1, but there are only 1");
  EXPECT_BROKEN(corpus(r, 1).amax["prompt"].token = tokens_,
                "layers[1].inputs.corpus.amax.prompt.token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(corpus(r, 1).amax["prompt"].head = 2,
                "layers[1].inputs.corpus.amax.prompt.head is 2, but there are only 2");
  EXPECT_BROKEN(r.summary.first_overflow["fp16"]->layer = 10,
                "summary.first_overflow.fp16.layer is 10, but there are only 10");
  EXPECT_BROKEN(r.summary.first_overflow["fp8_e4m3"]->input = "x",
                "summary.first_overflow.fp8_e4m3.input is x, which is no input");
  EXPECT_BROKEN(r.summary.first_overflow["fp8_e4m3"]->token = tokens_,
                "summary.first_overflow.fp8_e4m3.token is {0}, but there are only {0}", tokens_);
}

TEST_F(Consistency, OfAttention) {
  EXPECT_BROKEN(corpus(r, 1).attention->heads.pop_back(),
                "layers[1].inputs.corpus.attention.heads has 1 entries, but model.heads says 2");
  EXPECT_BROKEN(corpus(r, 1).attention->heads[1].head = 0,
                "layers[1].inputs.corpus.attention.heads[1].head is 0; heads stand in order, from 0");
  EXPECT_BROKEN(prompt(r, 1).attention->top_keys[0].sequence = 1,
                "layers[1].inputs.prompt.attention.top_keys[0].sequence is 1, but there are only 1");
  EXPECT_BROKEN(corpus(r, 1).attention->outlier_keys[0].key = tokens_,
                "layers[1].inputs.corpus.attention.outlier_keys[0].key is {0}, but there are only {0}",
                tokens_);
}

TEST_F(Consistency, OfWrites) {
  EXPECT_BROKEN(for (Layer& layer
                     : r.layers) layer.inputs["corpus"]
                    .writes = *prompt(r, 0).writes,
                "layers[0].inputs.corpus.writes is not of a prompt");
  EXPECT_BROKEN(prompt(r, 1).writes->largest.token = tokens_,
                "layers[1].inputs.prompt.writes.largest.token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(prompt(r, 1).writes->followed->channel = width_,
                "layers[1].inputs.prompt.writes.followed.channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(prompt(r, 1).writes->largest.neurons[1].neuron = mlp_width_,
                "layers[1].inputs.prompt.writes.largest.neurons[1].neuron is {0}, but there are only {0}",
                mlp_width_);
}

TEST_F(Consistency, OfWeights) {
  for (const std::string missing : {"q", "k", "v", "o", "up", "down"}) {
    const auto without = [&](Results& r) {
      Named<Weight> rest;
      for (const auto& [name, module] : r.layers[1].weights->modules) {
        if (name != missing) rest[name] = module;
      }
      r.layers[1].weights->modules = rest;
    };
    EXPECT_BROKEN(without(r), "layers[1].weights.modules.{} is missing", missing);
  }
  EXPECT_BROKEN(r.layers[1].weights->modules["down"].top_columns[1].column = mlp_width_,
                "layers[1].weights.modules.down.top_columns[1].column is {0}, but there are only {0}",
                mlp_width_);
  EXPECT_BROKEN(r.layers[1].weights->modules["down"].top_columns[0].row = width_,
                "layers[1].weights.modules.down.top_columns[0].row is {0}, but there are only {0}", width_);
}

TEST_F(Consistency, OfImages) {
  EXPECT_BROKEN(r.images->names.pop_back(),
                "images.names has {} entries, but inputs.corpus.sequences says {}", tokens_ - 1, tokens_);
  EXPECT_BROKEN(r.images->rows = 2,
                "images has 2 x 5 patches, 2 registers and CLS, but a sequence of corpus has {} tokens",
                tokens_);
  // Products and sums beyond 64 bits.
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_BROKEN(r.images->rows = r.images->columns = int64_t{1} << 32,
                "images has 4294967296 x 4294967296 patches, 2 registers and CLS, but a sequence of corpus "
                "has {} tokens",
                tokens_);
  const auto beyond = [](Results& r) {
    r.inputs[0].tokens_per_sequence = most;
    r.images->registers = most - 1;
    r.images->rows = r.images->columns = int64_t{3} << 30;
    for (Layer& layer : r.layers) {
      for (auto& [name, input] : layer.inputs) input.norms.reset();
    }
  };
  EXPECT_BROKEN(beyond(r),
                "images has 3221225472 x 3221225472 patches, {} registers and CLS, but a sequence of corpus "
                "has {} tokens",
                most - 1, most);
}

TEST_F(Consistency, OfNorms) {
  EXPECT_BROKEN(r.images.reset(), "layers[0].inputs.corpus.norms stands where there are no images");
  EXPECT_BROKEN(corpus(r, 1).norms->patches.largest.token = tokens_,
                "layers[1].inputs.corpus.norms.patches.largest.token is {0}, but there are only {0}",
                tokens_);
  EXPECT_BROKEN(prompt(r, 1).norms->patches.largest.sequence = 1,
                "layers[1].inputs.prompt.norms.patches.largest.sequence is 1, but there are only 1");
  EXPECT_BROKEN(corpus(r, 1).norms->registers.reset(),
                "layers[1].inputs.corpus.norms: registers stand where the model has some");
  EXPECT_BROKEN(corpus(r, 1).norms->registers->each.push_back(1),
                "layers[1].inputs.corpus.norms.registers.each has 3 entries, but images.registers says 2");
}

TEST_F(Consistency, OfValues) {
  const auto define = [](Results& r, const char* shape) {
    r.definitions[std::string(kValuesPath) + "corpus"].shape = shape;
  };
  EXPECT_BROKEN(corpus(r, 1).values["entropy"] = {1},
                "layers[1].inputs.corpus.values.entropy is not in definitions");
  EXPECT_BROKEN(corpus(r, 1).values["corpus"].pop_back(),
                "layers[1].inputs.corpus.values.corpus has 1 entries, but its shape [H] here is 2");
  EXPECT_BROKEN(define(r, "[]"),
                "layers[0].inputs.corpus.values.corpus has 2 entries, but its shape [] here is 1");
  EXPECT_BROKEN(define(r, "[D]"),
                "layers[0].inputs.corpus.values.corpus has 2 entries, but its shape [D] here is {}", width_);
  EXPECT_BROKEN(define(r, "[F]"),
                "layers[0].inputs.corpus.values.corpus has 2 entries, but its shape [F] here is {}",
                mlp_width_);
  EXPECT_BROKEN(define(r, "[T]"),
                "layers[0].inputs.corpus.values.corpus has 2 entries, but its shape [T] here is {}", tokens_);
  EXPECT_BROKEN(define(r, "[N]"),
                "layers[0].inputs.corpus.values.corpus has 2 entries, but its shape [N] here is {}", tokens_);
  Results later = sample_;
  define(later, "[H, later]");
  tests::write_file(scratch_ / "results.json", to_text(later));
  EXPECT_NO_THROW(read(scratch_ / "results.json"));
}

TEST_F(Consistency, OfTheFirstThatIsNotFinite) {
  EXPECT_BROKEN(r.summary.first_nonfinite->input = "prompt9",
                "summary.first_nonfinite.input is prompt9, which is no input");
  EXPECT_BROKEN(r.summary.first_nonfinite->layer = 12,
                "summary.first_nonfinite.layer is 12, but there are only 12");
  EXPECT_BROKEN(r.summary.first_nonfinite->sequence = tokens_,
                "summary.first_nonfinite.sequence is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(r.summary.first_nonfinite->token = tokens_,
                "summary.first_nonfinite.token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(r.summary.first_nonfinite->before->layer = 12,
                "summary.first_nonfinite.before.layer is 12, but there are only 12");
  EXPECT_BROKEN(r.summary.first_nonfinite->before->sequence = tokens_,
                "summary.first_nonfinite.before.sequence is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(r.summary.first_nonfinite->before->token = tokens_,
                "summary.first_nonfinite.before.token is {0}, but there are only {0}", tokens_);
}

TEST_F(Consistency, OfLives) {
  EXPECT_BROKEN(r.summary.lives.push_back(r.summary.lives[0]), "summary.lives has 2 entries for 1 prompts");
  EXPECT_BROKEN(r.summary.lives[0].input = "corpus",
                "summary.lives[0].input is corpus, but the prompt is prompt");
  // The first 10 layers are finite.
  EXPECT_BROKEN(r.summary.lives[0].born_layer = 10,
                "summary.lives[0].born_layer is 10, but there are only 10");
  EXPECT_BROKEN(r.summary.lives[0].peak_layer = 10,
                "summary.lives[0].peak_layer is 10, but there are only 10");
  EXPECT_BROKEN(r.summary.lives[0].removed_layer = 10,
                "summary.lives[0].removed_layer is 10, but there are only 10");
  EXPECT_BROKEN(r.summary.lives[0].found = true;
                r.summary.lives[0].peak_layer.reset(),
                "summary.lives[0].found is true, but a layer of birth or peak is missing");
  EXPECT_BROKEN(r.summary.lives[0].found = true;
                r.summary.lives[0].born_layer.reset(),
                "summary.lives[0].found is true, but a layer of birth or peak is missing");
  EXPECT_BROKEN(r.summary.lives[0].massive_channels[1] = width_,
                "summary.lives[0].massive_channels[1] is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.summary.lives[0].massive_tokens[1].token = tokens_,
                "summary.lives[0].massive_tokens[1].token is {0}, but there are only {0}", tokens_);
  EXPECT_BROKEN(r.summary.lives[0].massive_tokens[1].first_layer = 10,
                "summary.lives[0].massive_tokens[1].first_layer is 10, but there are only 10");
  EXPECT_BROKEN(r.summary.lives[0].massive_tokens[1].last_layer = 10,
                "summary.lives[0].massive_tokens[1].last_layer is 10, but there are only 10");
}

TEST_F(Consistency, OfTheRestOfTheSummary) {
  EXPECT_BROKEN(r.summary.headroom["down_in"]->layer = 12,
                "summary.headroom.down_in.layer is 12, but there are only 12");
  EXPECT_BROKEN(r.summary.headroom["down_in"]->input = "x",
                "summary.headroom.down_in.input is x, which is no input");
  EXPECT_BROKEN(r.summary.norms->layer = 12, "summary.norms.layer is 12, but there are only 12");
}

TEST_F(Consistency, OfTheLifeCycle) {
  const auto life = [](Results& r) -> PromptLife& { return r.lifecycle->prompts[0]; };
  const std::string path = "lifecycle.prompts[0]";
  EXPECT_BROKEN(r.lifecycle->prompts.clear(), "lifecycle.prompts has 0 entries, but inputs says 1");
  EXPECT_BROKEN(life(r).input = "corpus", "{}.input is corpus, but the prompt is prompt", path);
  EXPECT_BROKEN(r.lifecycle->constancy[1].layer = 10,
                "lifecycle.constancy[1].layer is 10, but there are only 10");
  EXPECT_BROKEN(life(r).episodes[1].token = tokens_, "{}.episodes[1].token is {}, but there are only {}",
                path, tokens_, tokens_);
  EXPECT_BROKEN(life(r).episodes[0].channel = width_, "{}.episodes[0].channel is {}, but there are only {}",
                path, width_, width_);
  EXPECT_BROKEN(life(r).episodes[0].born_layer = 10, "{}.episodes[0].born_layer is 10, but there are only 10",
                path);
  EXPECT_BROKEN(life(r).episodes[0].peak_layer = 10, "{}.episodes[0].peak_layer is 10, but there are only 10",
                path);
  EXPECT_BROKEN(life(r).episodes[0].removed_layer = 10,
                "{}.episodes[0].removed_layer is 10, but there are only 10", path);
  EXPECT_BROKEN(life(r).episodes[0].step_up[1] = 10, "{}.episodes[0].step_up[1] is 10, but there are only 10",
                path);
  EXPECT_BROKEN(life(r).episodes[0].step_down[0] = 10,
                "{}.episodes[0].step_down[0] is 10, but there are only 10", path);
  const std::pair<const char*, int64_t> limits[] = {{"token", tokens_},    {"channel", width_}, {"born", 10},
                                                    {"removed", 10},       {"spread", 10},      {"head", 2},
                                                    {"neuron", mlp_width_}};
  for (const auto& [what, limit] : limits) {
    EXPECT_BROKEN((life(r).chosen[0] = {what, limit, ""}), "{}.chosen[0].number is {}, but there are only {}",
                  path, limit, limit);
  }
  EXPECT_BROKEN(life(r).emergence->token = tokens_, "{}.emergence.token is {}, but there are only {}", path,
                tokens_, tokens_);
  EXPECT_BROKEN(life(r).emergence->channel = width_, "{}.emergence.channel is {}, but there are only {}",
                path, width_, width_);
  EXPECT_BROKEN(life(r).emergence->layer = 2, "{}.emergence.layers has 2 entries for layers 0 to 2", path);
  EXPECT_BROKEN(life(r).emergence->layer = 10, "{}.emergence.layer is 10, but there are only 10", path);
  EXPECT_BROKEN(life(r).emergence->layers[1].layer = 2,
                "{}.emergence.layers[1].layer is 2; layers stand in order, from 0", path);
  EXPECT_BROKEN(life(r).emergence->layers[1].heads.pop_back(),
                "{}.emergence.layers[1].heads has 1 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).emergence->layers[0].neurons[1].neuron = mlp_width_,
                "{}.emergence.layers[0].neurons[1].neuron is {}, but there are only {}", path, mlp_width_,
                mlp_width_);
  EXPECT_BROKEN(life(r).emergence->layers[0].neurons[1].expert = Expert{experts_},
                "{}.emergence.layers[0].neurons[1].expert is {}, but there are only {}", path, experts_,
                experts_);
  EXPECT_BROKEN(life(r).neurons[0].neuron = mlp_width_, "{}.neurons[0].neuron is {}, but there are only {}",
                path, mlp_width_, mlp_width_);
  EXPECT_BROKEN(life(r).neurons[0].expert = Expert{experts_},
                "{}.neurons[0].expert is {}, but there are only {}", path, experts_, experts_);
  EXPECT_BROKEN(life(r).neurons[0].tokens[1].token = tokens_,
                "{}.neurons[0].tokens[1].token is {}, but there are only {}", path, tokens_, tokens_);
  EXPECT_BROKEN(life(r).neurons[0].drives[1].channels[0].channel = width_,
                "{}.neurons[0].drives[1].channels[0].channel is {}, but there are only {}", path, width_,
                width_);
  EXPECT_BROKEN(life(r).spread[0].layer = 10, "{}.spread[0].layer is 10, but there are only 10", path);
  EXPECT_BROKEN(life(r).spread[0].tokens[1] = tokens_, "{}.spread[0].tokens[1] is {}, but there are only {}",
                path, tokens_, tokens_);
  EXPECT_BROKEN(life(r).spread[0].cosine_outlier.clear(),
                "{}.spread[0].cosine_outlier has 0 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).spread[0].cosine_other.clear(),
                "{}.spread[0].cosine_other has 0 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).spread[0].margin.clear(), "{}.spread[0].margin has 0 entries, but model.heads says 2",
                path);
  EXPECT_BROKEN(life(r).spread[0].probability.clear(),
                "{}.spread[0].probability has 0 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).spread[0].value_ratio.clear(),
                "{}.spread[0].value_ratio has 0 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).spread[0].output_share.clear(),
                "{}.spread[0].output_share has 0 entries, but model.heads says 2", path);
  EXPECT_BROKEN(life(r).disappearance->last_layer = 10,
                "{}.disappearance.last_layer is 10, but there are only 10", path);
  EXPECT_BROKEN(life(r).disappearance->first_layer = 6,
                "{}.disappearance.layers has 2 entries for layers 6 to 6", path);
}

TEST_F(Consistency, OfFindings) {
  const auto second = [](Results& r) -> FindingPlace& { return (*r.findings)[1].place; };
  const int64_t widest = std::max(width_, mlp_width_);
  EXPECT_BROKEN(second(r).layers[1] = 12, "findings[1].place.layers[1] is 12, but there are only 12");
  EXPECT_BROKEN(second(r).layer = 12, "findings[1].place.layer is 12, but there are only 12");
  EXPECT_BROKEN(second(r).head = 2, "findings[1].place.head is 2, but there are only 2");
  EXPECT_BROKEN(second(r).channel = widest, "findings[1].place.channel is {0}, but there are only {0}",
                widest);
  EXPECT_BROKEN(second(r).neuron = mlp_width_, "findings[1].place.neuron is {0}, but there are only {0}",
                mlp_width_);
  EXPECT_BROKEN(second(r).expert = Expert{experts_},
                "findings[1].place.expert is {0}, but there are only {0}", experts_);
  EXPECT_BROKEN(second(r).input = "x", "findings[1].place.input is x, which is no input");
}

TEST_F(Consistency, OfAlignment) {
  const auto second = [](Results& r) -> OutlierLayer& {
    return r.summary.alignment.outlier_layers->layers[1];
  };
  const std::string path = "summary.alignment.outlier_layers.layers[1]";
  EXPECT_BROKEN(second(r).layer = 10, "{}.layer is 10, but there are only 10", path);
  EXPECT_BROKEN(second(r).input = "x", "{}.input is x, which is no input", path);
  EXPECT_BROKEN(second(r).top_weight.neuron = mlp_width_,
                "{0}.top_weight.neuron is {1}, but there are only {1}", path, mlp_width_);
  EXPECT_BROKEN(second(r).top_activation.row = width_,
                "{0}.top_activation.row is {1}, but there are only {1}", path, width_);
  EXPECT_BROKEN(second(r).top_product.expert = Expert{experts_},
                "{0}.top_product.expert is {1}, but there are only {1}", path, experts_);
}

TEST_F(Consistency, OfFeatures) {
  EXPECT_BROKEN((*r.inputs[1].int8_outliers)[1].channel = width_,
                "inputs[1].int8_outliers[1].channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.layers[1].collinearity->channel = width_,
                "layers[1].collinearity.channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.layers[1].collinearity->rank = width_,
                "layers[1].collinearity.rank is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.layers[1].collinearity->expert = Expert{experts_},
                "layers[1].collinearity.expert is {0}, but there are only {0}", experts_);
  EXPECT_BROKEN(corpus(r, 2).residual_sinks[1].channel = width_,
                "layers[2].inputs.corpus.residual_sinks[1].channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.summary.axes->input = "x", "summary.axes.input is x, which is no input");
  EXPECT_BROKEN(r.summary.axes->layers.pop_back(),
                "summary.axes.layers has 9 entries, but the summary tells of 10 layers");
  EXPECT_BROKEN(r.summary.axes->layers[3].layer = 4,
                "summary.axes.layers[3].layer is 4; layers stand in order, from 0");
  const auto sink = [](Results& r) -> SecondarySink& { return r.summary.secondary_sinks->largest[1]; };
  const std::string sinks = "summary.secondary_sinks.largest[1]";
  EXPECT_BROKEN(sink(r).input = "x", "{}.input is x, which is no input", sinks);
  EXPECT_BROKEN(sink(r).sequence = r.inputs[0].sequences, "{0}.sequence is {1}, but there are only {1}",
                sinks, sample_.inputs[0].sequences);
  EXPECT_BROKEN(sink(r).key = tokens_, "{0}.key is {1}, but there are only {1}", sinks, tokens_);
  EXPECT_BROKEN(sink(r).last_layer = 10, "{}.last_layer is 10, but there are only 10", sinks);
  EXPECT_BROKEN(sink(r).first_layer = 4, "{}.first_layer is 4, but there are only 4", sinks);
  const auto expert = [](Results& r) -> SuperExpert& { return (*r.summary.super_experts)[1]; };
  EXPECT_BROKEN(expert(r).layer = 10, "summary.super_experts[1].layer is 10, but there are only 10");
  EXPECT_BROKEN(expert(r).expert = Expert{experts_},
                "summary.super_experts[1].expert is {0}, but there are only {0}", experts_);
  EXPECT_BROKEN(expert(r).input = "x", "summary.super_experts[1].input is x, which is no input");
  const auto heads = [](Results& r) -> InactiveHeads& { return *r.summary.inactive_heads; };
  EXPECT_BROKEN(heads(r).input = "x", "summary.inactive_heads.input is x, which is no input");
  EXPECT_BROKEN(heads(r).list[1].layer = 10,
                "summary.inactive_heads.list[1].layer is 10, but there are only 10");
  EXPECT_BROKEN(heads(r).list[1].head = r.model.heads,
                "summary.inactive_heads.list[1].head is {0}, but there are only {0}", sample_.model.heads);
  EXPECT_BROKEN(++heads(r).dead, "summary.inactive_heads.list has {} entries for 1 dormant and {} dead heads",
                sample_.summary.inactive_heads->list.size(), sample_.summary.inactive_heads->list.size());
}

TEST_F(Consistency, OfTheVocabulary) {
  EXPECT_BROKEN(r.vocabulary->spiking = r.vocabulary->tokens + 1,
                "vocabulary.spiking is {}, but vocabulary.tokens says {}", sample_.vocabulary->tokens + 1,
                sample_.vocabulary->tokens);
  EXPECT_BROKEN(r.vocabulary->channel = width_, "vocabulary.channel is {0}, but there are only {0}", width_);
  EXPECT_BROKEN(r.vocabulary->layers.pop_back(),
                "vocabulary.layers has 11 entries, but model.layers says 12");
  EXPECT_BROKEN(r.vocabulary->layers[2].layer = 3,
                "vocabulary.layers[2].layer is 3; layers stand in order, from 0");
  EXPECT_BROKEN(r.vocabulary->exceptions[1].id = r.vocabulary->tokens,
                "vocabulary.exceptions[1].id is {0}, but there are only {0}", sample_.vocabulary->tokens);
  EXPECT_BROKEN(r.vocabulary->exceptions[1].layer = 12,
                "vocabulary.exceptions[1].layer is 12, but there are only 12");
  EXPECT_BROKEN(r.vocabulary->exceptions[1].channel = width_,
                "vocabulary.exceptions[1].channel is {0}, but there are only {0}", width_);
}

}  // namespace
}  // namespace outliers::results
