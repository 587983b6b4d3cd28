// Every key of a JSON object, and of the objects in it, set to null and to values of other types, and
// removed.
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"

namespace outliers::tests {

template <typename Visit>
void for_each_mutation(const nlohmann::json& whole, const Visit& visit,
                       const nlohmann::json::json_pointer& at = nlohmann::json::json_pointer()) {
  using nlohmann::json;
  static const json values[] = {nullptr, true, -1, 1e300, "x", json::array(), json::object(), {nullptr, "x"}};
  const json members = whole[at];
  for (const auto& [key, old] : members.items()) {
    json changed = whole;
    for (const json& value : values) {
      changed[at][key] = value;
      visit(changed);
    }
    changed[at].erase(key);
    visit(changed);
    if (old.is_object()) for_each_mutation(whole, visit, at / key);
  }
}

/// How many mutations were read, and how many refused: by one line that holds `name`.
struct Mutations {
  size_t read = 0, refused = 0;

  template <typename Read>
  void count(const nlohmann::json& whole, const std::string& name, const Read& read_one) {
    for_each_mutation(whole, [&](const nlohmann::json& changed) {
      try {
        read_one(changed);
        ++read;
      } catch (const Error& error) {
        const std::string message = error.what();
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
        EXPECT_NE(message.find(name), std::string::npos) << message << changed;
        ++refused;
      }
    });
  }
};

}  // namespace outliers::tests
