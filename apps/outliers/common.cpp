#include "common.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/input.h"

namespace outliers::apps {
namespace {

/// "16GiB", "1.5 GB", "512m", "1000000" -> bytes.
uint64_t parse_size(const std::string& text) {
  static const std::map<std::string, double> units = {
      {"", 1},         {"b", 1},      {"k", 0x1p10},   {"kb", 1e3},    {"kib", 0x1p10},
      {"m", 0x1p20},   {"mb", 1e6},   {"mib", 0x1p20}, {"g", 0x1p30},  {"gb", 1e9},
      {"gib", 0x1p30}, {"t", 0x1p40}, {"tb", 1e12},    {"tib", 0x1p40}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit = lower(std::string(end, text.data() + text.size()));
  unit.erase(0, unit.find_first_not_of(' '));
  const auto factor = units.find(unit);
  const double bytes = factor == units.end() ? -1 : number * factor->second;
  if (error != std::errc() || !(bytes >= 1) || bytes > 0x1p62) {
    throw UsageError(fmt::format(
        "--memory: '{}' is no size; write a number with its unit, as in 16GiB or 6GB", printable(text, 20)));
  }
  return static_cast<uint64_t>(bytes);
}

/// Where a command that writes to `output` may put what does not fit the memory: TMPDIR, or beside the
/// output, for /tmp is memory on many systems.
std::filesystem::path spill_directory(const std::filesystem::path& output) {
  if (const char* chosen = std::getenv("TMPDIR"); chosen != nullptr && *chosen != '\0') return chosen;
  const std::filesystem::path parent = std::filesystem::absolute(output).lexically_normal().parent_path();
  return output.has_filename() ? parent : parent.parent_path();
}

}  // namespace

void ModelArgument::add(Command& command, With with) {
  command
      .add("MODEL", source_,
           "a .gguf, .safetensors or PyTorch .bin file, a Hugging Face directory, or a name on the Hub "
           "(ORG/NAME[@REVISION][:FILE])")
      .required();
  command.add("--revision", options_.revision, "branch, tag or commit on the Hub (default: main)")
      .value("REVISION");
  if (with.file)
    command.add("--file", options_.file, "the file of MODEL to take, where there are several").value("FILE");
  if (with.adapter)
    command.add("--adapter", options_.adapter, "a LoRA adapter (PEFT's directory) to merge into the weights")
        .value("DIR");
}

Option add_bos(Command& command, text::BosPolicy& bos) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(text::BosPolicy::last); ++i)
    names.emplace_back(text::bos_policy_name(text::BosPolicy{i}));
  return command
      .add(
          "--bos",
          [&bos, names](const std::string& name) {
            bos = text::BosPolicy{
                static_cast<int>(std::find(names.begin(), names.end(), lower(name)) - names.begin())};
          },
          "what stands before the first token: what the tokenizer adds (model), one BOS (always), none "
          "(never)")
      .one_of(names)
      .value("POLICY")
      .by_default("model");
}

Option add_prompt_file(Command& command, std::string& path, const Option& prompt) {
  return command.add("--prompt-file", path, kPromptFileUse).excludes(prompt).value("FILE");
}

Option add_force(Command& command, bool& force) {
  return command.flag("--force", force, "replace what an earlier run wrote there");
}

Option add_json(Command& command, bool& json) {
  return command.flag("--json", json, "print JSON instead of text");
}

Option add_dtype(Command& command, const char* name, std::optional<at::ScalarType>& dtype, const char* other,
                 const std::string& use) {
  const std::string names =
      fmt::format("{}{}", other == nullptr ? "" : fmt::format("{}, ", other), kDtypeNames);
  return command
      .add(
          name,
          [name, &dtype, other, names](const std::string& text) {
            dtype = parse_dtype(text);
            if (dtype || (other != nullptr && lower(text) == other)) return;
            throw UsageError(
                fmt::format("{}: '{}' is no dtype; known: {}", name, printable(text, 20), names));
          },
          fmt::format("{}: {}", use, names))
      .value("DTYPE");
}

Option add_images(Command& command, std::vector<std::string>& images, const char* use) {
  return command
      .add("--images", images,
           fmt::format("PNG, JPEG or .npy files, or folders of them, for models of images: {}", use))
      .several(1)
      .value("PATH...");
}

void Compute::add(Command& command) {
  command.add("--device", device, "cpu, cuda or cuda:N").shows_default().value("DEVICE");
  add_dtype(command, "--dtype", dtype, "auto",
            "what is computed in; auto is float32 on the CPU, the checkpoint's own elsewhere")
      .by_default("auto");
  command.add("--threads", threads, "CPU threads; 0 is one a core")
      .between(int64_t{0}, int64_t{4096})
      .shows_default()
      .value("N");
  command
      .add(
          "--memory", [this](const std::string& text) { memory = parse_size(text); },
          "resident memory that the program may take: 16GiB, 6GB, or bytes; what does not fit waits "
          "on disk, in TMPDIR or beside the output")
      .by_default("no limit")
      .value("SIZE");
}

SessionOptions Compute::session(const std::string& output) const {
  SessionOptions options;
  options.device = lower(device);
  options.dtype = dtype;
  options.threads = threads;
  options.memory_limit = memory;
  options.spill_directory = spill_directory(output);
  return options;
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string read_text(const std::string& path) {
  return InputFile(path).read_all();
}

}  // namespace outliers::apps
