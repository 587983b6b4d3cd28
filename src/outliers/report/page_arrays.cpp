#include "outliers/report/page_arrays.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <ATen/ATen.h>
#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/report/measured.h"
#include "outliers/results/field.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

// Of the page's 8 MB plotly.js takes two and results.json less than one; base64 adds a third to these.
constexpr int64_t kActivationBytes = 1'200'000, kColumnBytes = 600'000, kMapBytes = 900'000;
/// Of the arrays that have a value for each of a prompt's tokens, in each layer.
constexpr int64_t kTokenBytes = 900'000;
/// Of each array of a life cycle, and the tokens of one.
constexpr int64_t kLifeBytes = 24'000, kLifeRows = 16;

class Writer {
 public:
  /// float [L, ...], as it is.
  ordered_json floats(const at::Tensor& x) {
    const at::Tensor values = x.to(at::kFloat).contiguous();
    align();
    ordered_json spec = {{"shape", std::vector<int64_t>(x.sizes().begin(), x.sizes().end())},
                         {"values", arrays.bytes.size()}};
    static_assert(std::endian::native == std::endian::little);
    arrays.bytes.append(reinterpret_cast<const char*>(values.const_data_ptr<float>()),
                        static_cast<size_t>(values.numel()) * sizeof(float));
    return spec;
  }

  /// float [L, R, C]: [L, R, B], each the value largest by abs x of `bucket` neighbours, and where in
  /// its bucket it stood.
  ordered_json buckets(const at::Tensor& x, int64_t budget) {
    const at::Tensor values = x.to(at::kFloat).contiguous();
    const int64_t L = x.size(0), R = x.size(1), C = x.size(2);
    int64_t bucket = 1;
    // A value without buckets takes four bytes, one of a bucket six.
    while (L * R * ((C + bucket - 1) / bucket) * (bucket == 1 ? 4 : 6) > budget && bucket < C) bucket *= 2;
    const int64_t B = (C + bucket - 1) / bucket;
    const at::Tensor kept = at::empty({L, R, B}), places = at::empty({L, R, B}, at::kInt);
    const float* in = values.const_data_ptr<float>();
    auto* out = kept.mutable_data_ptr<float>();
    auto* where = places.mutable_data_ptr<int32_t>();
    for (int64_t row = 0; row < L * R; ++row, in += C) {
      for (int64_t b = 0; b < B; ++b) {
        int64_t best = b * bucket;
        for (int64_t c = best + 1; c < std::min(C, (b + 1) * bucket); ++c) {
          // A NaN gives way to any number.
          if (std::isnan(in[best]) || std::abs(in[c]) > std::abs(in[best])) best = c;
        }
        *out++ = in[best];
        *where++ = static_cast<int32_t>(best - b * bucket);
      }
    }
    ordered_json spec = floats(kept);
    spec["channels"] = C;
    spec["bucket"] = bucket;
    spec["places"] = nullptr;
    if (bucket > 1) {
      spec["places"] = arrays.bytes.size();
      for (int64_t i = 0; i < places.numel(); ++i) put(static_cast<uint16_t>(places.data_ptr<int32_t>()[i]));
    }
    return spec;
  }

  /// float [M.., P, P]: the first `tokens` rows, row by row, in 65534ths, 65535 for what is not finite; of
  /// causal maps the lower triangles.
  ordered_json maps(const at::Tensor& x, int64_t tokens, bool causal) {
    const at::Tensor values = x.to(at::kFloat).contiguous();
    std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end() - 1);
    shape.back() = tokens;
    ordered_json spec = {{"shape", shape}, {"values", arrays.bytes.size()}, {"causal", causal}};
    const int64_t P = x.size(-1), count = P > 0 ? x.numel() / (P * P) : 0;
    for (int64_t m = 0; m < count; ++m) {
      const float* map = values.const_data_ptr<float>() + m * P * P;
      for (int64_t q = 0; q < tokens; ++q) {
        for (int64_t k = 0; k < (causal ? q + 1 : tokens); ++k) {
          const float p = map[q * P + k];
          put(static_cast<uint16_t>(std::isfinite(p) ? std::lround(std::clamp(p, 0.0F, 1.0F) * 65534)
                                                     : 65535));
        }
      }
    }
    return spec;
  }

  PageArrays arrays;

 private:
  /// Floats stand at multiples of four bytes.
  void align() { arrays.bytes.resize((arrays.bytes.size() + 3) / 4 * 4); }
  void put(uint16_t value) {
    char little[2] = {static_cast<char>(value & 0xFF), static_cast<char>(value >> 8)};
    arrays.bytes.append(little, 2);
  }
};

/// The first tokens of a prompt whose maps fit `budget`.
int64_t tokens_that_fit(int64_t maps, int64_t tokens, int64_t budget, bool causal) {
  while (tokens > 1 && maps * tokens * (causal ? tokens + 1 : 2 * tokens) > budget) --tokens;
  return tokens;
}

/// The flow of its life cycle, as arrays of one layer.
void add_life(Writer& writer, const Results& results, const results::Input& prompt, int64_t prompts) {
  for (const results::ArrayField& field : results::array_table()) {
    const std::string_view name = field.name, shape = field.shape;
    if (!name.starts_with("life.") || !results.has(name, &prompt)) continue;
    at::Tensor x = results.array(name, &prompt);
    if (x.size(0) > kLifeRows) x = x.narrow(0, 0, kLifeRows);
    ordered_json& entry = writer.arrays.index[fmt::format("{}.{}", prompt.name, name)];
    if (x.dim() == 1 || shape == "J J") {
      entry = writer.floats(x.dim() == 1 ? x.unsqueeze(0) : x.narrow(1, 0, x.size(0)).unsqueeze(0));
    } else {
      entry = writer.buckets(x.unsqueeze(0), kLifeBytes / prompts);
    }
  }
}

/// What the page draws of one prompt, in its part of the bytes.
void add_prompt(Writer& writer, const Results& results, const results::Input& prompt, int64_t tokens,
                int64_t prompts) {
  ordered_json& index = writer.arrays.index;
  const auto name = [&](std::string_view array) { return fmt::format("{}.{}", prompt.name, array); };
  const auto by_token = [&](const std::string& array, const std::string& as) {
    if (results.has(array, &prompt))
      index[name(as)] = writer.floats(results.array(array, &prompt).select(1, 0).narrow(1, 0, tokens));
  };
  const int64_t rows = std::min(prompt.kept_tokens, tokens);
  for (const char* point : results::kPoints) {
    if (rows > 0 && results.has(point, &prompt)) {
      const at::Tensor x = results.array(point, &prompt).narrow(1, 0, rows);
      index[name(point)] = writer.buckets(x, kActivationBytes / prompts);
    }
  }
  for (const char* point : results::kPoints)
    by_token(fmt::format("{}.token_max", point), fmt::format("token_max.{}", point));
  add_life(writer, results, prompt, prompts);
  by_token("resid_out.token_norm", "token_norm");
  by_token("attention.key_scores", "key_scores");
  if (!results.has("attention.probs_mean", &prompt)) return;
  const bool causal = !results.data.images;
  const int64_t L = results.data.model.layers, budget = kMapBytes / prompts;
  const int64_t shown = tokens_that_fit(L, tokens, budget, causal);
  index[name("probs_mean")] = writer.maps(results.array("attention.probs_mean", &prompt), shown, causal);
  // Single heads only where all of the tokens shown fit: a map should not change its size with the head.
  if (tokens_that_fit(L * results.data.model.heads, shown, budget, causal) == shown)
    index[name("probs")] = writer.maps(results.array("attention.probs", &prompt), shown, causal);
}

void add_columns(Writer& writer, const Results& results) {
  ordered_json columns = writer.buckets(results.array("weights.down.columns"), kColumnBytes);
  const at::Tensor numbers = results.array("weights.down.column_index").to(at::kLong).contiguous();
  columns["index"] = ordered_json::array();
  for (int64_t l = 0; l < numbers.size(0); ++l) {
    const int64_t* row = numbers.const_data_ptr<int64_t>() + l * numbers.size(1);
    columns["index"].push_back(std::vector<int64_t>(row, row + numbers.size(1)));
  }
  writer.arrays.index["columns"] = std::move(columns);
}

}  // namespace

int64_t page_tokens(const results::Results& r) {
  const auto prompts = static_cast<int64_t>(inputs_of(r, results::InputKind::prompt).size());
  int64_t longest = 1;
  for (const results::Input& input : r.inputs) {
    if (input.is_prompt()) longest = std::max(longest, input.tokens_per_sequence);
  }
  const int64_t each = r.model.layers * 3 * 4 * std::max<int64_t>(prompts, 1);  // three arrays of float32
  return std::clamp<int64_t>(kTokenBytes / each, 1, longest);
}

PageArrays page_arrays(const Results& results, int64_t tokens) {
  Writer writer;
  writer.arrays.index = ordered_json::object();
  const auto prompts = inputs_of(results.data, results::InputKind::prompt);
  for (const results::Input* prompt : prompts) {
    add_prompt(writer, results, *prompt, std::min(tokens, prompt->tokens_per_sequence),
               static_cast<int64_t>(prompts.size()));
  }
  if (results.has("weights.down.columns")) add_columns(writer, results);
  return std::move(writer.arrays);
}

std::string packed(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string deflated(size, '\0');
  const int status =
      compress2(reinterpret_cast<Bytef*>(deflated.data()), &size,
                reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), Z_BEST_COMPRESSION);
  require(status == Z_OK, Cause{ErrorKind::memory}, "cannot compress the page's arrays: out of memory");
  deflated.resize(size);

  static const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((deflated.size() + 2) / 3 * 4);
  for (size_t i = 0; i < deflated.size(); i += 3) {
    const size_t left = std::min<size_t>(3, deflated.size() - i);
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) {
      three = three << 8 | (k < left ? static_cast<unsigned char>(deflated[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) text += k <= left ? alphabet[three >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace outliers::report
