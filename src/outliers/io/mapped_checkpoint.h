// A checkpoint whose tensors lie in mapped files, each in one piece: GGUF and safetensors.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "outliers/io/checkpoint.h"
#include "outliers/io/mapped_file.h"

namespace outliers::io {

class MappedCheckpoint : public Checkpoint {
 public:
  void prefetch(const std::string& name) const override;
  void release(const std::string& name) const override;
  void prefetch_row(const std::string& name, int64_t row) const override;
  void release_row(const std::string& name, int64_t row) const override;

 protected:
  /// The tensors of one file and, in the same order, where each begins in it. `map` must live as long as the
  /// checkpoint. After the last file, finish().
  void add_file(const MappedFile& map, std::vector<TensorInfo> tensors, const std::vector<uint64_t>& offsets);
  void finish() { set_tensors(std::move(all_)); }
  const uint8_t* data(const TensorInfo& info) const override;

 private:
  struct Place {
    const MappedFile* map;
    uint64_t offset;
  };
  using Advice = void (MappedFile::*)(uint64_t, uint64_t) const;
  void advise(const std::string& name, Advice action) const;
  void advise_row(const std::string& name, int64_t row, Advice action) const;

  std::vector<TensorInfo> all_;  // until finish()
  std::unordered_map<std::string, Place> places_;
};

}  // namespace outliers::io
