// Files of data sets on the Hub, as corpora.
#include <algorithm>
#include <fnmatch.h>
#include <map>
#include <string_view>
#include <vector>

#include "outliers/core/progress.h"
#include "outliers/core/suggest.h"
#include "outliers/io/hub.h"
#include "outliers/io/hub_name.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kScheme = "hf://", kDataSets = "hf://datasets/";
constexpr const char* kForm = "hf://datasets/OWNER/NAME[@REVISION]/FILE";

std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

using Part = std::vector<std::string>::const_iterator;

bool matches(Part pattern, Part pattern_end, Part name, Part name_end) {
  if (pattern == pattern_end) return name == name_end;
  if (*pattern == "**") {
    for (Part rest = name;; ++rest) {
      if (matches(pattern + 1, pattern_end, rest, name_end)) return true;
      if (rest == name_end) return false;
    }
  }
  return name != name_end && fnmatch(pattern->c_str(), name->c_str(), 0) == 0 &&
         matches(pattern + 1, pattern_end, name + 1, name_end);
}

bool is_pattern(const std::string& file) {
  return file.find_first_of("*?[") != std::string::npos;
}

/// The listed files that are meant, sorted: shards are numbered with leading zeros.
std::vector<std::string> chosen(const std::string& file, const std::vector<std::string>& listed) {
  std::vector<std::string> found;
  const std::vector<std::string> pattern = parts_of(file);
  for (const std::string& name : listed) {
    const std::vector<std::string> parts = parts_of(name);
    const bool is_it =
        is_pattern(file) ? matches(pattern.begin(), pattern.end(), parts.begin(), parts.end()) : name == file;
    if (is_it) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

[[noreturn]] void refuse_missing(const HubName& name, const std::vector<std::string>& listed,
                                 const std::string& where) {
  if (is_pattern(name.file))
    fail(not_read(ENOENT), "{} has no file {} at {}; see {}/tree/{}", where, printable(name.file),
         printable(name.revision), where, name.revision);
  const bool folder = std::any_of(listed.begin(), listed.end(), [&](const std::string& listed_name) {
    return listed_name.starts_with(name.file + "/");
  });
  require(!folder, not_read(EISDIR), "{}: {} is a folder; name its files, as in {}/*.parquet", where,
          printable(name.file), printable(name.text()));
  const std::string near = nearest(name.file, listed);
  fail(not_read(ENOENT), "{} has no file {} at {}{}", where, printable(name.file), printable(name.revision),
       near.empty() ? "" : fmt::format("; did you mean {}?", printable(near)));
}

/// Whether the shards NAME-0000i-of-0000N.EXT among the files are all there: a cache does not say what it
/// lacks.
bool are_whole(const std::vector<std::string>& files) {
  std::map<std::string, std::pair<size_t, size_t>> series;  // how many there are, and should be
  for (const std::string& file : files) {
    const size_t of = file.rfind("-of-"), number = file.rfind('-', of - 1);
    if (of == std::string::npos || of == 0 || number == std::string::npos) continue;
    const size_t digits = file.find_first_not_of("0123456789", of + 4);
    const std::string count = file.substr(of + 4, digits - of - 4);
    if (count.empty() || count.size() > 9) continue;
    auto& [there, wanted] = series[file.substr(0, number) + file.substr(of)];
    ++there;
    wanted = std::stoul(count);
  }
  return std::all_of(series.begin(), series.end(),
                     [](const auto& s) { return s.second.first == s.second.second; });
}

/// What the cache has by itself; nothing where it lacks some of it.
std::vector<fs::path> cached(const HubCache& cache, const HubName& name) {
  const auto commit = cache.commit_of(name.revision);
  if (!commit) return {};
  const std::vector<std::string> files = chosen(name.file, cache.files(*commit));
  if (is_pattern(name.file) && !are_whole(files)) return {};
  std::vector<fs::path> paths;
  for (const std::string& file : files) paths.push_back(cache.snapshot(*commit) / file);
  return paths;
}

/// %2F and its like, by which a revision is written that has a slash.
std::string unquoted(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at]));
    };
    if (text[i] == '%' && digit(i + 1) && digit(i + 2)) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Where the revision ends: at a slash, but refs/convert/NAME and refs/pr/N, which the Hub itself makes, have
/// two.
size_t revision_end(const std::string& text, size_t begin) {
  size_t end = text.find('/', begin);
  for (const std::string_view ref : {"refs/convert/", "refs/pr/"}) {
    if (text.compare(begin, ref.size(), ref) == 0) end = text.find('/', begin + ref.size());
  }
  return std::min(end, text.size());
}

}  // namespace

bool is_hub_address(const std::string& text) {
  return text.starts_with(kScheme);
}

HubName parse_hub_address(const std::string& text) {
  require(text.starts_with(kDataSets), kArgument, "{}: a corpus on the Hub is written {}", printable(text),
          kForm);
  HubName name;
  name.data_set = true;
  const size_t begin = kDataSets.size(), slash = text.find('/', begin);
  size_t end = slash == std::string::npos ? text.size() : text.find_first_of("/@", slash + 1);
  end = std::min(end, text.size());
  name.repository = text.substr(begin, end - begin);
  if (end < text.size() && text[end] == '@') {
    const size_t last = revision_end(text, end + 1);
    name.revision = unquoted(text.substr(end + 1, last - end - 1));
    end = last;
  }
  name.file = end < text.size() ? text.substr(end + 1) : "";
  require(name.repository.find('/') != std::string::npos && is_repository(name.repository), kArgument,
          "{}: no data set has such a name; it is written {}", printable(text), kForm);
  require(is_revision(name.revision), kArgument, "{}: no branch, tag or commit has such a name",
          printable(text));
  require(!name.file.empty() && !name.file.ends_with('/'), kArgument,
          "{} names no file; it is written {}, where FILE may be as data/test-*.parquet", printable(text),
          kForm);
  return name;
}

std::vector<fs::path> fetch_data_set(const std::string& address) {
  const HubName name = parse_hub_address(address);
  const HubSettings settings = HubSettings::from_environment();
  const HubCache cache(settings, name.repository, /*data_set=*/true);
  // Of a pattern the cache may have a part, so a commit is asked about, too, where that can be.
  if (settings.offline || (is_commit(name.revision) && !is_pattern(name.file))) {
    std::vector<fs::path> paths = cached(cache, name);
    if (!paths.empty()) return paths;
    require(!settings.offline, kNetwork,
            "{} the cache {} has not all of it; unset HF_HUB_OFFLINE to fetch it", name.missing(),
            settings.cache.string());
  }
  try {
    HubRemote remote(settings, name);
    const HubListing listing = remote.list();
    std::vector<std::string> listed;
    for (const HubFile& file : listing.files) listed.push_back(file.name);
    const std::vector<std::string> files = chosen(name.file, listed);
    if (files.empty()) refuse_missing(name, listed, settings.endpoint + "/" + name.page());
    remote.fetch(listing.commit, files);
    cache.set_commit(name.revision, listing.commit);
    std::vector<fs::path> paths;
    for (const std::string& file : files) paths.push_back(cache.snapshot(listing.commit) / file);
    return paths;
  } catch (const HubUnavailable& unavailable) {
    std::vector<fs::path> paths = cached(cache, name);
    if (paths.empty()) throw;
    Progress::note(fmt::format("{}; using the copy in the cache", unavailable.what()));
    return paths;
  }
}

}  // namespace outliers::io
