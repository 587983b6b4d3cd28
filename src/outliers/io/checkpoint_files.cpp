#include "outliers/io/checkpoint_files.h"

#include <algorithm>
#include <functional>
#include <optional>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/warning.h"
#include "outliers/io/gguf.h"
#include "outliers/io/safetensors.h"
#include "outliers/io/shard_index.h"
#include "outliers/io/shard_name.h"
#include "outliers/io/torch_file.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

using Checkpoints = std::unique_ptr<Checkpoint>;

/// A format of Hugging Face's folders, the better first.
struct Form {
  const char* whole;  ///< the name of a checkpoint in one file; its stem begins the shards' names
  Checkpoints (*open)(const std::vector<fs::path>& files);
  Checkpoints (*open_index)(const fs::path& index);
  std::string stem() const { return fs::path(whole).stem().string(); }
  std::string extension() const { return fs::path(whole).extension().string(); }
  std::string index() const { return std::string(whole) + ".index.json"; }
};
constexpr Form kForms[] = {{"model.safetensors", open_safetensors, open_safetensors_index},
                           {"pytorch_model.bin", open_torch, open_torch_index}};

constexpr const char* kAdapterConfig = "adapter_config.json";

/// Names of what stands in a folder; links without a target are there, so that they are told of.
std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code code;
  std::vector<std::string> names;
  fs::directory_iterator entries(folder, code);
  require(!code, not_read(code.value()), "cannot read the folder {}: {}", folder.string(), code.message());
  for (const auto& entry : entries) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::binary_search(names.begin(), names.end(), name);
}

std::vector<fs::path> in_folder(const fs::path& folder, const std::vector<std::string>& names) {
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(folder / name);
  return paths;
}

/// What an index lists, sorted; nullopt where it cannot be read, which opening it will say.
std::optional<std::vector<std::string>> listed_by(const fs::path& index) {
  try {
    std::vector<std::string> files;
    for (const auto& [file, tensors] : parse_shard_index(index)) files.push_back(file);
    return files;
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// What is opened by one name.
struct Candidate {
  std::string name;
  std::function<Checkpoints()> open;
};

/// The checkpoints of a form that `folder` holds: an index, a whole file that is none of the index's, and
/// where there is neither, complete shards.
std::vector<Candidate> candidates_of(const Form& form, const fs::path& folder,
                                     const std::vector<std::string>& names) {
  std::vector<Candidate> found;
  std::optional<std::vector<std::string>> listed;
  if (has(names, form.index())) {
    const fs::path index = folder / form.index();
    listed = listed_by(index);
    found.push_back({form.index(), [&form, index] { return form.open_index(index); }});
  }
  const bool unreadable = !found.empty() && !listed;
  const auto is_listed = [&](const std::string& name) { return listed && has(*listed, name); };
  if (has(names, form.whole) && !is_listed(form.whole))
    found.push_back({form.whole, [&form, folder] { return form.open({folder / form.whole}); }});
  const bool named = !found.empty();
  for (const ShardSeries& series : shard_series(names, form.extension())) {
    if (parse_shard_name(series.first)->stem != form.stem() || !series.missing.empty() ||
        is_listed(series.first) || unreadable)
      continue;
    if (named) {
      warn("{}: {} and the shards after it are ignored, since {} is there too; naming {} takes them",
           folder.string(), series.first, found.front().name, series.first);
      continue;
    }
    const std::vector<fs::path> files = in_folder(folder, series.files);
    found.push_back({series.first, [&form, files] { return form.open(files); }});
  }
  return found;
}

/// One for each GGUF and each series of parts. Image towers count where there is nothing else.
std::vector<Candidate> gguf_candidates(const fs::path& folder, const std::vector<std::string>& names) {
  std::vector<Candidate> found, towers;
  const std::vector<ShardSeries> all = shard_series(names, ".gguf");
  for (const std::string& name : names) {
    if (fs::path(name).extension() != ".gguf") continue;
    const auto series = std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.has(name); });
    // The first part that is there stands for all; opening it says which are missing.
    const bool stands = series == all.end() ||
                        *std::find_if(series->files.begin(), series->files.end(),
                                      [&](const std::string& file) { return has(names, file); }) == name;
    if (stands) {
      (is_projector(name) ? towers : found).push_back({name, [path = folder / name] {
                                                         return open_gguf(path);
                                                       }});
    }
  }
  return found.empty() ? towers : found;
}

/// Shards of any name, complete and without an index, where nothing has the usual names.
std::vector<Candidate> other_shards(const Form& form, const fs::path& folder,
                                    const std::vector<std::string>& names,
                                    std::vector<std::string>& problems) {
  std::vector<Candidate> found;
  for (const ShardSeries& series : shard_series(names, form.extension())) {
    if (!series.missing.empty()) {
      problems.push_back(fmt::format(
          "of the {} shards of {} {} missing, and so is an index ({})", series.files.size(),
          printable(series.first),
          names_in_words(series.missing) + (series.missing.size() == 1 ? " is" : " are"), form.index()));
      continue;
    }
    const std::vector<fs::path> files = in_folder(folder, series.files);
    found.push_back({series.first, [&form, files] { return form.open(files); }});
  }
  return found;
}

/// The one of them, opened; nullptr where there is none.
Checkpoints only_one(const fs::path& folder, const std::vector<Candidate>& found, const char* what) {
  std::vector<std::string> names;
  for (const Candidate& candidate : found) names.push_back(candidate.name);
  require(found.size() <= 1, Cause{ErrorKind::argument, {Setting::file}},
          "{} holds {} {}: {}; name one of them, as in {}", folder.string(), found.size(), what,
          names_in_words(names), found.empty() ? "" : printable(names.front()));
  return found.empty() ? nullptr : found.front().open();
}

/// Says what a folder is that holds an adapter only.
[[noreturn]] void refuse_adapter(const fs::path& folder) {
  std::string base;
  const fs::path file = folder / kAdapterConfig;
  try {
    const auto config = parse_json<nlohmann::json>(read_regular(file), file.string());
    if (config.is_object())
      base = config.value("base_model_name_or_path", nlohmann::json()).get<std::string>();
  } catch (const std::exception&) {  // it is named where it is there, and that is all
  }
  fail(Cause{ErrorKind::argument, {Setting::adapter}},
       "{} holds an adapter, not a model: give the model that it was trained on{}, and this as its adapter",
       folder.string(), base.empty() ? "" : fmt::format(" ({})", printable(base)));
}

/// Nothing was found: what there is, and what to do.
[[noreturn]] void refuse_folder(const fs::path& folder, const std::vector<std::string>& names,
                                const std::vector<std::string>& problems) {
  if (has(names, kAdapterConfig)) refuse_adapter(folder);
  require(problems.empty(), not_read(ENOENT), "{}: {}; fetch all of them", folder.string(),
          problems.empty() ? "" : problems.front());
  std::vector<std::string> weights, others;
  for (const std::string& name : names) {
    const std::string end = fs::path(name).extension().string();
    if (end == ".safetensors" || end == ".bin" || end == ".pt" || end == ".pth" || end == ".ckpt")
      weights.push_back(name);
    if (end == ".h5" || end == ".msgpack" || end == ".onnx" || end == ".tflite" || end == ".index" ||
        end == ".nemo" || end == ".mlx")
      others.push_back(name);
  }
  require(weights.empty(), Cause{ErrorKind::argument, {Setting::file}},
          "{} holds neither model.safetensors nor pytorch_model.bin, but {}; name it, as in {}",
          folder.string(), names_in_words(weights), weights.empty() ? "" : printable(weights.front()));
  require(others.empty(), kUnsupported,
          "{} holds no checkpoint that is read here, but {}; fetch the model as safetensors, "
          "PyTorch's .bin or GGUF",
          folder.string(), names_in_words(others));
  fail(not_read(ENOENT),
       "{} holds no checkpoint: no model.safetensors, pytorch_model.bin, index of one of them, or .gguf file",
       folder.string());
}

const Form& form_of(const std::string& extension) {
  return extension == kForms[0].extension() ? kForms[0] : kForms[1];
}

/// All shards, where the file is one of several that have the form's numbers or stand in an index.
Checkpoints open_shards(const fs::path& file) {
  const std::string name = file.filename().string();
  const auto shard = parse_shard_name(name);
  if (!shard || (shard->extension != ".safetensors" && shard->extension != ".bin")) return nullptr;
  const Form& form = form_of(shard->extension);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const std::string own_index = shard->stem + shard->extension + ".index.json";
  std::error_code unreadable;
  if (fs::exists(folder / own_index, unreadable)) {
    const auto listed = listed_by(folder / own_index);
    if (listed && has(*listed, name)) return form.open_index(folder / own_index);
  }
  std::vector<std::string> all, missing;
  for (int64_t i = 1; i <= shard->count; ++i) {
    all.push_back(shard->of(i));
    if (!fs::exists(folder / all.back(), unreadable)) missing.push_back(all.back());
  }
  require(missing.empty(), not_read(ENOENT),
          "{} is one of {} shards; beside it {} missing, and so is an index ({})", file.string(),
          shard->count, names_in_words(missing) + (missing.size() == 1 ? " is" : " are"), own_index);
  return form.open(in_folder(folder, all));
}

}  // namespace

std::unique_ptr<Checkpoint> open_folder(const fs::path& folder) {
  const std::vector<std::string> names = names_in(folder);
  for (const Form& form : kForms) {
    if (auto checkpoint = only_one(folder, candidates_of(form, folder, names), "checkpoints"))
      return checkpoint;
  }
  if (auto checkpoint = only_one(folder, gguf_candidates(folder, names), "GGUF files")) return checkpoint;
  std::vector<std::string> problems;
  for (const Form& form : kForms) {
    if (auto checkpoint = only_one(folder, other_shards(form, folder, names, problems), "checkpoints"))
      return checkpoint;
  }
  refuse_folder(folder, names, problems);
}

std::unique_ptr<Checkpoint> open_file(const fs::path& path) {
  const std::string name = path.filename().string(), extension = path.extension().string();
  if (name.ends_with(".bin.index.json")) return open_torch_index(path);
  if (name.ends_with(".index.json")) return open_safetensors_index(path);
  std::error_code unreadable;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const bool adapter = fs::exists(folder / kAdapterConfig, unreadable) &&
                       (name.starts_with("adapter_") || !fs::exists(folder / "config.json", unreadable));
  if (adapter) refuse_adapter(folder);
  if (is_gguf(path)) return open_gguf(path);
  const std::string head = RegularFile(path).read(4096);
  if (extension == ".gguf") {
    const auto other = foreign_content(head);
    require(!other, "{} {}", path.string(), other.value_or(""));
    fail("{} is no GGUF file: it does not begin with \"GGUF\"; fetch it again", path.string());
  }
  require(extension != ".json" || !head.starts_with('{'),
          "{} is a JSON text, not weights; give the folder that it is in", path.string());
  if (auto shards = open_shards(path)) return shards;
  // torch.save writes a zip archive or, long ago, a pickle; before safetensors' brace stands any length.
  const bool pickle = head.size() > 8 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5 && head[8] != '{';
  const bool torch = head.starts_with("PK\3\4") || pickle || extension == ".bin" || extension == ".pt" ||
                     extension == ".pth" || extension == ".ckpt";
  return torch ? open_torch({path}) : open_safetensors({path});
}

}  // namespace outliers::io
