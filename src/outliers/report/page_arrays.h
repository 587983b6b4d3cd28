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
  nlohmann::ordered_json index;  ///< name -> shape, byte offsets, scales; docs/page.md
  std::string bytes;
};

/// `tokens`: how many of the prompt's tokens the page shows.
PageArrays page_arrays(const Results& results, int64_t tokens);

/// zlib (RFC 1950), then base64 (RFC 4648).
std::string packed(const std::string& bytes);

}  // namespace outliers::report
