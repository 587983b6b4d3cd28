// What the visitors of the table of fields share.
#pragma once

#include <concepts>
#include <type_traits>

#include "outliers/results/fields.h"

namespace outliers::results {

struct IgnoreFields {
  template <typename T>
  void operator()(const Field&, T&) {}
};

/// A type with a table of fields.
template <typename T>
concept HasFields = requires(IgnoreFields v, T x) {
  fields(v, x);
};

template <typename T>
inline constexpr bool is_list = false;
template <typename T>
inline constexpr bool is_list<std::vector<T>> = true;
template <typename T>
inline constexpr bool is_optional = false;
template <typename T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <typename T>
inline constexpr bool is_named = false;
template <typename T>
inline constexpr bool is_named<Named<T>> = true;

}  // namespace outliers::results
