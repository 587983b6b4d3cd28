#include "outliers/io/quantized.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/io/quantized/method.h"

namespace outliers::io {
namespace {

constexpr struct {
  const char* name;
  quantized::Weights (*read)(const quantized::Method&);
} kMethods[] = {{"fp8", quantized::read_fp8},
                {"compressed-tensors", quantized::read_compressed_tensors},
                {"gptq", quantized::read_gptq},
                {"awq", quantized::read_awq},
                {"bitsandbytes", quantized::read_bitsandbytes},
                {"mxfp4", quantized::read_mxfp4}};

}  // namespace

std::unique_ptr<Checkpoint> dequantized(std::unique_ptr<Checkpoint> stored, const std::string& config,
                                        const std::string& where) {
  const auto parsed = parse_json<nlohmann::json>(config, where);
  require(parsed.is_object(), "{}: 'quantization_config' should be an object", where);
  const quantized::Method method(*stored, parsed, where);
  const std::string name = method.string("quant_method", "");
  for (const auto& known : kMethods) {
    if (name != known.name) continue;
    quantized::Weights weights = known.read(method);
    require(!weights.derived.empty(),
            "{}: the configuration says that weights are quantised by '{}', but none is", where, name);
    return std::make_unique<DerivedCheckpoint>(std::move(stored), std::move(weights.derived), weights.hidden);
  }
  std::vector<std::string> names;
  for (const auto& known : kMethods) names.emplace_back(known.name);
  fail(Cause{ErrorKind::unsupported},
       "{}: weights quantised by '{}' are not supported; known: {}. Use the unquantised checkpoint or a GGUF",
       where, name.empty() ? "an unnamed method" : printable(name), fmt::join(names, ", "));
}

}  // namespace outliers::io
