// How it works. A tile is kLanes queries of one head, one query per vector lane. Its scores are held as
// [keys][kLanes], so the softmax runs down the keys with no reduction across lanes, K and V are read as they
// lie in memory (no packing), and both matrix products are one micro-kernel: rows of A broadcast against
// vectors of B, with the result in registers.
//   scores [n, lanes] = K [n, d] . Q^T [d, lanes]     (Q^T packed once per tile)
//   output [lanes, d] = P^T . V [n, d]                (P = scores after exp, read along its contiguous lanes)
// Probabilities stay unnormalised; 1/sum goes into the output and the sums of keys. Masked entries never meet
// V, so a NaN in a token's value cannot reach the tokens before it.
#include "outliers/ops/cpu/attention.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/ops/blocked_attention.h"
#include "outliers/ops/cpu/micro_kernel.h"
#include "outliers/ops/cpu/simd.h"

namespace outliers::ops::cpu {

namespace {

using simd::Ints;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Queries of one task. It depends on nothing but the shape, so results do not depend on the thread count.
constexpr int64_t kQueriesPerTask = 256 / kLanes * kLanes;
constexpr int64_t kProductsPerThread = int64_t{1} << 21;
/// Keys whose values are kept in the first-level cache while all rows of a tile use them.
constexpr int64_t kKeysPerBlock = 64;

/// What every tile of one call shares.
struct Job {
  at::Tensor q, k, v;  // float32, last axis contiguous
  AttentionPattern pattern;
  int64_t B, H, Hk, T, S, d, dv;
  const float* sinks = nullptr;   // [H]
  const float* slopes = nullptr;  // [H]
  bool with_sums = false;
  int64_t sink_queries = 0, sink_keys = 0;
  // Per task: column sums of its queries, [tasks per head, B, H, S], and of the first sink_queries,
  // [tasks per head, B, H, sink_keys].
  float* key_sums = nullptr;
  float* sink_key_sums = nullptr;
  // Likewise, of each head: its largest and smallest score, the sum of the queries' entropies, and how many
  // of them look at the first key most.
  float *logit_max = nullptr, *logit_min = nullptr, *entropy = nullptr, *first_is_top = nullptr;
};

int64_t whole_vectors(int64_t n) {
  return (n + kWidth - 1) / kWidth * kWidth;
}

/// Working memory of one thread; tensors, because their memory starts on a cache line.
struct Workspace {
  explicit Workspace(const Job& job)
      : memory{at::empty({job.d, kLanes}, at::kFloat), at::empty({job.S, kLanes}, at::kFloat),
               at::empty({kLanes, whole_vectors(job.dv)}, at::kFloat)} {}
  std::array<at::Tensor, 3> memory;
  float* queries = memory[0].mutable_data_ptr<float>();  // [d, kLanes]
  float* scores = memory[1].mutable_data_ptr<float>();   // [S, kLanes]
  float* output = memory[2].mutable_data_ptr<float>();   // [kLanes, dv rounded up to vectors]
};

/// One tile: queries first .. first + lanes of head h of sequence b.
class Tile {
 public:
  Tile(const Job& job, Workspace& work, int64_t b, int64_t h, int64_t first)
      : job_(job),
        work_(work),
        b_(b),
        h_(h),
        first_(first),
        lanes_(std::min<int64_t>(kLanes, job.T - first)),
        vectors_(static_cast<int>((lanes_ + kWidth - 1) / kWidth)),
        position_(job.S - job.T + first),
        keys_(detail::visible_keys(first, first + lanes_, job.T, job.S, job.pattern)) {
    const int64_t group = job.H / job.Hk;
    k_ = job.k.const_data_ptr<float>() + b * job.k.stride(0) + h / group * job.k.stride(1);
    v_ = job.v.const_data_ptr<float>() + b * job.v.stride(0) + h / group * job.v.stride(1);
  }

  void run() {
    pack_queries();
    compute_scores();
    exponentiate();
    multiply_values();
  }

  /// Raises and lowers a head's largest and smallest score to the tile's.
  void add_extremes(float* largest, float* smallest) const {
    for (int64_t lane = 0; lane < lanes_; ++lane) {
      *largest = std::max(*largest, highest_[lane / kWidth][lane % kWidth]);
      *smallest = std::min(*smallest, lowest_[lane / kWidth][lane % kWidth]);
    }
  }

  /// Adds the tile's column sums to key_sums [S], and those of the first sink_queries queries to
  /// sink_key_sums [sink_keys].
  void add_sums(float* key_sums, float* sink_key_sums) const {
    for (int64_t key = keys_.begin; key < keys_.end; ++key) {
      key_sums[key] += simd::sum(sum_of_lanes(score_row(key), lanes_));
    }
    const int64_t counted = std::min(lanes_, job_.sink_queries - first_);
    if (counted <= 0) return;
    for (int64_t key = keys_.begin; key < std::min(keys_.end, job_.sink_keys); ++key) {
      sink_key_sums[key] += simd::sum(sum_of_lanes(score_row(key), counted));
    }
  }

  /// Adds the entropies of the tile's queries, and how many of them, but the first of all, look at the first
  /// key most.
  void add_rows(float* entropy, float* first_is_top) const {
    for (int64_t lane = 0; lane < lanes_; ++lane) {
      const int64_t n = lane / kWidth, i = lane % kWidth;
      // -sum p log p of p = e^x / Z: log Z sum p - sum p x.
      const float inverse = inverse_[n][i];
      *entropy += -std::log(inverse) * (of_keys_[n][i] * inverse) - weighted_[n][i] * inverse;
      if (first_ + lane > 0 && keys_.begin == 0 && first_scores_[n][i] >= highest_[n][i]) *first_is_top += 1;
    }
  }

  /// Writes the rows of the output to out [lanes, dv].
  template <typename Scalar>
  void write_output(Scalar* out, int64_t stride) const {
    for (int64_t lane = 0; lane < lanes_; ++lane) {
      const float factor = inverse_[lane / kWidth][lane % kWidth];
      const float* row = work_.output + lane * output_stride();
      for (int64_t c = 0; c < job_.dv; ++c) out[lane * stride + c] = static_cast<Scalar>(row[c] * factor);
    }
  }

 private:
  /// Probabilities of one key, those of the first `lanes` queries, added up to one vector.
  Floats sum_of_lanes(const float* row, int64_t lanes) const {
    Floats part{};
    for (int n = 0; n < vectors_; ++n) {
      const Ints lane = simd::lane_numbers() + n * kWidth;
      const Floats p = simd::load(row + n * kWidth) * inverse_[n];
      part += lane < static_cast<int32_t>(lanes) ? p : Floats{};
    }
    return part;
  }
  float* score_row(int64_t key) const { return work_.scores + (key - keys_.begin) * kLanes; }
  int64_t output_stride() const { return whole_vectors(job_.dv); }

  /// First and one past the last key that a lane sees.
  int64_t lane_begin(int64_t lane) const {
    return job_.pattern.window > 0 ? std::max<int64_t>(0, position_ + lane - job_.pattern.window + 1) : 0;
  }
  int64_t lane_end(int64_t lane) const { return job_.pattern.causal ? position_ + lane + 1 : job_.S; }

  void pack_queries() {
    const float* q = job_.q.const_data_ptr<float>() + b_ * job_.q.stride(0) + h_ * job_.q.stride(1) +
                     first_ * job_.q.stride(2);
    const int64_t stride = job_.q.stride(2);
    const auto scale = static_cast<float>(job_.pattern.scale);
    float* packed = work_.queries;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
      for (int64_t c = 0; c < job_.d; ++c) packed[c * kLanes + lane] = q[lane * stride + c] * scale;
    }
    for (int64_t lane = lanes_; lane < vectors_ * kWidth; ++lane) {
      for (int64_t c = 0; c < job_.d; ++c) packed[c * kLanes + lane] = 0;
    }
  }

  void compute_scores() {
    for (int n = 0; n < kVectors; ++n) {
      largest_[n] = highest_[n] = simd::broadcast(kMinusInfinity);
      lowest_[n] = simd::broadcast(-kMinusInfinity);
    }
    for (int64_t key = keys_.begin; key < keys_.end; key += kRows) {
      const auto rows = static_cast<int>(std::min<int64_t>(kRows, keys_.end - key));
      // Past the diagonal the first vectors of lanes see none of these keys.
      int skipped = 0;
      if (job_.pattern.causal && key > position_) skipped = static_cast<int>((key - position_) / kWidth);
      kMultiply[rows - 1][vectors_ - skipped - 1](k_ + key * job_.k.stride(2), job_.k.stride(2), 1,
                                                  work_.queries + skipped * kWidth, kLanes,
                                                  score_row(key) + skipped * kWidth, kLanes, job_.d, false);
      for (int r = 0; r < rows; ++r) finish_scores(key + r, skipped);
    }
    for (int n = 0; n < kVectors; ++n) {
      const Floats sink = simd::broadcast(job_.sinks ? job_.sinks[h_] : kMinusInfinity);
      largest_[n] = sink > highest_[n] ? sink : highest_[n];
    }
  }

  /// Soft-cap, bias and mask of one key's scores, and the running extremes of each lane.
  void finish_scores(int64_t key, int skipped) {
    float* row = score_row(key);
    const bool masked = key >= lane_end(0) || key < lane_begin(lanes_ - 1);
    for (int n = 0; n < vectors_; ++n) {
      Floats x = n < skipped ? simd::broadcast(kMinusInfinity) : simd::load(row + n * kWidth);
      if (job_.pattern.softcap > 0) {
        const auto cap = static_cast<float>(job_.pattern.softcap);
        x = simd::tanh(x * (1.0f / cap)) * cap;
      }
      const Ints distance =
          simd::lane_numbers() + static_cast<int32_t>(position_ + n * kWidth - key);  // query minus key
      if (job_.slopes) x -= __builtin_convertvector(distance, Floats) * job_.slopes[h_];
      Floats low = x;
      if (masked) {
        Ints hidden{};
        if (job_.pattern.causal) hidden = distance < 0;
        if (job_.pattern.window > 0) {
          const auto window = static_cast<int32_t>(std::min<int64_t>(job_.pattern.window, INT32_MAX));
          hidden |= distance >= window;
        }
        x = hidden ? simd::broadcast(kMinusInfinity) : x;
        low = hidden ? simd::broadcast(-kMinusInfinity) : low;
      }
      highest_[n] = x > highest_[n] ? x : highest_[n];
      lowest_[n] = low < lowest_[n] ? low : lowest_[n];
      if (masked || job_.slopes || job_.pattern.softcap > 0) simd::store(row + n * kWidth, x);
    }
  }

  /// Scores -> e^(score - largest), and the inverse of each lane's sum.
  void exponentiate() {
    if (job_.with_sums) {
      for (int n = 0; n < vectors_; ++n) {
        first_scores_[n] = simd::load(score_row(keys_.begin) + n * kWidth);
        weighted_[n] = Floats{};
      }
      exponentiate_keys<true>();
    } else {
      exponentiate_keys<false>();
    }
    for (int n = 0; n < vectors_; ++n) {
      Floats total = of_keys_[n];
      if (job_.sinks) total += simd::exp_nonpositive(simd::broadcast(job_.sinks[h_]) - largest_[n]);
      inverse_[n] = 1.0f / total;
    }
  }

  template <bool weighted>
  void exponentiate_keys() {
    for (int n = 0; n < vectors_; ++n) of_keys_[n] = Floats{};
    for (int64_t key = keys_.begin; key < keys_.end; ++key) {
      float* row = score_row(key);
      for (int n = 0; n < vectors_; ++n) {
        const Floats x = simd::load(row + n * kWidth) - largest_[n];
        const Floats p = simd::exp_nonpositive(x);
        simd::store(row + n * kWidth, p);
        of_keys_[n] += p;
        // A masked key's x is -inf, and p x would be NaN.
        if constexpr (weighted) weighted_[n] += p == 0.0f ? Floats{} : p * x;
      }
    }
  }

  void multiply_values() {
    std::fill_n(work_.output, lanes_ * output_stride(), 0.0f);
    for (int64_t begin = keys_.begin; begin < keys_.end; begin += kKeysPerBlock) {
      const int64_t end = std::min(keys_.end, begin + kKeysPerBlock);
      for (int64_t lane = 0; lane < lanes_; lane += kRows) {
        const auto rows = std::min<int64_t>(kRows, lanes_ - lane);
        // Keys that all of these lanes see go through the micro-kernel together, the few others lane by lane.
        const int64_t from = std::clamp(lane_begin(lane + rows - 1), begin, end);
        const int64_t to = std::clamp(lane_end(lane), from, end);
        add_values(lane, static_cast<int>(rows), from, to);
        for (int64_t single = lane; single < lane + rows; ++single) {
          add_values(single, 1, std::clamp(lane_begin(single), begin, end), std::min(from, lane_end(single)));
          add_values(single, 1, std::max(to, lane_begin(single)), std::clamp(lane_end(single), begin, end));
        }
      }
    }
  }

  /// output [rows lanes, dv] += P^T . V over keys [from, to).
  void add_values(int64_t lane, int rows, int64_t from, int64_t to) {
    if (from >= to) return;
    for (int64_t c = 0; c < output_stride(); c += kVectors * kWidth) {
      const int vectors = static_cast<int>(std::min<int64_t>(kVectors, (output_stride() - c) / kWidth));
      kMultiply[rows - 1][vectors - 1](score_row(from) + lane, 1, kLanes, v_ + from * job_.v.stride(2) + c,
                                       job_.v.stride(2), work_.output + lane * output_stride() + c,
                                       output_stride(), to - from, true);
    }
  }

  const Job& job_;
  Workspace& work_;
  const int64_t b_, h_, first_;
  const int64_t lanes_;
  const int vectors_;       // of lanes
  const int64_t position_;  // of the first query among the keys
  const detail::KeyRange keys_;
  const float *k_, *v_;
  Floats highest_[kVectors], lowest_[kVectors];   // scores of each lane
  Floats largest_[kVectors], inverse_[kVectors];  // what joins its softmax at most, and 1 over its sum
  Floats of_keys_[kVectors];                      // the part of that sum which is the keys'
  Floats weighted_[kVectors];      // of e^x x, x its scores less the largest; only with sums, as
  Floats first_scores_[kVectors];  // those of the first key of the tile
};

/// float32 with a contiguous last axis, padded to whole vectors where `padded` asks for it.
at::Tensor prepare(const at::Tensor& x, bool padded) {
  at::Tensor result = x.to(at::kFloat);
  if (padded && x.size(3) % kWidth != 0) {
    result = at::constant_pad_nd(result, {0, kWidth - x.size(3) % kWidth});
  }
  return result.stride(3) == 1 ? result : result.contiguous();
}

int64_t tasks_per_head(const Job& job) {
  return (job.T + kQueriesPerTask - 1) / kQueriesPerTask;
}

/// A thread is worth waking for a few million products.
int64_t threads_for(const Job& job) {
  const int64_t useful = 1 + job.B * job.H * job.T * job.S * job.d / kProductsPerThread;
  return std::min({static_cast<int64_t>(at::get_num_threads()), tasks_per_head(job) * job.B * job.H, useful});
}

template <typename Scalar>
void run_tasks(const Job& job, at::Tensor& out) {
  const int64_t parts = tasks_per_head(job), tasks = parts * job.B * job.H;
  // Threads take tasks as they finish others; under a causal mask the last queries are the most work, so they
  // go first.
  std::atomic<int64_t> next{0};
  const auto worker = [&] {
    Workspace work(job);
    for (int64_t task = next++; task < tasks; task = next++) {
      const int64_t part = parts - 1 - task / (job.B * job.H), head = task % (job.B * job.H);
      const int64_t b = head / job.H, h = head % job.H;
      const int64_t last = std::min(job.T, (part + 1) * kQueriesPerTask);
      for (int64_t first = part * kQueriesPerTask; first < last; first += kLanes) {
        Tile tile(job, work, b, h, first);
        tile.run();
        tile.write_output(
            out.mutable_data_ptr<Scalar>() + b * out.stride(0) + h * out.stride(1) + first * out.stride(2),
            out.stride(2));
        if (job.with_sums) {
          const int64_t row = part * job.B * job.H + head;
          tile.add_sums(job.key_sums + row * job.S, job.sink_key_sums + row * job.sink_keys);
          tile.add_extremes(job.logit_max + row, job.logit_min + row);
          tile.add_rows(job.entropy + row, job.first_is_top + row);
        }
      }
    }
  };
  at::parallel_for(0, threads_for(job), 1, [&](int64_t, int64_t) { worker(); });
}

/// What the tasks find, each its own part; undefined where nobody wants it.
struct Parts {
  at::Tensor key_sums, sink_key_sums, logit_max, logit_min, entropy, first_is_top;
};

void compute(Job& job, Parts& parts, at::Tensor& out) {
  at::Tensor sinks, slopes;  // keep the pointers alive
  if (job.pattern.sinks.defined()) {
    sinks = job.pattern.sinks.to(at::kCPU, at::kFloat).contiguous();
    job.sinks = sinks.const_data_ptr<float>();
  }
  if (job.pattern.alibi_slopes.defined()) {
    slopes = job.pattern.alibi_slopes.to(at::kCPU, at::kFloat).contiguous();
    job.slopes = slopes.const_data_ptr<float>();
  }
  if (parts.key_sums.defined()) {
    job.with_sums = true;
    job.key_sums = parts.key_sums.mutable_data_ptr<float>();
    job.sink_key_sums = parts.sink_key_sums.mutable_data_ptr<float>();
    job.entropy = parts.entropy.mutable_data_ptr<float>();
    job.first_is_top = parts.first_is_top.mutable_data_ptr<float>();
    job.logit_max = parts.logit_max.mutable_data_ptr<float>();
    job.logit_min = parts.logit_min.mutable_data_ptr<float>();
  }
  switch (out.scalar_type()) {
    case at::kFloat:
      run_tasks<float>(job, out);
      break;
    case at::kHalf:
      run_tasks<at::Half>(job, out);
      break;
    case at::kBFloat16:
      run_tasks<at::BFloat16>(job, out);
      break;
    default:
      TORCH_INTERNAL_ASSERT(false, "cpu::attention: ", out.scalar_type());
  }
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionPattern& pattern, AttentionSums* sums) {
  Job job;
  job.q = prepare(q, false);
  job.k = prepare(k, false);
  job.v = prepare(v, true);
  job.pattern = pattern;
  job.B = q.size(0), job.H = q.size(1), job.T = q.size(2), job.d = q.size(3);
  job.Hk = k.size(1), job.S = k.size(2), job.dv = v.size(3);
  const auto floats = q.options().dtype(at::kFloat);
  Parts parts;
  if (sums) {
    parts.key_sums = at::zeros({tasks_per_head(job), job.B, job.H, job.S}, floats);
    job.sink_queries = std::min(job.T, sums->sink_queries);
    job.sink_keys = detail::visible_keys(0, job.sink_queries, job.T, job.S, pattern).end;
    parts.sink_key_sums = at::zeros({tasks_per_head(job), job.B, job.H, job.sink_keys}, floats);
    parts.entropy = at::zeros({tasks_per_head(job), job.B, job.H}, floats);
    parts.first_is_top = at::zeros({tasks_per_head(job), job.B, job.H}, floats);
    parts.logit_max = at::full({tasks_per_head(job), job.B, job.H}, kMinusInfinity, floats);
    parts.logit_min = -parts.logit_max;
  }
  // Heads of one token lie together, so that the output projection reads it without a copy.
  at::Tensor out = at::empty({job.B, job.T, job.H, job.dv}, q.options()).transpose(1, 2);
  if (q.is_meta()) {
    at::empty({threads_for(job), job.d + job.S + whole_vectors(job.dv), kLanes}, floats);  // each a Workspace
  } else {
    compute(job, parts, out);
  }
  if (sums) {
    sums->key_sums = parts.key_sums.sum(0);
    sums->sink_means = parts.sink_key_sums.sum(0);
    sums->entropy = parts.entropy.sum(0) / static_cast<double>(std::max<int64_t>(1, job.T));
    sums->first_is_top = parts.first_is_top.sum(0) / static_cast<double>(std::max<int64_t>(1, job.T - 1));
    sums->logit_max = parts.logit_max.amax(0);
    sums->logit_min = parts.logit_min.amin(0);
  }
  return out;
}

}  // namespace outliers::ops::cpu
