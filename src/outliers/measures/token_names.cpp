#include "outliers/measures/token_names.h"

#include <fmt/format.h>

#include "outliers/text/token_class.h"

namespace outliers::measures {

TokenNames::Name TokenNames::name(const at::Tensor& ids, int64_t sequence, int64_t token) const {
  const int64_t id = ids.accessor<int64_t, 2>()[sequence][token];
  return {text(id), kind(id, token)};
}

std::string TextNames::text(int64_t id) const {
  return tokenizer_.display(static_cast<int32_t>(id));
}

const char* TextNames::kind(int64_t id, int64_t position) const {
  return token_class_name(token_class(tokenizer_, static_cast<int32_t>(id), position));
}

std::string PatchNames::text(int64_t id) const {
  if (id == 0) return "[CLS]";
  if (!is_patch(id)) return fmt::format("[REG{}]", id - 1);
  const int64_t patch = id - registers_ - 1;
  return fmt::format("r{}c{}", patch / columns_, patch % columns_);
}

const char* PatchNames::kind(int64_t id, int64_t) const {
  return kImageClasses[id == 0 ? 0 : is_patch(id) ? 2 : 1];
}

}  // namespace outliers::measures
