#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/core/table.h"
#include "outliers/report/evaluation_text.h"
#include "outliers/report/format.h"
#include "outliers/report/interventions.h"

namespace outliers::report {
namespace {

/// What the table has of a run, or of several in the mean.
struct Numbers {
  double nll = 0, ppl = 0, difference = 0, kl = 0, top1 = 0, max = 0, ratio = 0, sink_rate = 0;
  std::optional<double> error;
};

Numbers numbers_of(const results::InterventionRun& run) {
  Numbers n;
  n.nll = run.nll_nats;
  n.ppl = run.ppl;
  n.sink_rate = run.sink_rate;
  for (const results::LayerState& layer : run.layers) {
    if (layer.max <= n.max) continue;
    n.max = layer.max;
    n.ratio = layer.max_over_median.value_or(0);
  }
  if (!run.effect) return n;
  n.difference = run.effect->nll_difference;
  n.error = run.effect->nll_difference_standard_error;
  n.kl = run.effect->kl_nats;
  n.top1 = run.effect->top1_agreement;
  return n;
}

Numbers mean_of(const std::vector<Numbers>& all) {
  Numbers mean;
  for (double Numbers::*member : {&Numbers::nll, &Numbers::ppl, &Numbers::difference, &Numbers::kl,
                                  &Numbers::top1, &Numbers::max, &Numbers::ratio, &Numbers::sink_rate}) {
    for (const Numbers& one : all) mean.*member += one.*member / static_cast<double>(all.size());
  }
  return mean;
}

std::vector<std::string> row(const std::string& name, const Numbers& n, bool is_plain, bool has_layers) {
  const auto only = [](bool shown, const std::string& text) { return shown ? text : ""; };
  constexpr double shown = 5e-6;  // less would be a signed zero
  const std::string difference = n.difference == 0                ? "0"
                                 : std::abs(n.difference) < shown ? fmt::format("{:+.0e}", n.difference)
                                                                  : fmt::format("{:+.5f}", n.difference);
  const std::string error = n.error && n.difference != 0 ? fmt::format(" ± {:.5f}", *n.error) : "";
  return {name,
          fmt::format("{:.5f}", n.nll),
          n.ppl < 1e6 ? fmt::format("{:.4f}", n.ppl) : fmt::format("{:.3e}", n.ppl),
          only(!is_plain, difference + error),
          only(!is_plain, fmt::format("{:.3g}", n.kl)),
          only(!is_plain, percent(n.top1)),
          only(has_layers, number(n.max)),
          only(has_layers, number(n.ratio)),
          percent(n.sink_rate)};
}

std::string matched_words(const results::InterventionRun& run) {
  int64_t smallest = 0, largest = 0, total = 0;
  for (const results::EditMatch& match : run.matched) {
    smallest += match.smallest;
    largest += match.largest;
    total += match.total;
  }
  const bool one_number = smallest == largest;
  return fmt::format("{}; changes {} value{}, {}{} a window", run.edits, count(total), total == 1 ? "" : "s",
                     count(smallest), one_number ? "" : fmt::format(" to {}", count(largest)));
}

}  // namespace

std::string interventions_sentence(const results::Interventions& r) {
  const results::InterventionRun& plain = r.runs.front();
  const auto ppl = [](const results::InterventionRun& run) {
    return std::isfinite(run.ppl)        ? number(run.ppl)
           : std::isfinite(run.nll_nats) ? fmt::format("10^{:.0f}", run.nll_nats / std::numbers::ln10)
                                         : "not finite";
  };
  std::string text = fmt::format("Perplexity is {} over {} tokens", ppl(plain), count(r.text.tokens_scored));
  const results::InterventionRun* most = nullptr;
  for (const results::InterventionRun& run : r.runs) {
    if (!run.effect || run.control_of || std::isnan(run.nll_nats)) continue;
    if (most == nullptr || run.nll_nats > most->nll_nats) most = &run;
  }
  if (most == nullptr) return text + ".";
  text += fmt::format(". {} makes it {}", shorten(printable(most->edits, std::string::npos), 80), ppl(*most));
  double largest = -INFINITY;
  int64_t controls = 0;
  for (const results::InterventionRun& run : r.runs) {
    if (run.control_of != most->name) continue;
    ++controls;
    if (std::isfinite(run.ppl)) largest = std::max(largest, run.ppl);
  }
  if (std::isfinite(largest))
    text += fmt::format("; {} random edit{} of as many values at most {}", controls, controls == 1 ? "" : "s",
                        number(largest));
  return text + ".";
}

std::string interventions_text(const results::Interventions& r, size_t table_width, size_t width) {
  std::vector<std::vector<std::string>> rows;
  std::string list;
  for (size_t i = 0; i < r.runs.size(); ++i) {
    const results::InterventionRun& run = r.runs[i];
    if (run.control_of) continue;
    rows.push_back(row(run.name, numbers_of(run), i == 0, !run.layers.empty()));
    if (i > 0) list += labelled(run.name, matched_words(run), width);
    std::vector<Numbers> controls;
    for (const results::InterventionRun& other : r.runs)
      if (other.control_of == run.name) controls.push_back(numbers_of(other));
    if (controls.empty()) continue;
    rows.push_back(
        row(fmt::format("{} random", controls.size()), mean_of(controls), false, !run.layers.empty()));
  }
  return table({"run", "nll", "ppl", "difference", "KL", "top-1", "max", "max/median", "sinks"}, rows,
               table_width) +
         "\n" + list + evaluated_text(r.model, r.run, r.text, width);
}

}  // namespace outliers::report
