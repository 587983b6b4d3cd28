#include "docs.h"

#include <regex>
#include <set>
#include <sstream>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/results/field.h"
#include "outliers/results/json.h"

namespace outliers::tests {
namespace {

using namespace results;

const std::regex kFields("<!-- fields(?: (.*))? -->");
constexpr const char* kArrays = "<!-- arrays -->";
constexpr const char* kEnd = "<!-- end -->";

std::string cell(std::string text) {
  for (size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

std::string row(const std::vector<std::string>& cells) {
  return fmt::format("| {} |\n", fmt::join(cells, " | "));
}

/// Header and rows, without columns in which no row has anything.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> kept;
  for (size_t c = 0; c < header.size(); ++c) {
    if (std::any_of(rows.begin(), rows.end(), [&](const auto& cells) { return !cells[c].empty(); }))
      kept.push_back(c);
  }
  const auto pick = [&](const std::vector<std::string>& cells) {
    std::vector<std::string> picked;
    for (const size_t c : kept) picked.push_back(cell(cells[c]));
    return row(picked);
  };
  std::string text = pick(header) + "|";
  for (size_t c = 0; c < kept.size(); ++c) text += "---|";
  text += "\n";
  for (const auto& cells : rows) text += pick(cells);
  return text;
}

bool is_below(const std::string& path, const std::string& prefix) {
  return prefix.empty() || (path.size() > prefix.size() && path.starts_with(prefix) &&
                            (path[prefix.size()] == '.' || path[prefix.size()] == '['));
}

/// "[].a.b", ".*.a.b" and ".a.b" as "a.b".
std::string relative(std::string path) {
  for (const std::string_view begin : {"[]", ".*", "."}) {
    if (path.starts_with(begin)) path.erase(0, begin.size());
  }
  return path;
}

std::string fields_table(File file, const std::string& prefix, const std::set<std::string>& prefixes) {
  std::vector<std::vector<std::string>> rows;
  for (const Documented& entry : documented(file)) {
    if (!is_below(entry.path, prefix)) continue;
    const bool elsewhere = std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& other) {
      return other.size() > prefix.size() && is_below(entry.path, other);
    });
    if (elsewhere) continue;
    rows.push_back({fmt::format("`{}`", relative(entry.path.substr(prefix.size()))),
                    entry.type + (entry.optional ? ", optional" : ""), filled(entry.what, Criteria()),
                    entry.source});
  }
  require(!rows.empty(), "docs: there are no fields below {}", prefix);
  return table({"field", "type", "what it is", "source"}, rows);
}

std::string arrays_table() {
  const auto name = [](const ArrayField& array) {
    return array.of == ArrayField::Of::model ? fmt::format("`{}`", array.name)
                                             : fmt::format("`INPUT.{}`", array.name);
  };
  const auto of = [](ArrayField::Of which) {
    switch (which) {
      case ArrayField::Of::input:
        return "every input";
      case ArrayField::Of::prompt:
        return "prompts";
      case ArrayField::Of::prompt_with_maps:
        return "prompts with `attention_maps`";
      case ArrayField::Of::prompt_born:
        return "prompts with `emergence`";
      case ArrayField::Of::prompt_removed:
        return "prompts with `disappearance`";
      case ArrayField::Of::prompt_spread:
        return "prompts with a chosen `spread`";
      case ArrayField::Of::images:
        return "inputs of images";
      case ArrayField::Of::corpus:
        return "corpora";
      case ArrayField::Of::model:
        return "the model";
    }
    return "";
  };
  std::vector<std::vector<std::string>> rows;
  for (const ArrayField& array : array_table()) {
    std::string shape = array.shape;
    for (size_t at = shape.find(' '); at != std::string::npos; at = shape.find(' ', at + 2))
      shape.replace(at, 1, ", ");
    rows.push_back({name(array), fmt::format("[{}]", shape), of(array.of), array.what, array.measure});
  }
  return table({"name", "shape", "of", "what it is", "measure"}, rows);
}

}  // namespace

std::string with_tables(const std::string& markdown, File file) {
  std::set<std::string> prefixes;
  for (auto found = std::sregex_iterator(markdown.begin(), markdown.end(), kFields);
       found != std::sregex_iterator(); ++found) {
    require(prefixes.insert((*found)[1]).second, "docs: two tables of {}", (*found)[1].str());
  }
  for (const Documented& entry : documented(file)) {
    const bool there = std::any_of(prefixes.begin(), prefixes.end(),
                                   [&](const std::string& prefix) { return is_below(entry.path, prefix); });
    require(there, "docs: no table has {}", entry.path);
  }

  std::istringstream lines(markdown);
  std::string text, line;
  bool inside = false;
  while (std::getline(lines, line)) {
    std::smatch found;
    const bool begins = line == kArrays || std::regex_match(line, found, kFields);
    require(!(begins && inside), "docs: no {} before {}", kEnd, line);
    if (line == kEnd) {
      require(inside, "docs: {} without a beginning", kEnd);
      inside = false;
    }
    if (!inside) text += line + "\n";
    if (!begins) continue;
    inside = true;
    text += line == kArrays ? arrays_table() : fields_table(file, found[1], prefixes);
  }
  require(!inside, "docs: the last table has no {}", kEnd);
  return text;
}

}  // namespace outliers::tests
