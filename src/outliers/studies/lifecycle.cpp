#include "outliers/studies/lifecycle.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/measures/tensors.h"
#include "outliers/run/progress_observer.h"
#include "outliers/run/runner.h"
#include "outliers/studies/episodes.h"
#include "outliers/studies/lifecycle_parts.h"

namespace outliers::studies {
namespace {

/// Of each corpus, what is looked at for constancy: its first windows, cut.
constexpr int64_t kProbeSequences = 8, kProbeTokens = 128;

using results::Choice;

/// Largest heads' share of outlier keys, mean over a layer's heads, of the prompt.
double mean_share(const results::Attention& attention) {
  double sum = 0;
  for (const results::Head& head : attention.heads) sum += head.outlier_share;
  return sum / static_cast<double>(attention.heads.size());
}

/// What is looked at of one prompt, and why.
class Chooser {
 public:
  Chooser(const results::Results& results, const results::Input& prompt, at::Tensor stream,
          const LifecycleChoice& asked)
      : r_(results), prompt_(prompt), stream_(std::move(stream)), asked_(asked) {
    for (int64_t l = 0; l < told(); ++l) medians_.push_back(part(l).resid_out->median);
    find_episodes();
  }

  results::PromptLife life() {
    results::PromptLife life;
    life.input = prompt_.name;
    life.episodes = episodes_;
    if (told() == 0) return life;
    const auto main = std::max_element(episodes_.begin(), episodes_.end(), [](const auto& a, const auto& b) {
      return std::abs(a.peak) < std::abs(b.peak);
    });
    const bool any = main != episodes_.end();
    if (!any && !asked_.born && !asked_.channel) return life;
    const int64_t born = choose_born(any ? &*main : nullptr);
    choose_place(any ? &*main : nullptr, born);
    if (asked_.neuron) add("neuron", *asked_.neuron, "as asked for");
    choose_removed(any ? &*main : nullptr);
    choose_spread(born, any && main->removed_layer ? *main->removed_layer : told());
    life.chosen = std::move(chosen_);
    return life;
  }

 private:
  int64_t told() const { return r_.told_layers(); }
  const results::LayerInput& part(int64_t layer) const {
    return *r_.layers[static_cast<size_t>(layer)].inputs.find(prompt_.name);
  }
  void add(const char* what, int64_t number, std::string why) {
    chosen_.push_back({what, number, std::move(why)});
  }
  double value(int64_t layer, int64_t token, int64_t channel) const {
    return stream_[layer + 1][token][channel].item<double>();
  }

  /// Of each place that is a layer's largest where an outlier is found.
  void find_episodes() {
    std::set<std::pair<int64_t, int64_t>> places;
    for (int64_t l = 0; l < told(); ++l) {
      const results::Activations& of = *part(l).resid_out;
      if (of.top.empty() || of.extent().ratio() < r_.criteria.found_ratio) continue;
      if (of.top[0].token < stream_.size(1)) places.emplace(of.top[0].token, of.top[0].channel);
    }
    for (const auto& [token, channel] : places) {
      Trace trace{token, channel, value(-1, token, channel), {}};
      for (int64_t l = 0; l < told(); ++l) trace.values.push_back(value(l, token, channel));
      for (results::Episode& episode : episodes_of(trace, medians_, r_.criteria)) {
        if (!leads(episode)) continue;
        episode.token_text = prompt_.tokens[static_cast<size_t>(token)];
        episode.token_class = prompt_.classes[static_cast<size_t>(token)];
        episodes_.push_back(std::move(episode));
      }
    }
    std::stable_sort(episodes_.begin(), episodes_.end(),
                     [](const auto& a, const auto& b) { return a.born_layer < b.born_layer; });
  }
  /// Whether it is the largest value of some layer of its time.
  bool leads(const results::Episode& episode) const {
    for (int64_t l = episode.born_layer; l < episode.removed_layer.value_or(told()); ++l) {
      const auto& top = part(l).resid_out->top;
      if (!top.empty() && top[0].token == episode.token && top[0].channel == episode.channel) return true;
    }
    return false;
  }

  int64_t choose_born(const results::Episode* main) {
    if (asked_.born) {
      born_ = *asked_.born;
      born_why_ = "as asked for";
    } else if (main != nullptr) {
      born_ = main->born_layer;
      born_why_ = "where the outlier with the largest peak rises most";
    } else {  // of a channel that was asked for: where it is largest
      const at::Tensor sizes = stream_.narrow(0, 1, told()).select(2, *asked_.channel).abs().amax(1);
      born_ = sizes.argmax().item<int64_t>();
      born_why_ = "where the channel is largest";
    }
    return born_;
  }

  void choose_place(const results::Episode* main, int64_t born) {
    const at::Tensor layer = stream_[born + 1].abs();  // [K,D]
    int64_t token = 0, channel = 0;
    std::string why = "holds the largest value of the layer";
    if (asked_.channel) {
      channel = *asked_.channel;
      token = layer.select(1, channel).argmax().item<int64_t>();
      why = "holds the channel's largest value";
    } else if (main != nullptr && !asked_.born) {
      token = main->token;
      channel = main->channel;
      why = "holds the outlier with the largest peak";
    } else {
      const int64_t flat = layer.argmax().item<int64_t>();
      token = flat / layer.size(1);
      channel = flat % layer.size(1);
    }
    add("token", token, why);
    add("channel", channel, asked_.channel ? "as asked for" : why);
    add("born", born, born_why_);
  }

  void choose_removed(const results::Episode* main) {
    if (asked_.removed) {
      add("removed", *asked_.removed, "as asked for");
    } else if (main != nullptr && !main->step_down.empty()) {
      const auto taken = [&](int64_t l) {
        return std::abs(value(l - 1, main->token, main->channel)) -
               std::abs(value(l, main->token, main->channel));
      };
      const int64_t layer = *std::max_element(main->step_down.begin(), main->step_down.end(),
                                              [&](int64_t a, int64_t b) { return taken(a) < taken(b); });
      add("removed", layer, "takes most from it");
    }
  }

  void choose_spread(int64_t born, int64_t end) {
    int64_t layer = asked_.spread.value_or(-1);
    double best = -1;
    for (int64_t l = born + 1; !asked_.spread && l < end; ++l) {
      const double share = mean_share(*part(l).attention);
      if (share > best) {
        best = share;
        layer = l;
      }
    }
    if (layer < 0) return;
    add("spread", layer,
        asked_.spread
            ? "as asked for"
            : fmt::format("its heads give most to outlier keys: {:.0f} %, mean over heads", 100 * best));
    int64_t head = asked_.head.value_or(0);
    const auto& heads = part(layer).attention->heads;
    const auto most = std::max_element(heads.begin(), heads.end(), [](const auto& a, const auto& b) {
      return a.outlier_share < b.outlier_share;
    });
    if (!asked_.head) head = most->head;
    add("head", head,
        asked_.head
            ? "as asked for"
            : fmt::format("gives most to outlier keys in that layer: {:.0f} %", 100 * most->outlier_share));
  }

  const results::Results& r_;
  const results::Input& prompt_;
  at::Tensor stream_;  // [L+1,K,D]
  const LifecycleChoice& asked_;
  std::vector<double> medians_;
  std::vector<results::Episode> episodes_;
  std::vector<Choice> chosen_;
  int64_t born_ = 0;
  std::string born_why_;
};

void check(const std::optional<int64_t>& asked, int64_t count, const char* what) {
  require(!asked || (*asked >= 0 && *asked < count), Cause{ErrorKind::argument},
          "there is no {} {}: the model's are 0 to {}", what, asked.value_or(0), count - 1);
}

void check_layers(const LifecycleChoice& choice, int64_t layers) {
  for (const auto& layer : {choice.born, choice.removed, choice.spread}) check(layer, layers, "layer");
}

double sum_of(const results::LayerContributions& parts) {
  double sum = parts.attention_bias + parts.other_neurons + parts.mlp_bias + parts.norm;
  for (const double head : parts.heads) sum += head;
  for (const results::Neuron& neuron : parts.neurons) sum += neuron.product;
  return sum;
}

/// Puts together what was found of a prompt.
void complete(results::PromptLife& life, const LifecycleParts::Found& found) {
  const int64_t token = *life.choice("token"), channel = *life.choice("channel"), born = *life.choice("born");
  results::Contributions& emergence = life.emergence.emplace();
  emergence.layer = born;
  emergence.token = token;
  emergence.channel = channel;
  emergence.sum = emergence.embedding = found.embedding;
  for (int64_t l = 0; l <= born; ++l) {
    emergence.layers.push_back(found.layers[static_cast<size_t>(l)]);
    emergence.sum += sum_of(emergence.layers.back());
  }
  emergence.residual = emergence.layers.back().resid_out;
  life.neurons = found.neurons;
  if (!life.choice("neuron") && !life.neurons.empty()) {
    const results::Neuron& most = life.neurons.front();
    life.chosen.push_back({"neuron", most.neuron, "writes most of it in the layer of birth"});
  }
  life.spread = found.spread;

  const auto of_place = std::find_if(life.episodes.begin(), life.episodes.end(), [&](const auto& e) {
    return e.token == token && e.channel == channel && !e.step_down.empty() && e.born_layer <= born &&
           born <= e.peak_layer;
  });
  const std::optional<int64_t> removed = life.choice("removed");
  if (!removed) return;
  int64_t first = *removed, last = *removed;
  if (of_place != life.episodes.end() &&
      std::count(of_place->step_down.begin(), of_place->step_down.end(), first) > 0) {
    first = of_place->step_down.front();
    last = of_place->step_down.back();
  }
  results::Disappearance& gone = life.disappearance.emplace();
  gone.first_layer = first;
  gone.last_layer = last;
  gone.before = first == 0 ? found.embedding : found.layers[static_cast<size_t>(first - 1)].resid_out;
  gone.after = found.layers[static_cast<size_t>(last)].resid_out;
  for (int64_t l = first; l <= last; ++l) {
    gone.layers.push_back(found.layers[static_cast<size_t>(l)]);
    gone.sum += sum_of(gone.layers.back());
  }
  gone.cancelled = gone.before == 0 ? results::kNone : -gone.sum / gone.before;
}

}  // namespace

ResidualTrace::ResidualTrace(const models::Config& config, std::vector<size_t> prompts) : config_(config) {
  for (const size_t prompt : prompts) rows_[prompt];
}

bool ResidualTrace::wants(const run::Site& site, size_t input) const {
  return rows_.contains(input) &&
         (site.point == run::Point::resid_out || (site.layer == 0 && site.point == run::Point::resid_in));
}

int64_t ResidualTrace::kept(int64_t tokens) const {
  const int64_t row = (config_.layers + 1) * config_.width * 4 * static_cast<int64_t>(rows_.size());
  // Of long prompts the first tokens.
  return std::clamp<int64_t>(measures::kPromptBytes / row, 1, tokens);
}

void ResidualTrace::on_point(const run::Site&, const run::Slice& slice, const at::Tensor& x) {
  rows_[slice.input].push_back(measures::on_host(x[0].narrow(0, 0, kept(x.size(1)))).clone());
}

run::ObserverMemory ResidualTrace::memory(const std::vector<run::Input>& inputs, at::ScalarType,
                                          int64_t) const {
  int64_t bytes = 0;
  for (const auto& [input, rows] : rows_)
    bytes += (config_.layers + 1) * kept(inputs[input].ids.size(1)) * config_.width * 4;
  return {.held = static_cast<uint64_t>(2 * bytes)};
}

at::Tensor ResidualTrace::of(size_t input) const {
  return at::stack(rows_.at(input));
}

void check_choice(const models::Config& config, const LifecycleChoice& choice) {
  check_layers(choice, config.layers);
  check(choice.head, config.heads, "head");
  check(choice.neuron, models::widest_mlp(config), "neuron");
  check(choice.channel, config.width, "channel");
}

void add_lifecycle(const models::Model& model, const Subjects& subjects, const ResidualTrace& trace,
                   const LifecycleChoice& choice, const run::RunOptions& options, run::RunTimes& times,
                   results::Results& results, measures::NamedArrays& arrays) {
  const models::Config& c = model.config();
  require(results.told_layers() == c.layers || !(choice.born || choice.removed || choice.spread),
          Cause{ErrorKind::argument}, "values are not finite from layer {} on, so no layer can be asked for",
          results.told_layers());
  results::Lifecycle& all = results.lifecycle.emplace();
  std::vector<run::Input> inputs;
  std::vector<LifeTargets> targets;
  int64_t last = -1;
  for (size_t i = 0; i < subjects.runs.size(); ++i) {
    const run::Input& input = subjects.runs[i];
    if (!subjects.measured[i].is_prompt()) continue;
    const results::Input& listed = *results.input(input.name);
    results::PromptLife life = Chooser(results, listed, trace.of(i), choice).life();
    if (life.choice("token")) {
      LifeTargets& target = targets.emplace_back();
      target.input = inputs.size();
      target.tokens = input.ids.size(1);
      target.name = input.name;
      target.token = *life.choice("token");
      target.channel = *life.choice("channel");
      target.neuron = life.choice("neuron");
      target.born = life.choice("born");
      target.removed = life.choice("removed");
      target.spread = life.choice("spread");
      target.head = life.choice("head").value_or(0);
      inputs.push_back(input);
      last = results.told_layers() - 1;
    }
    all.prompts.push_back(std::move(life));
  }
  if (targets.empty()) return;
  for (const measures::Input& input : subjects.measured) {  // all ranks' tokens
    if (input.is_prompt() || models::reads_images(c)) continue;
    const int64_t sequences = std::min(kProbeSequences, input.ids.size(0)),
                  tokens = std::min(kProbeTokens, input.ids.size(1));
    inputs.push_back({input.name, input.ids.narrow(0, 0, sequences).narrow(1, 0, tokens).contiguous()});
  }

  LifecycleParts parts(model, targets, results.criteria);
  run::RunOptions run_options = options;
  run_options.ranks = nullptr;
  run_options.layers = last + 1;
  // It takes less than the run before it, whose plan allowed for the device's own memory on the host.
  if (!run_options.device.is_cpu()) run_options.memory_limit = 0;
  run::ProgressObserver progress("following outliers", last + 1, inputs, true);
  times += run::forward(model, inputs, {&parts, &progress}, run_options);
  size_t target = 0;
  for (results::PromptLife& life : all.prompts) {
    if (life.choice("token")) complete(life, parts.found(target++));
  }
  all.constancy = parts.constancy();
  for (auto& array : parts.take_arrays()) arrays.push_back(std::move(array));
}

}  // namespace outliers::studies
