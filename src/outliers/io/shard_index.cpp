#include "outliers/io/shard_index.h"

#include <set>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/regular_file.h"

namespace outliers::io {
namespace fs = std::filesystem;

namespace {

/// The shortest spelling of a name in an index; "" for one that leaves the folder.
std::string normal_name(const std::string& name) {
  const fs::path path = fs::path(name).lexically_normal();
  const bool inside = path.is_relative() && path.has_filename() && *path.begin() != ".." && path != ".";
  return inside && name.find('\0') == std::string::npos ? path.string() : "";
}

}  // namespace

std::map<std::string, std::vector<std::string>> parse_shard_index(const fs::path& path) {
  const std::string text = read_own(path);
  const auto index = parse_json<nlohmann::json>(text, printable(path.string(), 4096));
  require(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
          "{} is no index of a checkpoint: it has no weight_map", path.string());
  std::map<std::string, std::vector<std::string>> names_of_file;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string(), "{}: tensor {} names no file", path.string(), printable(tensor));
    const std::string name = normal_name(file.get<std::string>());
    require(!name.empty(), "{}: tensor {} names the file {}, which is not in the index's folder",
            path.string(), printable(tensor), printable(file.get<std::string>()));
    names_of_file[name].push_back(tensor);
  }
  require(!names_of_file.empty(), "{}: the weight_map is empty", path.string());
  return names_of_file;
}

std::map<std::string, std::vector<std::string>> read_shard_index(const fs::path& path) {
  auto names_of_file = parse_shard_index(path);
  for (const auto& [name, tensors] : names_of_file) {
    const fs::path part = path.parent_path() / name;
    std::error_code unreadable;  // such as a name that is too long for a file
    require(fs::exists(part, unreadable), not_read(ENOENT), "{} is missing; {} names it",
            printable(part.string(), 4096), path.filename().string());
  }
  return names_of_file;
}

void check_shard(const fs::path& index, const fs::path& part, const std::vector<std::string>& expected,
                 const std::vector<TensorInfo>& found) {
  std::set<std::string> there;
  for (const TensorInfo& info : found) there.insert(info.name);
  for (const std::string& tensor : expected) {
    require(there.count(tensor) != 0, "{}: {} says that tensor {} is in it, but it is not", part.string(),
            index.filename().string(), printable(tensor));
  }
}

}  // namespace outliers::io
