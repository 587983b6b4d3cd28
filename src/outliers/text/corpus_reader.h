// The documents of a corpus as one text, a piece at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/parquet.h"
#include "outliers/text/utf8_source.h"

namespace outliers::text {

/// More than this is never held of one document's JSON, nor of white space.
constexpr size_t kLongestRow = size_t{64} << 20;

/// What stands between documents: a blank line.
inline constexpr std::string_view kJoint = "\n\n";

class CorpusReader {
 public:
  enum class Form { text, json_lines, by_first_line };
  /// Bytes of text, or rows of documents.
  struct Contents {
    Contents(ByteSource source) : bytes(std::move(source)) {}
    Contents(RowSource source) : rows(std::move(source)) {}
    ByteSource bytes;
    RowSource rows;
  };
  struct Source {
    std::function<Contents()> open;  ///< from the start; the second call throws where it cannot be
    std::string name;                ///< for messages
    Form form = Form::text;
    std::string text_field;   ///< of the rows; empty: "text", else "content"
    bool keep_empty = false;  ///< rows whose text is empty are documents, too
  };
  explicit CorpusReader(Source source) : CorpusReader(std::vector{std::move(source)}) {}
  /// One text of several sources; where one ends, a document does.
  explicit CorpusReader(std::vector<Source> sources);

  /// Appends some more text. False at the end.
  bool read(std::string& text);
  /// Begins anew.
  void rewind();

 private:
  void open(size_t source);
  bool read_source(std::string& text);
  void take_rows(std::string& text, bool at_end);
  void take_lines(std::string& text, bool at_end);
  void take_document(std::string& text, std::string_view document);
  void take_part(std::string& text, std::string_view part);
  void begin_document(std::string& text);
  void end_document();
  bool looks_like_rows() const;
  std::string document_of(std::string_view line) const;
  std::string where() const;

  const Source& source() const { return sources_[at_]; }

  std::vector<Source> sources_;
  size_t at_ = 0;  ///< the source that is read
  Form form_;
  std::unique_ptr<Utf8Source> bytes_;
  RowSource rows_;
  std::string pending_;  ///< read, and not yet whole lines
  size_t row_ = 0;
  bool any_document_ = false;
  // Of plain text:
  bool inside_line_ = false;  ///< pending_ goes on with a line that is no separator
  bool begun_ = false;        ///< the document has more than white space
  bool line_break_ = false;   ///< the last one, which belongs to a separator that may follow
  bool any_separator_ = false;
  std::string blank_;  ///< the document's white space so far
};

}  // namespace outliers::text
