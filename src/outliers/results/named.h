// A short list of values by name, in the order in which they came: what an object of results.json is.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outliers::results {

template <typename T>
class Named {
 public:
  using value_type = std::pair<std::string, T>;

  /// nullptr where there is none of the name.
  const T* find(std::string_view name) const {
    for (const value_type& entry : entries_) {
      if (entry.first == name) return &entry.second;
    }
    return nullptr;
  }
  T* find(std::string_view name) { return const_cast<T*>(std::as_const(*this).find(name)); }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// Made where it is not there.
  T& operator[](std::string_view name) {
    if (T* found = find(name)) return *found;
    return entries_.emplace_back(name, T()).second;
  }

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }

 private:
  std::vector<value_type> entries_;
};

}  // namespace outliers::results
