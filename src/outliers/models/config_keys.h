// Which keys of config.json a family's class of transformers reads, by which name, and which name goes first.
// What it does not read is passed over like there, and the user is told.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "outliers/models/families.h"

namespace outliers::models {

class Fields;

/// The names under which `family` reads `key`, the one that goes first first; empty: it is not read.
std::vector<std::string_view> names_read(const Family& family, std::string_view key);

/// Tells of what `object` says and the class does not read, unless it says what holds anyway: in one warning
/// the keys of other families, in one each those that are another spelling of a key that is read and differs.
/// `fields` reads `object`; `config` is what was made of it.
void warn_of_keys(const nlohmann::json& object, const Fields& fields, const Family& family,
                  const Config& config);
/// The same of what stands around that object, which is called `inner`: transformers looks for none of it
/// there.
void warn_of_outer_keys(const nlohmann::json& outer, const Fields& fields, const char* inner);

/// Says that `keys` are ignored, since the family's class does not read them; nothing for an empty list.
void warn_of_unread(const std::string& where, std::string_view family, const std::vector<std::string>& keys);
/// Says that `second` is ignored, since it says something else than `first`, which goes before it.
void warn_of_precedence(const std::string& where, std::string_view first, std::string_view second);

}  // namespace outliers::models
