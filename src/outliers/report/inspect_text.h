// `outliers inspect` for people.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace outliers::report {

/// From studies::inspect()'s object: what the checkpoint is, its tokenizer, and its tensor table. Parts that
/// are missing (a checkpoint of no known family has only encodings and tensors) are left out. Text and table
/// are folded to `width` columns (0: any number).
std::string inspect_text(const nlohmann::ordered_json& description, size_t width);

}  // namespace outliers::report
