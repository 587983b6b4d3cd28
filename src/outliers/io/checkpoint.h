// A checkpoint as a set of named tensors: one GGUF file, one safetensors or PyTorch file, or a Hugging Face
// directory with one or many of these. Knows names, shapes and encodings; knows no model. Files are mapped,
// never read whole, and every offset, product and count in them is checked before use.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"

namespace outliers::io {

enum class Format { gguf, safetensors, pytorch, last = pytorch };
OUTLIERS_API const char* format_name(Format format);

/// One tensor as stored.
struct OUTLIERS_API TensorInfo {
  std::string name;            ///< as in the file
  std::vector<int64_t> shape;  ///< row-major, outermost first (GGUF's order reversed), as PyTorch shows it
  std::string encoding;        ///< "F32", "BF16", "Q4_K", "F8_E4M3", ...
  uint64_t bytes = 0;          ///< size in the file
  int64_t elements() const;
};

class GgufMetadata;  // io/gguf.h

/// Thread-safe for reading. Tensors handed out own their memory.
class OUTLIERS_API Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// Opens a GGUF, safetensors or PyTorch file, an index of many, one of several shards, which stands for
  /// all, or a directory that holds one checkpoint (io/checkpoint_files.h). Throws for a directory that holds
  /// two. Only headers are read.
  static std::unique_ptr<Checkpoint> open(const std::filesystem::path& path);

  virtual Format format() const = 0;
  const std::filesystem::path& path() const { return path_; }
  /// All tensors, in file order.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// nullptr when there is none of that name.
  const TensorInfo* find(const std::string& name) const;
  /// Sum of the tensors' stored bytes.
  uint64_t weight_bytes() const;

  /// The whole tensor dequantised to `dtype` (float32, float16, bfloat16 or float64), in TensorInfo::shape,
  /// on the CPU. Dequantisation is exact in float32 (bit-equal to gguf-py), then rounded once to `dtype`.
  /// Integer tensors (I8..I64, U8..U64, BOOL) are converted the same way. Throws for an unknown name.
  at::Tensor load(const std::string& name, at::ScalarType dtype) const;
  /// Rows `rows` (int64 [n], along dimension 0) of a tensor of two or more dimensions; reads only those rows.
  at::Tensor load_rows(const std::string& name, const at::Tensor& rows, at::ScalarType dtype) const;
  /// Rows [begin, end) along dimension 0. Of a U8 tensor also as kByte.
  at::Tensor load_row_range(const std::string& name, int64_t begin, int64_t end, at::ScalarType dtype) const;
  /// The dtype the tensor is stored in, or float32 for quantised and integer encodings.
  virtual at::ScalarType native_dtype(const std::string& name) const;
  /// Bytes of the file's tensors that were decoded so far; those decoded twice count twice.
  virtual uint64_t bytes_read() const { return bytes_read_; }

  /// Asks the kernel to read the tensor's pages in the background / to forget them.
  virtual void prefetch(const std::string& name) const = 0;
  virtual void release(const std::string& name) const = 0;
  /// The same for one row along dimension 0; nothing where the format cannot.
  virtual void prefetch_row(const std::string& name, int64_t row) const {
    (void)name;
    (void)row;
  }
  virtual void release_row(const std::string& name, int64_t row) const {
    (void)name;
    (void)row;
  }

  /// GGUF only: its key/value metadata; nullptr for the others.
  virtual const GgufMetadata* metadata() const { return nullptr; }
  /// The directory where config.json, tokenizer.json and the like stand beside the weights.
  std::filesystem::path directory() const;

 protected:
  /// First byte of the tensor in its mapped file; TensorInfo::bytes follow. Already checked to lie in the
  /// file. Not called where decode() does without.
  virtual const uint8_t* data(const TensorInfo& info) const = 0;
  /// `elements` values from the flat index `first` on, as a vector. Both are whole rows, and so whole blocks.
  virtual at::Tensor decode(const TensorInfo& info, int64_t first, int64_t elements,
                            at::ScalarType dtype) const;
  /// The same of values that stand contiguously from `bytes` on.
  static at::Tensor decode_bytes(const std::string& encoding, const uint8_t* bytes, int64_t elements,
                                 at::ScalarType dtype);
  void count_read(uint64_t bytes) const { bytes_read_ += bytes; }
  /// Size of one row along dimension 0.
  static uint64_t row_bytes(const TensorInfo& info);
  /// Takes over the tensors; throws for a name that occurs twice, or elements that do not fit their bytes.
  void set_tensors(std::vector<TensorInfo> tensors);
  /// find(), or an Error that names the nearest tensor.
  const TensorInfo& at(const std::string& name) const;

  std::filesystem::path path_;

 private:
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> index_;
  mutable std::atomic<uint64_t> bytes_read_ = 0;
};

}  // namespace outliers::io
