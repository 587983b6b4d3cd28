#include "outliers/io/hub.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "outliers/core/progress.h"
#include "outliers/core/suggest.h"
#include "outliers/io/hub_name.h"
#include "outliers/io/shard_index.h"
#include "outliers/io/shard_name.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

// Beside the weights; those of the second row only where there is no tokenizer.json.
constexpr const char* kSmallFiles[] = {"config.json",
                                       "generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "preprocessor_config.json",
                                       "quantize_config.json",
                                       "adapter_config.json"};
constexpr const char* kOlderTokenizers[] = {"tokenizer.model", "spiece.model", "vocab.json", "merges.txt"};
constexpr const char* kIndexes[] = {"model.safetensors.index.json", "pytorch_model.bin.index.json",
                                    "adapter_model.safetensors.index.json"};

using Names = std::set<std::string>;

/// What is to be on this machine.
struct Selection {
  std::vector<std::string> files;
  std::string index;   ///< the one of `files` that names the shards, or ""
  std::string target;  ///< the file that is the model, or "" for the directory
};

bool has_extension(const std::string& file, std::string_view extension) {
  return fs::path(file).extension() == extension;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// The file that was meant: by its path, or a GGUF by the end of its name, as in ORG/NAME:Q4_K_M.
std::string meant(const std::string& file, const std::vector<HubFile>& listed, const std::string& where) {
  std::vector<std::string> names, tagged;
  for (const HubFile& f : listed) {
    if (f.name == file) return file;
    names.push_back(f.name);
    const auto part = parse_shard_name(f.name);
    if (part && part->number > 1) continue;  // the first stands for all parts
    const std::string stem =
        lower(part ? fs::path(part->stem).filename().string() : fs::path(f.name).stem().string());
    const bool tail =
        has_extension(f.name, ".gguf") && stem.size() > file.size() && stem.ends_with(lower(file)) &&
        std::string_view("-._").find(stem[stem.size() - file.size() - 1]) != std::string_view::npos;
    if (tail) tagged.push_back(f.name);
  }
  if (tagged.size() == 1) return tagged.front();
  const std::string near = nearest(file, names);
  fail(not_read(ENOENT), "{} has no file {}{}", where, printable(file),
       near.empty() ? "" : fmt::format("; did you mean {}?", printable(near)));
}

std::string ggufs_in_words(const std::vector<HubFile>& ggufs) {
  constexpr size_t kMost = 20;
  std::string text;
  for (size_t i = 0; i < std::min(ggufs.size(), kMost); ++i) {
    const HubFile& file = ggufs[i];
    text += fmt::format("{}{}", i == 0 ? "" : ", ", printable(file.name));
    if (file.size) text += fmt::format(" ({:.2f} GB)", static_cast<double>(*file.size) / 1e9);
  }
  return text + (ggufs.size() > kMost ? fmt::format(" and {} more", ggufs.size() - kMost) : "");
}

void add_small_files(const Names& names, Selection& selection) {
  for (const char* file : kSmallFiles) {
    if (names.count(file) != 0) selection.files.emplace_back(file);
  }
  if (names.count("tokenizer.json") != 0) return;
  for (const char* file : kOlderTokenizers) {
    if (names.count(file) != 0) selection.files.emplace_back(file);
  }
}

/// All files that are opened by the name of one: the parts of a split GGUF, shards without an index.
std::vector<std::string> parts_of(const std::string& file, const Names& names, const std::string& where) {
  const auto part = parse_shard_name(file);
  if (!part || (part->extension != ".gguf" && names.count(part->stem + part->extension + ".index.json") != 0))
    return {file};
  const std::vector<ShardSeries> all = shard_series({names.begin(), names.end()}, part->extension);
  const auto series = std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.has(file); });
  require(series->missing.empty(), not_read(ENOENT), "{}: of the {} parts of {}, {} missing", where,
          series->files.size(), printable(series->first),
          names_in_words(series->missing) + (series->missing.size() == 1 ? " is" : " are"));
  return series->files;
}

/// The weights that stand for the repository, the better format first.
void add_weights(const Names& names, const std::vector<HubFile>& listed, const HubName& name,
                 const std::string& where, Selection& selection) {
  for (const char* stem : {"model.safetensors", "pytorch_model.bin", "adapter_model.safetensors"}) {
    const std::string index = stem + std::string(".index.json");
    if (names.count(index) != 0) selection.index = index;
    if (names.count(index) != 0 || names.count(stem) != 0) {
      selection.files.push_back(selection.index.empty() ? stem : index);
      return;
    }
  }
  std::vector<HubFile> ggufs, safetensors;
  for (const HubFile& file : listed) {
    const bool gguf = has_extension(file.name, ".gguf") && !is_projector(file.name);
    if (!gguf && !has_extension(file.name, ".safetensors")) continue;
    const auto part = parse_shard_name(file.name);
    // The first of several parts stands for all.
    if (part && part->number > 1 && names.count(part->of(1)) != 0) continue;
    (gguf ? ggufs : safetensors).push_back(file);
  }
  require(ggufs.size() <= 1, kArgument, "{} holds {} GGUF files; name one, as in {}:{}: {}", where,
          ggufs.size(), name.repository, ggufs.empty() ? "" : printable(ggufs.front().name),
          ggufs_in_words(ggufs));
  if (ggufs.size() == 1) {
    selection = {parts_of(ggufs.front().name, names, where), "", ggufs.front().name};
    return;
  }
  require(
      safetensors.size() == 1, not_read(ENOENT),
      "{} holds no weights that can be read: no model.safetensors or its index, pytorch_model.bin or .gguf",
      where);
  for (const std::string& file : parts_of(safetensors.front().name, names, where))
    selection.files.push_back(file);
  selection.target = safetensors.front().name;
}

Selection select(const std::vector<HubFile>& listed, const HubName& name, const std::string& where) {
  Names names;
  for (const HubFile& file : listed) names.insert(file.name);
  Selection selection;
  if (name.file.empty()) {
    add_small_files(names, selection);
    add_weights(names, listed, name, where, selection);
    return selection;
  }
  selection.target = meant(name.file, listed, where);
  if (std::find(std::begin(kIndexes), std::end(kIndexes), selection.target) != std::end(kIndexes))
    selection.index = selection.target;
  const bool weights =
      has_extension(selection.target, ".safetensors") || has_extension(selection.target, ".bin");
  if (weights || !selection.index.empty()) add_small_files(names, selection);
  for (const std::string& file : parts_of(selection.target, names, where)) selection.files.push_back(file);
  // A shard is opened with the others, which its index lists.
  const auto shard = parse_shard_name(selection.target);
  const std::string index = shard ? shard->stem + shard->extension + ".index.json" : "";
  if (weights && names.count(index) != 0) {
    selection.index = index;
    selection.files.push_back(index);
  }
  return selection;
}

/// The files that an index of shards names, each once.
std::vector<std::string> shards_of(const fs::path& index) {
  std::vector<std::string> shards;
  for (const auto& [file, tensors] : parse_shard_index(index)) shards.push_back(file);
  return shards;
}

/// Throws where the repository has a whole file beside an index of other files, and none of them was chosen.
void refuse_two(const HubName& name, const Selection& selection, const HubListing& listing,
                const std::vector<std::string>& shards) {
  if (!name.file.empty()) return;
  const std::string whole = selection.index.substr(0, selection.index.find(".index.json"));
  const bool there = std::any_of(listing.files.begin(), listing.files.end(),
                                 [&](const HubFile& file) { return file.name == whole; });
  require(!there || std::find(shards.begin(), shards.end(), whole) != shards.end(), kArgument,
          "{} holds 2 checkpoints: {} and {}; name one of them, as in {}:{}", name.text(), whole,
          selection.index, name.repository, whole);
}

fs::path place_of(const HubCache& cache, const std::string& commit, const Selection& selection) {
  return selection.target.empty() ? cache.snapshot(commit) : cache.snapshot(commit) / selection.target;
}

/// What the cache has by itself; nullopt when that is not all of it. With `surely`, a small file that is not
/// there must be known not to exist, too: others fetch less than we do.
std::optional<fs::path> cached(const HubCache& cache, const HubName& name, bool surely) {
  const auto commit = cache.commit_of(name.revision);
  if (!commit) return std::nullopt;
  std::vector<HubFile> listed;
  for (const std::string& file : cache.files(*commit)) listed.push_back({file, std::nullopt});
  try {
    const Selection selection = select(listed, name, name.text());
    if (surely && !has_extension(selection.files.back(), ".gguf")) {
      for (const char* file : kSmallFiles) {
        if (!cache.has(*commit, file) && !cache.is_absent(*commit, file)) return std::nullopt;
      }
    }
    if (!selection.index.empty()) {
      for (const std::string& shard : shards_of(cache.snapshot(*commit) / selection.index)) {
        if (!cache.has(*commit, shard)) return std::nullopt;
      }
    }
    return place_of(cache, *commit, selection);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Ends like a file with weights: then a path was meant, unless a repository stands before a colon.
bool looks_like_path(const std::string& text) {
  for (const char* end : {".gguf", ".safetensors", ".bin", ".pt", ".pth", ".json", ".npz"}) {
    if (text.ends_with(end)) return true;
  }
  return false;
}

}  // namespace

std::optional<HubName> parse_hub_name(const std::string& text) {
  HubName name;
  const auto colon = text.find(':');
  if (colon != std::string::npos) {
    name.file = text.substr(colon + 1);
    if (name.file.empty()) return std::nullopt;
  }
  name.repository = text.substr(0, colon);
  if (const auto at = name.repository.find('@'); at != std::string::npos) {
    name.revision = name.repository.substr(at + 1);
    name.repository.erase(at);
  }
  const bool path = colon == std::string::npos && looks_like_path(text);
  return !path && is_repository(name.repository) && is_revision(name.revision) ? std::optional(name)
                                                                               : std::nullopt;
}

fs::path fetch_from_hub(const HubName& name, const HubSettings& settings) {
  const HubCache cache(settings, name.repository);
  if (settings.offline || is_commit(name.revision)) {
    if (const auto path = cached(cache, name, !settings.offline)) return *path;
    require(!settings.offline, kNetwork,
            "{} the cache {} has not all of it; unset HF_HUB_OFFLINE to fetch it", name.missing(),
            settings.cache.string());
  }
  try {
    HubRemote remote(settings, name);
    const HubListing listing = remote.list();
    const Selection selection = select(listing.files, name, settings.endpoint + "/" + name.page());
    remote.fetch(listing.commit, selection.files);
    if (!selection.index.empty()) {
      const std::vector<std::string> shards = shards_of(cache.snapshot(listing.commit) / selection.index);
      refuse_two(name, selection, listing, shards);
      remote.fetch(listing.commit, shards);
    }
    // Tools that ask for these find at once that there are none.
    for (const char* file : kSmallFiles) {
      const bool listed = std::any_of(listing.files.begin(), listing.files.end(),
                                      [&](const HubFile& f) { return f.name == file; });
      if (!listed) cache.set_absent(listing.commit, file);
    }
    // Last, so that without a network the revision stays what is here in full.
    cache.set_commit(name.revision, listing.commit);
    return place_of(cache, listing.commit, selection);
  } catch (const HubUnavailable& unavailable) {
    const auto path = cached(cache, name, false);
    if (!path) throw;
    Progress::note(fmt::format("{}; using the copy in the cache", unavailable.what()));
    return *path;
  }
}

fs::path resolve_model(const std::string& model, const std::string& revision, const std::string& file) {
  std::error_code ec;
  const auto local = [&](const std::string& path) {
    const bool there = fs::exists(path, ec);
    if (there && !revision.empty())
      throw UsageError(
          fmt::format("a revision is for names on the Hub, and {} is a path here", printable(path)),
          {Setting::revision});
    return there;
  };
  const auto below = [&](const fs::path& folder, const std::string& name) {
    const fs::path path = folder / name;
    require(fs::exists(path, ec), not_read(ENOENT), "no such file: {}", path.string());
    return path;
  };
  if (local(model)) return file.empty() ? fs::path(model) : below(model, file);
  const size_t colon = model.find(':');
  const std::string folder = model.substr(0, colon);
  const std::string inside = colon == std::string::npos ? "" : model.substr(colon + 1);
  if (!inside.empty() && fs::is_directory(folder, ec) && local(folder)) {
    if (!file.empty())
      throw UsageError(fmt::format("{} and {}: name the file once", printable(model), printable(file)),
                       {Setting::file});
    return below(folder, inside);
  }
  auto name = parse_hub_name(model);
  if (name && !file.empty()) {
    if (!name->file.empty())
      throw UsageError(fmt::format("{} and {}: name the file once", printable(model), printable(file)),
                       {Setting::file});
    name->file = file;
  }
  if (name && !revision.empty()) {
    if (name->revision != "main")
      throw UsageError(
          fmt::format("{} and {}: name the revision once", printable(model), printable(revision)),
          {Setting::revision});
    if (!is_revision(revision))
      throw UsageError(fmt::format("{}: no branch, tag or commit has such a name", printable(revision)),
                       {Setting::revision});
    name->revision = revision;
  }
  require(name.has_value(), not_read(ENOENT), "no such file or directory: {}", model);
  return fetch_from_hub(*name, HubSettings::from_environment());
}

std::string hub_name_of(const fs::path& path) {
  std::error_code ec;
  const fs::path clean = fs::absolute(path, ec).lexically_normal();
  fs::path before;
  for (const fs::path& part : clean) {
    const std::string folder = before.string();
    if (part == "snapshots" && folder.rfind("models--", 0) == 0) {
      std::string name = folder.substr(8);
      if (const auto at = name.find("--"); at != std::string::npos) name.replace(at, 2, "/");
      return name;
    }
    before = part;
  }
  return "";
}

}  // namespace outliers::io
