// What the shared library shows; all else in it is hidden.
#pragma once

#define OUTLIERS_API __attribute__((visibility("default")))
