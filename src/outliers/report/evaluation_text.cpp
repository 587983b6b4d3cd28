#include "outliers/report/evaluation_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/table.h"
#include "outliers/report/format.h"
#include "outliers/report/numbers.h"

namespace outliers::report {
namespace {

std::string corpora_words(const std::vector<std::string>& corpora) {
  constexpr size_t few = 3;
  std::string words = fmt::format(
      "{}", fmt::join(corpora.begin(),
                      corpora.begin() + static_cast<std::ptrdiff_t>(std::min(few, corpora.size())), ", "));
  if (corpora.size() > few) words += fmt::format(" and {} more", corpora.size() - few);
  return words;
}

std::string bos_words(const results::EvaluationText& text) {
  if (text.bos_ids.empty()) return fmt::format("BOS {}, none is there", text.bos);
  return fmt::format("BOS {}, {} {} in front of {}", text.bos, text.bos_ids.size() == 1 ? "id" : "ids",
                     fmt::join(text.bos_ids, ", "), text.bos == "every" ? "each window" : "the text");
}

}  // namespace

std::string evaluated_text(const results::Model& model, const results::EvaluationRun& run,
                           const results::EvaluationText& text, size_t width) {
  return labelled("scored",
                  fmt::format("{} tokens, {} bytes, in {} window{} of {} tokens, {} apart; {}",
                              count(text.tokens_scored), count(text.bytes_scored), count(text.windows),
                              text.windows == 1 ? "" : "s", count(text.context), count(text.stride),
                              bos_words(text)),
                  width) +
         labelled("of", corpora_words(text.corpora), width) +
         labelled("model",
                  fmt::format("{} ({}, {}), {} on {}", model.name, model.family, model.format, run.dtype,
                              run.device),
                  width);
}

std::string perplexity_text(const results::Perplexity& p, size_t width) {
  std::string values = fmt::format("{:.4f}; nll {:.5f} nats a token", p.ppl, p.nll_nats);
  if (p.nll_standard_error) values += fmt::format(", standard error {:.5f}", *p.nll_standard_error);
  if (p.bits_per_byte) values += fmt::format("; {:.5f} bits a byte", *p.bits_per_byte);
  return labelled("perplexity", values, width) + evaluated_text(p.model, p.run, p.text, width);
}

}  // namespace outliers::report
