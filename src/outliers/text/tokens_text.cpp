#include "outliers/text/tokens_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/table.h"

namespace outliers::text {

std::string tokens_text(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, size_t width) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < ids.size(); ++i) {
    rows.push_back({fmt::format("{}", i), fmt::format("{}", ids[i]), printable(tokenizer.piece(ids[i])),
                    fmt::format("\"{}\"", tokenizer.display(ids[i]))});
  }
  return table({"token", "id", "piece", "text"}, rows, width);
}

std::string tokens_json(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  using nlohmann::ordered_json;
  ordered_json result = {{"ids", ids}, {"pieces", ordered_json::array()}, {"tokens", ordered_json::array()}};
  for (const int32_t id : ids) {
    result["pieces"].push_back(tokenizer.piece(id));
    result["tokens"].push_back(tokenizer.display(id));
  }
  return result.dump(1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace outliers::text
