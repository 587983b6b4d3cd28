// Rotaries as config.json states them: in the style of transformers 4 (rope_theta, rope_scaling) and of 5
// (rope_parameters, by kind of layer where a family has two rotaries), or in both at once.
#pragma once

#include "outliers/models/config.h"
#include "outliers/models/families.h"
#include "outliers/models/hugging_face_fields.h"

namespace outliers::models {

/// The rotary of layers without a window (global) and with one (local). Where something is said twice, what
/// transformers 5.23 takes goes first, and a warning names the other.
void read_rotaries(const Family& family, const Fields& fields, int64_t head_width, Rotary& global,
                   Rotary& local);

}  // namespace outliers::models
