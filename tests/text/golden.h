// Reading the gzip-compressed JSON lines that the scripts tests/oracle/text_*.py write.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/text/regex.h"
#include "outliers/text/tokenizer.h"

#include "support.h"

namespace outliers::text {

/// A file of tests/golden/text, or of an absolute path.
inline std::string read_golden(const std::string& name) {
  const std::string path = (tests::golden("text") / name).string();
  gzFile file = gzopen(path.c_str(), "rb");  // reads plain files as they are
  if (!file) throw std::runtime_error("no golden " + path);
  std::string text;
  char buffer[1 << 16];
  for (int got; (got = gzread(file, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  gzclose(file);
  return text;
}

inline std::vector<nlohmann::json> read_golden_lines(const std::string& name) {
  std::istringstream lines(read_golden(name));
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

/// The bytes that a golden stores as the code points U+0000 to U+00FF.
inline std::string bytes_of(const std::string& latin1) {
  std::string bytes;
  for (size_t i = 0; i < latin1.size(); ++i) {
    const auto lead = static_cast<unsigned char>(latin1[i]);
    bytes += lead < 0x80 ? latin1[i] : static_cast<char>((lead & 3) << 6 | (latin1[++i] & 0x3f));
  }
  return bytes;
}

/// The strings of real_models.jsonl.gz, invalid UTF-8 among them.
inline std::vector<std::string> golden_strings() {
  std::vector<std::string> out;
  for (const nlohmann::json& row : read_golden_lines("real_models.jsonl.gz"))
    out.push_back(bytes_of(row["bytes"].get<std::string>()));
  return out;
}

/// FNV-1a of 32 bits over the ids as little-endian int32, folded to 16, as the oracle's scripts write it.
inline std::string hash_ids(const std::vector<int32_t>& ids) {
  uint32_t hash = 0x811c9dc5;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (static_cast<uint32_t>(id) >> shift & 0xff)) * 0x01000193;
  }
  return fmt::format("{:04x}", (hash ^ hash >> 16) & 0xffff);
}

/// Compares a tokenizer's ids of golden_strings() with a golden of whole rows and hashes; returns how many
/// strings were compared, which are those without a match of `except`. Stops at the first few that differ.
inline int compare_ids(const Tokenizer& tokenizer, BosPolicy bos, const std::string& golden,
                       const Regex* except = nullptr) {
  static const std::vector<std::string> strings = golden_strings();
  const nlohmann::json expected = nlohmann::json::parse(read_golden(golden));
  EXPECT_EQ(expected["hashes"].size(), strings.size());
  int compared = 0, wrong = 0;
  for (size_t i = 0; i < strings.size() && wrong < 3; ++i) {
    const auto hash = expected["hashes"][i].get<std::string>();
    if (hash == "-" || (except && except->find(replace_invalid_utf8(strings[i]), 0))) continue;
    const std::vector<int32_t> ids = tokenizer.encode(strings[i], bos);
    ++compared;
    if (hash_ids(ids) == hash) continue;
    ++wrong;
    ADD_FAILURE() << golden << ", string " << i << ": " << printable(strings[i], 400) << "\n  ids "
                  << fmt::format("{}", fmt::join(ids, " ")) << "\n  not "
                  << (i < expected["ids"].size() ? expected["ids"][i].dump() : "those of hash " + hash);
  }
  return compared;
}

}  // namespace outliers::text
