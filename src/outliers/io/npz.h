// NumPy's .npz: a zip archive of .npy arrays. The writer streams array by array and does not compress
// (activations hardly shrink, and stored members can be mapped); the reader takes stored and deflated
// members, so numpy.savez and savez_compressed files open too.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/output.h"

namespace outliers::io {

/// float16, float32, float64, bool, uint8 and signed integers keep their dtype; bfloat16, which NumPy does
/// not have, is written as float32 (the values are the same).
class NpzWriter {
 public:
  explicit NpzWriter(const std::filesystem::path& path, bool force = false);
  /// Throws for a name that was added before or a dtype NumPy does not have.
  void add(const std::string& name, const at::Tensor& tensor);
  /// Writes the archive's directory and renames the file to its final name.
  void commit();

 private:
  struct Member {
    std::string name;
    uint32_t crc;
    uint64_t bytes, offset;
  };
  OutputFile file_;
  std::vector<Member> members_;
};

/// An .npy file alone, as NpzReader::read gives its arrays.
at::Tensor read_npy(const std::filesystem::path& path);

/// An array that is read in parts, so that no more of it is held than is asked for. Outlived by its reader.
class NpzArray {
 public:
  struct State;
  explicit NpzArray(std::unique_ptr<State> state);
  ~NpzArray();
  NpzArray(NpzArray&&) noexcept;

  const std::vector<int64_t>& shape() const;
  at::ScalarType dtype() const;
  /// The next `count` values in C order: [count]. An array in Fortran order is held whole for it.
  at::Tensor next(int64_t count);
  /// The array in its shape, of which no part was read before.
  at::Tensor whole();
  /// Throws where all was read and is not what was written (CRC-32).
  void finish();

 private:
  std::unique_ptr<State> state_;
};

/// Holds the archive's directory; arrays are read when asked for.
class NpzReader {
 public:
  /// Throws for a file that is no zip archive, or that claims what cannot be.
  explicit NpzReader(const std::filesystem::path& path);
  ~NpzReader();
  NpzReader(NpzReader&&) noexcept;

  /// Without ".npy", in file order.
  const std::vector<std::string>& names() const;
  bool has(const std::string& name) const;
  /// A CPU tensor of its own, in C order; throws for an unknown name, a damaged member (CRC-32), an object
  /// array or a dtype LibTorch does not have.
  at::Tensor read(const std::string& name) const;
  /// The same in parts. What the array claims is checked against the member's size before any value is
  /// unpacked.
  NpzArray open(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outliers::io
