#include "outliers/text/corpus_reader.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"

namespace outliers::text {
namespace {

constexpr std::string_view kSeparator = "<|endoftext|>";
constexpr std::string_view kBlank = " \t\r\n";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kBlank) == std::string_view::npos;
}

}  // namespace

CorpusReader::CorpusReader(std::vector<Source> sources) : sources_(std::move(sources)) {
  rewind();
}

void CorpusReader::rewind() {
  any_document_ = false;
  any_separator_ = sources_.size() > 1;
  open(0);
}

void CorpusReader::open(size_t source) {
  at_ = source;
  Contents contents = this->source().open();
  rows_ = std::move(contents.rows);
  bytes_ = rows_ ? nullptr : std::make_unique<Utf8Source>(std::move(contents.bytes), this->source().name);
  form_ = this->source().form;
  pending_.clear();
  blank_.clear();
  row_ = 0;
  inside_line_ = begun_ = line_break_ = false;
}

bool CorpusReader::read(std::string& text) {
  while (!read_source(text)) {
    if (at_ + 1 == sources_.size()) return false;
    open(at_ + 1);
  }
  return true;
}

bool CorpusReader::read_source(std::string& text) {
  check_interrupt();
  if (rows_) return rows_([&](std::string_view document) { take_document(text, document); });
  const bool more = bytes_->read(pending_);
  const bool ends = !more && (!pending_.empty() || line_break_);
  if (!more && !ends) return false;
  if (form_ == Form::by_first_line) {
    const size_t first = pending_.find_first_not_of(kBlank);
    const bool whole = first != std::string::npos && pending_.find('\n', first) != std::string::npos;
    if (more && !whole && pending_.size() < kLongestRow) return true;
    form_ = looks_like_rows() ? Form::json_lines : Form::text;
  }
  if (form_ == Form::json_lines) {
    take_rows(text, !more);
  } else {
    take_lines(text, !more);
  }
  return true;
}

std::string CorpusReader::where() const {
  return fmt::format("{}, line {}", source().name, row_);
}

/// The document in one line of JSON.
std::string CorpusReader::document_of(std::string_view line) const {
  const auto row = parse_json<nlohmann::json>(line, where());
  require(row.is_object(),
          "{} is no JSON object; a JSON corpus has one object a line, such as {{\"text\": \"...\"}}",
          where());
  if (!source().text_field.empty()) {
    const auto field = row.find(source().text_field);
    require(field != row.end() && field->is_string(), Cause{ErrorKind::input, {Setting::text_field}},
            "{} has no string \"{}\", the field that was asked for", where(), printable(source().text_field));
    return field->get<std::string>();
  }
  for (const char* key : {"text", "content"}) {
    if (const auto field = row.find(key); field != row.end() && field->is_string())
      return field->get<std::string>();
  }
  std::string strings;
  for (const auto& [key, field] : row.items()) {
    if (field.is_string()) strings += (strings.empty() ? "" : ", ") + key;
  }
  fail(Cause{ErrorKind::input, {Setting::text_field}}, "{} has no string \"text\" or \"content\"{}", where(),
       strings.empty() ? "" : fmt::format("; name one of its fields: {}", printable(strings)));
}

bool CorpusReader::looks_like_rows() const {
  const size_t first = std::min(pending_.find_first_not_of(kBlank), pending_.size());
  const std::string_view line = std::string_view(pending_).substr(first, pending_.find('\n', first) - first);
  if (!line.starts_with('{')) return false;
  try {
    const auto row = parse_json<nlohmann::json>(line, where());
    return row.is_object() &&
           std::any_of(row.begin(), row.end(), [](const auto& field) { return field.is_string(); });
  } catch (const Error&) {
    return false;
  }
}

void CorpusReader::take_rows(std::string& text, bool at_end) {
  size_t begin = 0;
  while (begin < pending_.size()) {
    const size_t end = pending_.find('\n', begin);
    if (end == std::string::npos && !at_end) break;
    const std::string_view line =
        std::string_view(pending_).substr(begin, std::min(end, pending_.size()) - begin);
    begin = std::min(end, pending_.size() - 1) + 1;
    ++row_;
    if (is_blank(line)) continue;
    const std::string document = document_of(line);
    take_document(text, document);
  }
  pending_.erase(0, begin);
  if (pending_.size() > kLongestRow) {
    ++row_;
    fail("{} is longer than {} MiB; a JSON corpus has one object a line", where(), kLongestRow >> 20);
  }
}

void CorpusReader::take_document(std::string& text, std::string_view document) {
  if (document.empty() && !source().keep_empty) return;
  begin_document(text);
  text += document;
}

void CorpusReader::begin_document(std::string& text) {
  if (any_document_) text += kJoint;
  any_document_ = true;
}

void CorpusReader::end_document() {
  begun_ = line_break_ = false;
  any_separator_ = true;
  blank_.clear();
}

/// A part of a document; it ends with its line, or inside a line.
void CorpusReader::take_part(std::string& text, std::string_view part) {
  if (!begun_) {
    if (is_blank(part)) {
      blank_ += part;
      require(blank_.size() <= kLongestRow, "{} has more than {} MiB of white space in one piece",
              source().name, kLongestRow >> 20);
      return;
    }
    begun_ = true;
    begin_document(text);
    text += blank_;
    blank_.clear();
  }
  if (line_break_) text += '\n';
  line_break_ = part.ends_with('\n');
  text += part.substr(0, part.size() - (line_break_ ? 1 : 0));
}

void CorpusReader::take_lines(std::string& text, bool at_end) {
  std::string_view left = pending_;
  while (!left.empty()) {
    const size_t end = left.find('\n');
    const bool whole = end != std::string_view::npos;
    // The rest of a line is known to be no separator as soon as it is too long for one.
    if (!whole && !at_end && !inside_line_ && left.size() <= kSeparator.size() + 1) break;
    const std::string_view line = left.substr(0, whole ? end + 1 : left.size());
    left.remove_prefix(line.size());
    std::string_view bare = line.substr(0, line.size() - (whole ? 1 : 0));
    if (bare.ends_with('\r')) bare.remove_suffix(1);
    if (!inside_line_ && bare == kSeparator) {
      end_document();
    } else {
      take_part(text, line);
      inside_line_ = !whole;
    }
    if (whole) inside_line_ = false;
  }
  pending_.erase(0, pending_.size() - left.size());
  if (!at_end) return;
  // A text of one document keeps every byte.
  if (line_break_ && !any_separator_) text += '\n';
  line_break_ = false;
}

}  // namespace outliers::text
