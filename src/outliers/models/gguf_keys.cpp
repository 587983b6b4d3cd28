#include "outliers/models/gguf_keys.h"

#include "outliers/core/error.h"

namespace outliers::models {

int64_t Keys::integer(const char* key) const {
  const std::optional<int64_t> value = maybe_integer(key);
  require(value.has_value(), "{}: the metadata lacks '{}'", where_, name(key));
  return *value;
}

}  // namespace outliers::models
