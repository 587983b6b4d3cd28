#include "outliers/io/shard_index.h"

#include <set>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/text_file.h"

namespace outliers::io {
namespace fs = std::filesystem;

std::map<std::string, std::vector<std::string>> read_shard_index(const fs::path& path) {
  const auto index = parse_json<nlohmann::json>(read_text_file(path), printable(path.string()));
  require(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
          "{} is no index of a checkpoint: it has no weight_map", path.string());
  std::map<std::string, std::vector<std::string>> names_of_file;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string(), "{}: tensor {} names no file", path.string(), printable(tensor));
    const std::string name = file.get<std::string>();
    require(!name.empty() && fs::path(name).filename() == name && name != "." && name != "..",
            "{}: tensor {} names the file {}, which is not beside the index", path.string(),
            printable(tensor), printable(name));
    names_of_file[name].push_back(tensor);
  }
  require(!names_of_file.empty(), "{}: the weight_map is empty", path.string());
  for (const auto& [name, tensors] : names_of_file) {
    const fs::path part = path.parent_path() / name;
    std::error_code unreadable;  // such as a name that is too long for a file
    require(fs::exists(part, unreadable), "{} is missing; {} names it", printable(part.string(), 200),
            path.filename().string());
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
