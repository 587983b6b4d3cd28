// Reads strings of Parquet files by Arrow's library (the C++ part of pyarrow), page by page. The columns are
// read by Parquet's own interface: it has no copies of values and no arrays that a dictionary could blow up.
#include <algorithm>
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>
#include <exception>
#include <parquet/column_reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>
#include <stdexcept>

#include "outliers/text/parquet_file.h"

namespace outliers::text {
namespace {

/// A page has at most 2 GiB, compressed or not; what asks for more than two of them is no honest file.
constexpr int64_t kMostMemory = int64_t{4} << 30;
constexpr int64_t kReadAhead = 1 << 20;  // of each column
constexpr int64_t kRowsAtOnce = 1024;

/// The caller's file. Exceptions do not pass through Arrow: they wait here for the one who called it.
class File : public arrow::io::RandomAccessFile {
 public:
  explicit File(ByteRange bytes) : bytes_(std::move(bytes)) {}

  void rethrow() {
    if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
  }

  arrow::Status Close() override { return arrow::Status::OK(); }
  bool closed() const override { return false; }
  arrow::Result<int64_t> Tell() const override { return place_; }
  arrow::Status Seek(int64_t place) override {
    place_ = place;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> GetSize() override { return static_cast<int64_t>(bytes_.size); }

  arrow::Result<int64_t> ReadAt(int64_t offset, int64_t bytes, void* to) override {
    const auto size = static_cast<int64_t>(bytes_.size);
    if (offset < 0 || bytes < 0 || offset > size)
      return arrow::Status::IOError("it points outside of itself");
    try {
      return static_cast<int64_t>(bytes_.read_at(static_cast<uint64_t>(offset), static_cast<char*>(to),
                                                 static_cast<size_t>(std::min(bytes, size - offset))));
    } catch (...) {
      problem_ = std::current_exception();
      return arrow::Status::IOError("cannot be read");
    }
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t offset, int64_t bytes) override {
    // A length that a damaged file claims is not taken on trust.
    const int64_t left =
        std::max<int64_t>(static_cast<int64_t>(bytes_.size) - std::max<int64_t>(offset, 0), 0);
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(std::min(bytes, left)));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(offset, buffer->size(), buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(got));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  arrow::Result<int64_t> Read(int64_t bytes, void* to) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(place_, bytes, to));
    place_ += got;
    return got;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(place_, bytes));
    place_ += buffer->size();
    return buffer;
  }

 private:
  ByteRange bytes_;
  int64_t place_ = 0;
  std::exception_ptr problem_;
};

/// The first line of what Arrow says, without its own prefixes.
std::string in_one_line(std::string what) {
  what.erase(std::min(what.find('\n'), what.size()));
  // A footer may be plain where columns are not.
  if (what.find("decrypt") != std::string::npos) return "its text is encrypted";
  for (const std::string prefix :
       {"IOError: ", "Invalid: ", "Parquet error: ", "Parquet/Thrift error: ", "Serialized page header"}) {
    if (what.rfind(prefix, 0) == 0 && prefix.back() == ' ') what.erase(0, prefix.size());
  }
  return what.empty() ? "it is damaged" : what;
}

/// One column of a row group.
class Cursor {
 public:
  Cursor(parquet::RowGroupReader& group, int column)
      : reader_(std::dynamic_pointer_cast<parquet::ByteArrayReader>(group.Column(column))),
        levels_(kRowsAtOnce),
        values_(kRowsAtOnce) {
    if (!reader_) throw std::runtime_error("a column is of another type than the schema says");
    nullable_ = reader_->descr()->max_definition_level();
  }

  bool has_next() { return level_ < level_count_ || reader_->HasNext(); }

  void skip(int64_t rows) {
    for (; rows > 0 && level_ < level_count_; --rows) next();
    if (rows > 0 && reader_->Skip(rows) != rows)
      throw std::runtime_error("a column has fewer rows than its group");
  }

  std::optional<std::string_view> next() {
    if (level_ == level_count_) fill();
    const bool is_null = nullable_ > 0 && levels_[static_cast<size_t>(level_)] < nullable_;
    ++level_;
    if (is_null) return std::nullopt;
    if (value_ == value_count_) throw std::runtime_error("a column has fewer values than it says");
    const parquet::ByteArray& value = values_[static_cast<size_t>(value_++)];
    return std::string_view(reinterpret_cast<const char*>(value.ptr), value.len);
  }

 private:
  void fill() {
    level_ = value_ = value_count_ = 0;
    level_count_ = reader_->ReadBatch(kRowsAtOnce, nullable_ > 0 ? levels_.data() : nullptr, nullptr,
                                      values_.data(), &value_count_);
    // Without nulls there are no levels to count.
    if (nullable_ == 0) level_count_ = value_count_;
    if (level_count_ <= 0) throw std::runtime_error("a column has fewer rows than its group");
  }

  std::shared_ptr<parquet::ByteArrayReader> reader_;
  int16_t nullable_ = 0;
  std::vector<int16_t> levels_;
  std::vector<parquet::ByteArray> values_;
  int64_t level_ = 0, level_count_ = 0, value_ = 0, value_count_ = 0;
};

class ArrowParquetFile : public ParquetFile {
 public:
  explicit ArrowParquetFile(ByteRange bytes) : file_(std::make_shared<File>(std::move(bytes))) {
    guarded([&] {
      parquet::ReaderProperties properties(&pool_);
      properties.enable_buffered_stream();
      properties.set_buffer_size(kReadAhead);
      properties.set_page_checksum_verification(true);
      reader_ = parquet::ParquetFileReader::Open(file_, properties);
      const parquet::SchemaDescriptor& schema = *reader_->metadata()->schema();
      for (int i = 0; i < schema.group_node()->field_count(); ++i) {
        const parquet::schema::NodePtr& node = schema.group_node()->field(i);
        columns_.push_back({node->name(), is_text(*node)});
        leaves_.push_back(columns_.back().is_text ? schema.ColumnIndex(*node) : -1);
      }
    });
  }

  const std::vector<Column>& columns() const override { return columns_; }

  void begin(const std::vector<size_t>& columns) override {
    chosen_.clear();
    for (const size_t column : columns) chosen_.push_back(leaves_.at(column));
    cursors_.clear();
    group_ = -1;
    row_ = rows_ = 0;
  }

  bool next(std::optional<std::string_view>& text) override {
    bool more = false;
    guarded([&] { more = next_row(text); });
    return more;
  }

 private:
  /// What Arrow throws, as what the interface promises.
  template <typename Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const std::bad_alloc&) {
      file_->rethrow();
      throw std::runtime_error("it asks for more memory than there is");
    } catch (const std::exception& error) {
      file_->rethrow();
      throw std::runtime_error(in_one_line(error.what()));
    }
  }

  static bool is_text(const parquet::schema::Node& node) {
    if (!node.is_primitive() || node.is_repeated()) return false;
    const auto& primitive = static_cast<const parquet::schema::PrimitiveNode&>(node);
    const auto& logical = node.logical_type();
    // Older writers say nothing of what bytes mean.
    return primitive.physical_type() == parquet::Type::BYTE_ARRAY &&
           (logical->is_string() || logical->is_none() || logical->is_JSON() || logical->is_enum());
  }

  void open_group() {
    rows_ = reader_->metadata()->RowGroup(group_)->num_rows();
    cursors_.clear();
    const auto group = reader_->RowGroup(group_);
    for (const int column : chosen_) cursors_.emplace_back(*group, column);
    behind_.assign(chosen_.size(), 0);
  }

  bool next_row(std::optional<std::string_view>& text) {
    while (row_ == rows_) {
      if (!cursors_.empty() && cursors_.front().has_next())
        throw std::runtime_error("a column has more rows than its group");
      if (++group_ >= reader_->metadata()->num_row_groups()) {
        cursors_.clear();
        group_ = reader_->metadata()->num_row_groups();
        return false;
      }
      row_ = 0;
      open_group();
    }
    ++row_;
    text.reset();
    // A later column is looked at where those before it are null, and brought up to this row only then.
    for (size_t i = 0; i < cursors_.size(); ++i) {
      if (text) {
        ++behind_[i];
        continue;
      }
      cursors_[i].skip(std::exchange(behind_[i], 0));
      text = cursors_[i].next();
    }
    return true;
  }

  std::shared_ptr<File> file_;
  arrow::CappedMemoryPool pool_{arrow::default_memory_pool(), kMostMemory};
  std::unique_ptr<parquet::ParquetFileReader> reader_;
  std::vector<Column> columns_;
  std::vector<int> leaves_, chosen_;  ///< columns by Parquet's count of them
  std::vector<Cursor> cursors_;
  std::vector<int64_t> behind_;  ///< rows that a cursor has not passed
  int group_ = -1;
  int64_t row_ = 0, rows_ = 0;  ///< of the group
};

}  // namespace
}  // namespace outliers::text

extern "C" __attribute__((visibility("default"))) outliers::text::ParquetFile* outliers_open_parquet(
    outliers::text::ByteRange file) {
  return new outliers::text::ArrowParquetFile(std::move(file));
}
