#include "outliers/io/shard_name.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "outliers/core/error.h"

namespace outliers::io {
namespace {

constexpr size_t kMostDigits = 9;
constexpr int64_t kMostShards = 99999;

/// The number at the end of `text`, which is cut off; its digits, or 0 where there is none.
size_t take_number(std::string_view& text, int64_t& number) {
  const size_t before = text.find_last_not_of("0123456789");
  const size_t begin = before == std::string_view::npos ? 0 : before + 1, digits = text.size() - begin;
  if (digits == 0 || digits > kMostDigits) return 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), number);
  text = text.substr(0, begin);
  return digits;
}

}  // namespace

std::string ShardName::of(int64_t other) const {
  return fmt::format("{}-{:0{}}-of-{:0{}}{}", stem, other, digits, count, digits, extension);
}

std::optional<ShardName> parse_shard_name(const std::string& file) {
  constexpr std::string_view kOf = "-of-";
  ShardName name;
  name.extension = std::filesystem::path(file).extension().string();
  std::string_view rest = std::string_view(file).substr(0, file.size() - name.extension.size());
  name.digits = take_number(rest, name.count);
  if (name.digits == 0 || !rest.ends_with(kOf)) return std::nullopt;
  rest.remove_suffix(kOf.size());
  if (take_number(rest, name.number) != name.digits || !rest.ends_with('-')) return std::nullopt;
  rest.remove_suffix(1);
  name.stem = rest;
  const bool counted = name.number >= 1 && name.number <= name.count && name.count <= kMostShards;
  return counted && !name.stem.empty() ? std::optional(name) : std::nullopt;
}

bool ShardSeries::has(const std::string& file) const {
  return std::find(files.begin(), files.end(), file) != files.end();
}

std::vector<ShardSeries> shard_series(const std::vector<std::string>& names, std::string_view extension) {
  const std::set<std::string> there(names.begin(), names.end());
  std::map<std::string, ShardName> firsts;
  for (const std::string& name : names) {
    // Shards of one checkpoint lie in one folder, which stays part of the stem.
    const auto shard = parse_shard_name(name);
    if (shard && shard->extension == extension) firsts.emplace(shard->of(1), *shard);
  }
  std::vector<ShardSeries> all;
  for (const auto& [first, shard] : firsts) {
    ShardSeries series{first, {}, {}};
    for (int64_t i = 1; i <= shard.count; ++i) {
      series.files.push_back(shard.of(i));
      if (there.count(series.files.back()) == 0) series.missing.push_back(series.files.back());
    }
    all.push_back(std::move(series));
  }
  return all;
}

std::string names_in_words(const std::vector<std::string>& names) {
  constexpr size_t kMost = 6;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    const bool last = i + 1 == names.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + printable(names[i]);
  }
  return text + (names.size() > kMost ? fmt::format(" and {} more", names.size() - kMost) : "");
}

bool is_projector(const std::string& file) {
  return std::filesystem::path(file).filename().string().starts_with("mmproj");
}

}  // namespace outliers::io
