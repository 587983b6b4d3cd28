// The arrays inside the page: small enough to send around, and the numbers that are read from them are those
// of arrays.npz.
//
// Activations are float32, so that the page shows no other number than the results do. Where all channels
// would be too much, neighbours share a bucket that keeps its largest value and where it stands, so no peak
// is lost. Attention probabilities are 16-bit fractions, lower triangles only.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "outliers/report/results.h"

namespace outliers::report {

struct PageArrays {
  nlohmann::ordered_json index;  ///< name -> shape, byte offsets, buckets; docs/page.md
  std::string bytes;
};

/// How many of a prompt's tokens the page shows at most.
int64_t page_tokens(const results::Results& r);

/// Of each prompt what was measured, in names as "prompt.resid_out", and the weights' columns. `tokens`: of a
/// prompt at most so many.
PageArrays page_arrays(const Results& results, int64_t tokens);

/// zlib (RFC 1950), then base64 (RFC 4648).
std::string packed(const std::string& bytes);

}  // namespace outliers::report
