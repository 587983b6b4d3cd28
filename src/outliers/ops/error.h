// An operation is given values, not files: what it refuses is an argument, where nothing else is said.
#pragma once

#include "outliers/core/error.h"

namespace outliers::ops {

using argument::fail;
using argument::require;

}  // namespace outliers::ops
