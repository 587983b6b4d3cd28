// The public face of the library: docs/library.md.
#pragma once

#include "outliers/api/model.h"
#include "outliers/api/session.h"
#include "outliers/core/exception.h"
#include "outliers/core/progress.h"
#include "outliers/core/version.h"
#include "outliers/io/checkpoint.h"
#include "outliers/ops/attention.h"
#include "outliers/run/observer.h"
#include "outliers/run/points.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/attention.h"
#include "outliers/stats/weights.h"
#include "outliers/text/tokenizer.h"
