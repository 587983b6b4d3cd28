// Which class AutoTokenizer of transformers 5.23 takes for a model's type, and which classes it knows by name
// (models/auto/tokenization_auto.py). The oracle of tests/text/beside_test.cpp holds the lists against it.
#pragma once

#include <optional>
#include <string_view>

namespace outliers::text {

struct ModelTypeClass {
  std::string_view name;  ///< "": the generic class, which has no pipeline of its own
  bool wins = false;      ///< over the class that files name, which is known to be wrong on the Hub
};

/// Of config.json's model_type; nothing where transformers has none for it.
std::optional<ModelTypeClass> class_of_model_type(std::string_view model_type);

/// Whether transformers knows a class (without "Fast") that has a pipeline of its own, and that is built here
/// from some files at most.
bool is_foreign_class(std::string_view name);

}  // namespace outliers::text
