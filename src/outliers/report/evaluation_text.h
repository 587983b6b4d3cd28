// What an evaluation on text found, in words.
#pragma once

#include <cstddef>
#include <string>

#include "outliers/results/perplexity.h"

namespace outliers::report {

/// A labelled list, folded to `width` columns (0: not).
std::string perplexity_text(const results::Perplexity& perplexity, size_t width);

}  // namespace outliers::report
