// Tensors that wait on disk rather than in memory, each under the number it was given: read and written
// whole and in turn, so that the kernel reads ahead and writes behind. The file has no name from the moment
// it is made, so nothing stays on the disk however the process ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <ATen/core/Tensor.h>

namespace outliers {

class Spill {
 public:
  /// A file in `directory` with room for `bytes`. Throws where it cannot be made or the disk has no room.
  Spill(std::filesystem::path directory, uint64_t bytes);
  ~Spill();
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;

  /// Appends a tensor of any device and strides; returns its number, counted from 0.
  size_t add(const at::Tensor& x);
  /// Writes x in the place of another of its shape and dtype.
  void replace(size_t number, const at::Tensor& x);
  /// Contiguous, on the CPU.
  at::Tensor get(size_t number) const;
  /// Says that a tensor will be read soon.
  void expect(size_t number) const;
  /// Forgets all tensors; their space is used again.
  void clear();
  size_t size() const { return places_.size(); }
  /// Written so far, also over what was there before.
  uint64_t bytes_written() const { return written_; }

 private:
  struct Place {
    int64_t offset;
    std::vector<int64_t> shape;
    at::ScalarType dtype;
    size_t bytes;
  };
  [[noreturn]] void fail_write(int error) const;
  void write(const Place& place, const at::Tensor& x);

  std::filesystem::path directory_;
  int file_ = -1;
  std::vector<Place> places_;
  int64_t end_ = 0;
  uint64_t written_ = 0;
};

}  // namespace outliers
