#include "outliers/report/super_weights_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "outliers/report/numbers.h"
#include "outliers/report/words.h"

namespace outliers::report {
namespace {

/// Named on the line; the page has all.
constexpr size_t kNamed = 4;

std::string place(const results::SuperWeight& w) {
  return fmt::format("layer {} {}down[{}, {}]", w.layer, of_expert(w.expert), w.row, w.column);
}

std::string found_text(const results::Results& r) {
  const results::SuperWeights& s = *r.super_weights;
  const std::string left = fmt::format("{} in layer {}", number(std::abs(s.left.down_out)), s.left.layer);
  if (s.found.empty())
    return fmt::format("none: no down projection gives more than {}, at most {}",
                       limit(r.criteria.super_weight_spike), left);
  std::string text;
  for (size_t i = 0; i < std::min(kNamed, s.found.size()); ++i) {
    const results::SuperWeight& w = s.found[i];
    text += fmt::format("{}{} = {} (reads {}, the row gives {})", i == 0 ? "" : "; ", place(w),
                        number(w.value), number(w.down_in), number(w.down_out));
  }
  if (s.found.size() > kNamed) text += fmt::format("; {} more", s.found.size() - kNamed);
  return fmt::format("{}; without {} the largest output of a down projection is {}", text,
                     s.found.size() == 1 ? "it" : "them", left);
}

/// "x 15.2", "x 10^6.1": the factor of the perplexity.
std::string factor(double log10_ratio) {
  if (!std::isfinite(log10_ratio)) return "not finite";
  return log10_ratio < 4 ? "x " + number(std::pow(10, log10_ratio)) : fmt::format("x 10^{:.1f}", log10_ratio);
}

std::string damage_text(const results::Damage& damage) {
  std::vector<double> random;
  for (const results::RandomWeight& one : damage.controls) random.push_back(one.log10_ppl_ratio);
  std::string text = factor(damage.log10_ppl_ratio);
  if (random.empty() || !std::all_of(random.begin(), random.end(), [](double x) { return std::isfinite(x); }))
    return text;
  return fmt::format("{} ({} random ones at most {})", text, random.size(),
                     factor(*std::max_element(random.begin(), random.end())));
}

std::string lost_text(const results::Results& r) {
  const results::Criticality& c = *r.criticality;
  const std::vector<results::SuperWeight>& found = r.super_weights->found;
  std::string text = fmt::format("perplexity of {} {}; ", input_words(r, c.input), number(c.ppl));
  if (c.together) {
    size_t worst = 0;
    for (size_t i = 1; i < c.weights.size(); ++i)
      if (c.weights[i].log10_ppl_ratio > c.weights[worst].log10_ppl_ratio) worst = i;
    return text + fmt::format("without all {} super weights {}; of one alone at most, without {}, {}",
                              found.size(), damage_text(*c.together), place(found[worst]),
                              damage_text(c.weights[worst]));
  }
  return text + "without the super weight " + damage_text(c.weights.front());
}

}  // namespace

std::vector<SummaryLine> super_weight_lines(const results::Results& r) {
  std::vector<SummaryLine> lines;
  if (r.super_weights) lines.push_back({"super", found_text(r)});
  if (r.criticality) lines.push_back({"without", lost_text(r)});
  return lines;
}

}  // namespace outliers::report
