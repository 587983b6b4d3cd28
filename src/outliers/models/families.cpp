#include "outliers/models/families.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "outliers/core/error.h"

namespace outliers::models {

// A row a family, in the order in which messages list them; families/NAME.cpp has it.
#define OUTLIERS_FAMILIES(row)                                                                             \
  row(llama) row(mistral) row(qwen2) row(qwen3) row(gemma) row(gemma2) row(gemma3) row(gpt2) row(gpt_neox) \
      row(opt) row(phi) row(phi3) row(falcon) row(mpt) row(olmo) row(olmo2) row(stablelm) row(smollm3)     \
          row(mixtral) row(qwen2_moe) row(qwen3_moe) row(gpt_oss) row(vit) row(vit_mae) row(dinov2)        \
              row(dinov2_with_registers) row(clip_vision)

#define OUTLIERS_DECLARE(name) Family name##_family();
OUTLIERS_FAMILIES(OUTLIERS_DECLARE)

const std::vector<Family>& families() {
#define OUTLIERS_ROW(name) name##_family(),
  static const std::vector<Family> rows = {OUTLIERS_FAMILIES(OUTLIERS_ROW)};
  return rows;
}

namespace {

/// The family that has `name` in its list `names`, the one of experts or not where both do; an Error names
/// the lists of all.
const Family& find_family(std::vector<std::string> Family::*names, const std::string& name, bool mixture,
                          const std::string& where, const char* what) {
  std::vector<std::string> known;
  const Family* found = nullptr;
  for (const Family& family : families()) {
    for (const std::string& candidate : family.*names) {
      if (candidate == name && (found == nullptr || family.mixture == mixture)) found = &family;
      if (std::find(known.begin(), known.end(), candidate) == known.end()) known.push_back(candidate);
    }
  }
  if (found != nullptr) return *found;
  fail(Cause{ErrorKind::unsupported}, "{}: {} '{}' is no family this program knows; known: {}", where, what,
       printable(name), fmt::join(known, ", "));
}

}  // namespace

const Family& family_of_model_type(const std::string& model_type, const std::string& where) {
  return find_family(&Family::model_types, model_type, false, where, "model_type");
}

const Family& family_of_gguf(const std::string& architecture, bool mixture, const std::string& where) {
  return find_family(&Family::gguf_architectures, architecture, mixture, where, "general.architecture");
}

}  // namespace outliers::models
