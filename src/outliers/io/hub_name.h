// What the Hub allows in names.
#pragma once

#include <string>

namespace outliers::io {

/// ORG/NAME, or NAME alone.
bool is_repository(const std::string& text);

/// What git allows in a name, as far as it matters for a path and an address.
bool is_revision(const std::string& text);

}  // namespace outliers::io
