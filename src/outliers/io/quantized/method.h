// What the readers of quantised weights share; one file a method beside this. Layouts are checked here once,
// with messages that name file and tensor.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "outliers/io/derived.h"

namespace outliers::io::quantized {

using nlohmann::json;

/// What reading one method needs: the stored tensors, and messages that name file and tensor.
class Method {
 public:
  Method(const Checkpoint& stored, const json& config, const std::string& where)
      : stored_(stored), config_(config), where_(where) {}

  /// config[key] as an integer; `otherwise` where it is absent or null.
  int64_t integer(const char* key, int64_t otherwise) const;
  std::string string(const char* key, const std::string& otherwise) const;
  /// object[key] as two positive numbers; zeros where it is absent or null.
  std::array<int64_t, 2> pair(const json& object, const char* key) const;
  /// Throws unless config[key] is one of `known`.
  void only(const char* key, const std::string& otherwise,
            std::initializer_list<std::string_view> known) const;

  /// The stems of all tensors that end with `suffix`, in file order.
  std::vector<std::string> stems(std::string_view suffix) const;
  /// The tensor `stem` + `suffix`, checked to have one of `encodings` and `dimensions`.
  const TensorInfo& part(const std::string& stem, const char* suffix,
                         const std::vector<std::string_view>& encodings, size_t dimensions) const;
  [[noreturn]] void wrong_shape(const TensorInfo& info, const std::string& wanted) const;
  void shape(const TensorInfo& info, const std::vector<int64_t>& wanted) const;
  /// The blocks that a scale of shape [R, C] stands for: `named` where it fits (the last ones may be cut),
  /// else an even division.
  std::array<int64_t, 2> blocks(const TensorInfo& weight, const TensorInfo& scale,
                                std::array<int64_t, 2> named) const;

  const Checkpoint& stored() const { return stored_; }
  const json& config() const { return config_; }
  const std::string& where() const { return where_; }

 private:
  const Checkpoint& stored_;
  const json& config_;
  const std::string& where_;
};

/// What a method makes of the stored tensors.
struct Weights {
  std::vector<DerivedTensor> derived;
  std::unordered_set<std::string> hidden;  ///< stored tensors that belong to no weight's values

  /// Hides all tensors of `m` that end with one of `suffixes`.
  void hide(const Method& m, std::initializer_list<std::string_view> suffixes);
};

Weights read_awq(const Method& m);
Weights read_bitsandbytes(const Method& m);
Weights read_compressed_tensors(const Method& m);
Weights read_fp8(const Method& m);
Weights read_gptq(const Method& m);
Weights read_mxfp4(const Method& m);

/// The encodings that scales are stored in.
extern const std::vector<std::string_view> kFloats;

inline int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b != 0);  // a group's size may be any number
}

/// int32 or int64 words along dimension `dim` -> 32 / bits values each, the lowest bits first.
at::Tensor unpack(const at::Tensor& words, int64_t bits, int64_t dim);

/// The group of each input channel, checked: stored (`named`) or by size.
at::Tensor groups_of(const Checkpoint& stored, const TensorInfo* named, int64_t in, int64_t group_size,
                     int64_t groups);

}  // namespace outliers::io::quantized
