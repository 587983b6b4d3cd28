// Reading the gzip-compressed JSON lines that tests/oracle/text_tokenizers.py writes.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <zlib.h>

#include "support.h"

namespace outliers::text {

inline std::string read_golden(const std::string& name) {
  const std::string path = tests::golden("text/" + name).string();
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

}  // namespace outliers::text
