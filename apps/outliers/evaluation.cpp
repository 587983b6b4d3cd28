#include "evaluation.h"

#include <algorithm>

#include <fmt/format.h>

#include "advice.h"

namespace outliers::apps {

void Evaluation::add(Command& command) {
  constexpr int64_t most = int64_t{1} << 30;
  command
      .add(
          "--corpus", corpora_,
          "text to evaluate on: plain text or JSON lines (.jsonl), also compressed by gzip or zstd, Parquet, "
          "or "
          "hf://datasets/OWNER/NAME/FILE on the Hub; - is standard input; several are joined by a blank line "
          "(default: one that comes along)")
      .several(1)
      .value("FILE...");
  command
      .add("--text-field", windows_.text_field,
           "reads the corpus as JSON lines or Parquet and takes this field of each row (default: text, else "
           "content)")
      .value("NAME");
  command.add("--context", windows_.context, "tokens of a window, a BOS counted")
      .between(int64_t{2}, most)
      .by_default("2048, or the positions there are")
      .value("N");
  command
      .add("--stride", windows_.stride,
           "tokens from the start of a window to the next one's; each scores what no earlier one did")
      .between(int64_t{1}, most)
      .by_default("windows do not overlap")
      .value("N");
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(eval::BosPlace::last); ++i)
    names.emplace_back(eval::bos_place_name(eval::BosPlace{i}));
  const auto take = [this, names](const std::string& name) {
    windows_.bos =
        eval::BosPlace{static_cast<int>(std::find(names.begin(), names.end(), lower(name)) - names.begin())};
  };
  command
      .add("--bos", take,
           "where a BOS stands, in one of a window's places: in front of the text as the tokenizer adds it "
           "(model), in every window (every), in the first (first), nowhere (never)")
      .one_of(names)
      .value("PLACE")
      .by_default("model");
  command.add("--sequences", windows_.sequences, "windows; the first ones of the text")
      .between(int64_t{1}, most)
      .by_default("all there are")
      .value("N");
  command
      .add("-o,--output", output_,
           fmt::format("directory for {}, with the value of each window (default: none)", file_))
      .value("DIR");
  compute_.add(command);
  add_force(command, force_);
  add_json(command, json_);
}

eval::WindowOptions Evaluation::windows() const {
  if (std::count(corpora_.begin(), corpora_.end(), "-") > 1)
    throw UsageError("--corpus cannot be standard input twice");
  call_setting(Setting::tokens, "--context");
  eval::WindowOptions windows = windows_;
  windows.corpora.assign(corpora_.begin(), corpora_.end());
  return windows;
}

}  // namespace outliers::apps
