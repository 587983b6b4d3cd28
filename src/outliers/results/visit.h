// What the visitors of the table of fields share.
#pragma once

#include <concepts>
#include <type_traits>

#include "outliers/results/fields.h"
#include "outliers/results/fields_evaluation.h"

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

/// Whether an object may lack the field: an optional that is not null then, a list, object or text that is
/// empty then, or a number that older files do not have.
template <typename T>
constexpr bool may_be_left_out(const Field& field) {
  if constexpr (is_optional<T>) return !field.null;
  return (is_list<T> || is_named<T> || std::is_same_v<T, std::string> ||
          std::is_arithmetic_v<T>)&&field.sparse;
}

/// What a field says of the values of an object by names: one that is empty is null, or its name would be
/// lost.
template <typename T>
requires is_named<T>
constexpr Field of_named(const Field& field) {
  return is_optional<typename T::value_type::second_type> ? field.or_null() : field;
}

}  // namespace outliers::results
