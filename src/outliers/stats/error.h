// A statistic is given values, not files: what it refuses is an argument, where nothing else is said.
#pragma once

#include "outliers/core/error.h"

namespace outliers::stats {

using argument::fail;
using argument::require;

}  // namespace outliers::stats
