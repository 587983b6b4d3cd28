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

std::string perplexity_text(const results::Perplexity& p, size_t width) {
  const results::EvaluationText& text = p.text;
  std::string values = fmt::format("{:.4f}; nll {:.5f} nats a token", p.ppl, p.nll_nats);
  if (p.nll_standard_error) values += fmt::format(", standard error {:.5f}", *p.nll_standard_error);
  if (p.bits_per_byte) values += fmt::format("; {:.5f} bits a byte", *p.bits_per_byte);
  std::string list = labelled("perplexity", values, width);
  list += labelled(
      "scored",
      fmt::format("{} tokens, {} bytes, in {} window{} of {} tokens, {} apart; {}", count(text.tokens_scored),
                  count(text.bytes_scored), count(text.windows), text.windows == 1 ? "" : "s",
                  count(text.context), count(text.stride), bos_words(text)),
      width);
  list += labelled("of", corpora_words(text.corpora), width);
  list += labelled("model",
                   fmt::format("{} ({}, {}), {} on {}", p.model.name, p.model.family, p.model.format,
                               p.run.dtype, p.run.device),
                   width);
  return list;
}

}  // namespace outliers::report
