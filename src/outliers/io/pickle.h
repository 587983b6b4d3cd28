// The pickles of torch.save, read by an interpreter of pickle opcodes (Python's Lib/pickletools.py, torch's
// serialization.py and _utils.py) that builds plain values and tensors and nothing else. A pickle that names
// any other function or class is refused by that name; nothing is ever executed or imported.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "outliers/io/dequantize.h"

namespace outliers::io {

/// Memory that tensors are views of.
struct PickledStorage {
  std::string key;       ///< names its bytes in the file
  int64_t elements = 0;  ///< of `element_bytes` each
  int64_t element_bytes = 0;
};

/// A strided view: element (i, j, ...) stands `offset` + i * strides[0] + j * strides[1] + ... elements into
/// the storage. Checked to lie in it.
struct PickledTensor {
  std::string name;
  size_t storage = 0;  ///< index into Unpickled::storages
  const Encoding* encoding = nullptr;
  int64_t offset = 0;
  std::vector<int64_t> shape, strides;
};

struct Unpickled {
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;  ///< the state dict, in its order
};

/// data.pkl of a zip archive: one pickle. `where` names the file in messages.
Unpickled unpickle_state_dict(std::span<const uint8_t> pickle, const std::string& where);

/// A file of the legacy format (torch < 1.6): magic number, version, system, state dict, keys, and then the
/// storages' bytes.
struct LegacyFile {
  Unpickled contents;
  std::vector<std::string> keys;  ///< of the storages, in the order of their bytes
  uint64_t data_start = 0;        ///< where the first storage's length stands
};
LegacyFile unpickle_legacy(std::span<const uint8_t> file, const std::string& where);

}  // namespace outliers::io
