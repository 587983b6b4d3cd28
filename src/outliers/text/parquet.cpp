#include "outliers/text/parquet.h"

#include <algorithm>
#include <dlfcn.h>
#include <optional>
#include <stdexcept>
#include <vector>

#include <simdjson.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/text/parquet_file.h"

namespace outliers::text {
namespace {

constexpr size_t kPiece = size_t{1} << 20;  // of text at a time

OutliersOpenParquet* open_function(const std::string& name) {
#ifdef OUTLIERS_PARQUET_MODULE
  // Found by the program's or library's own search path, where it was built or installed.
  void* module = dlopen(OUTLIERS_PARQUET_MODULE, RTLD_NOW | RTLD_LOCAL);
  const char* problem = module == nullptr ? dlerror() : nullptr;
  void* found = module == nullptr ? nullptr : dlsym(module, kOutliersOpenParquet);
  require(found != nullptr, Cause{ErrorKind::unsupported},
          "{} is a Parquet file, and what reads it cannot be loaded: {}; build again with a pyarrow that is "
          "there, or write its rows as JSON lines",
          name, problem == nullptr ? "it is of another version" : problem);
  return reinterpret_cast<OutliersOpenParquet*>(found);
#else
  fail(Cause{ErrorKind::unsupported},
       "{} is a Parquet file, which this build cannot read: build with pyarrow installed for the Python that "
       "has PyTorch, or write its rows as JSON lines",
       name);
#endif
}

class Rows {
 public:
  Rows(const std::shared_ptr<InputFile>& file, const std::string& text_field, size_t longest)
      : name_(file->name()), longest_(longest) {
    check_ends(*file);
    OutliersOpenParquet* open = open_function(name_);
    ByteRange bytes{file->size(), [file](uint64_t offset, char* to, size_t count) {
                      return file->read_at(offset, to, count);
                    }};
    guarded([&] {
      rows_.reset(open(std::move(bytes)));
      rows_->begin(columns_of(text_field));
    });
  }

  bool read(const std::function<void(std::string_view)>& take) {
    for (size_t bytes = 0; bytes < kPiece;) {
      check_interrupt();
      std::optional<std::string_view> text;
      bool more = false;
      guarded([&] { more = rows_->next(text); });
      if (!more) return bytes > 0;
      ++row_;
      require(text.has_value(), Cause{ErrorKind::input, {Setting::text_field}}, "{} has no string {}: null",
              where(), wanted_);
      require(text->size() <= longest_, "{} is longer than {} MiB", where(), longest_ >> 20);
      require(simdjson::validate_utf8(text->data(), text->size()), "{} is no text: it is not UTF-8", where());
      take(*text);
      bytes += text->size() + 1;
    }
    return true;
  }

 private:
  void check_ends(InputFile& file) {
    constexpr uint64_t shortest = 12;  // both ends and the footer's length
    char last[4] = {};
    if (file.size() >= shortest) file.read_at(file.size() - sizeof last, last, sizeof last);
    const std::string_view end(last, sizeof last);
    require(is_parquet(end), "{} is cut short: it does not end as a Parquet file does; download it again",
            name_);
    require(end == "PAR1", Cause{ErrorKind::unsupported},
            "{} is encrypted; write it without encryption, or its rows as JSON lines", name_);
  }

  std::string where() const { return fmt::format("{}, row {}", name_, row_); }

  /// The columns in the order in which a row is asked for them.
  std::vector<size_t> columns_of(const std::string& text_field) {
    const std::vector<ParquetFile::Column>& columns = rows_->columns();
    const std::vector<std::string> names =
        text_field.empty() ? std::vector<std::string>{"text", "content"} : std::vector{text_field};
    std::vector<size_t> found;
    for (const std::string& name : names) {
      for (size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].name != name || !columns[i].is_text) continue;
        found.push_back(i);
        wanted_ += fmt::format("{}\"{}\"", wanted_.empty() ? "" : " or ", printable(name));
        break;
      }
    }
    if (!found.empty()) return found;
    std::string strings;
    for (const auto& column : columns) {
      if (column.is_text) strings += (strings.empty() ? "" : ", ") + column.name;
    }
    fail(Cause{ErrorKind::input, {Setting::text_field}}, "{} has no column of strings {}; {}", name_,
         text_field.empty() ? "\"text\" or \"content\"" : fmt::format("\"{}\"", printable(text_field)),
         strings.empty() ? "none of its columns holds strings"
                         : fmt::format("name one of its columns: {}", printable(strings)));
  }

  template <typename Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const Error&) {
      throw;
    } catch (const std::runtime_error& error) {
      fail("{} cannot be read as Parquet{}: {}; download it again, or write its rows as JSON lines", name_,
           row_ == 0 ? "" : fmt::format(" after row {}", row_), printable(error.what()));
    }
  }

  std::string name_, wanted_;
  size_t longest_;
  std::unique_ptr<ParquetFile> rows_;
  uint64_t row_ = 0;
};

}  // namespace

bool is_parquet(std::string_view first_bytes) {
  return first_bytes.starts_with("PAR1") || first_bytes.starts_with("PARE");
}

RowSource parquet_rows(std::shared_ptr<InputFile> file, std::string text_field, size_t longest) {
  return [rows = std::make_shared<Rows>(file, text_field, longest)](
             const std::function<void(std::string_view)>& take) { return rows->read(take); };
}

}  // namespace outliers::text
