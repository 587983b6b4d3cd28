// What counts and places of results are held against, and what is said where they do not fit.
#pragma once

#include <string>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/results/results.h"

namespace outliers::results {

class ConsistencyRules {
 public:
  ConsistencyRules(const Results& results, const std::string& file)
      : r_(results), m_(results.model), file_(file) {}

 protected:
  template <typename... Args>
  void require(bool holds, fmt::format_string<Args...> format, Args&&... args) const {
    if (!holds) fail("{}: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }
  void count(size_t entries, int64_t wanted, const std::string& path, const std::string& as) const {
    require(static_cast<int64_t>(entries) == wanted, "{} has {} entries, but {} says {}", path, entries, as,
            wanted);
  }
  void below(int64_t value, int64_t limit, const std::string& path) const {
    require(value < limit, "{} is {}, but there are only {}", path, value, limit);
  }
  void below(const std::optional<int64_t>& value, int64_t limit, const std::string& path) const {
    if (value) below(*value, limit, path);
  }
  void expert(const std::optional<Expert>& x, const std::string& path) const {
    if (!x) return;
    require(m_.experts.has_value(), "{} stands where the model has no experts", path);
    if (!x->is_shared()) below(x->number, m_.experts->count, path);
  }
  static std::string at(const std::string& path, size_t i) { return fmt::format("{}[{}]", path, i); }

  const Results& r_;
  const Model& m_;
  const std::string& file_;
};

/// Throws where what is of features (features.h) does not fit.
void check_features(const Results& results, const std::string& file);
/// Throws where super weights name what is not there.
void check_super_weights(const Results& results, const std::string& file);

}  // namespace outliers::results
