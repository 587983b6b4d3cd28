// Outliers of the projections' matrices.
#include "outliers/stats/weights.h"

#include <algorithm>
#include <map>
#include <set>

#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"

namespace outliers::measures {
namespace {

/// Columns of a down projection that are kept for figures: the first three, the top three and their
/// neighbours, the last.
constexpr int64_t kColumns = 13, kFirstColumns = 3, kTopColumns = 3;

/// One matrix; of a down projection the columns to keep, [kColumns,D], and which they are, [kColumns].
struct Matrix {
  int64_t expert = run::kNoExpert;
  std::string module;
  stats::WeightSummary summary;
  at::Tensor columns, column_index;

  void save(ByteWriter& out) const {
    out.put(expert);
    out.put(std::string_view(module));
    summary.save(out);
    out.put(columns);
    out.put(column_index);
  }
  static Matrix load(ByteReader& in) {
    Matrix matrix;
    matrix.expert = in.get<int64_t>();
    matrix.module = in.get_text();
    matrix.summary = stats::WeightSummary::load(in);
    matrix.columns = in.get_tensor();
    matrix.column_index = in.get_tensor();
    return matrix;
  }
};

std::vector<int64_t> columns_to_keep(const std::vector<stats::WeightLine>& top, int64_t columns) {
  std::set<int64_t> kept;
  for (int64_t c = 0; c < std::min(kFirstColumns, columns); ++c) kept.insert(c);
  for (size_t i = 0; i < std::min<size_t>(kTopColumns, top.size()); ++i) {
    for (int64_t c = top[i].index - 1; c <= top[i].index + 1; ++c) {
      if (c >= 0 && c < columns) kept.insert(c);
    }
  }
  kept.insert(columns - 1);
  return {kept.begin(), kept.end()};
}

results::MatrixScore score_of(const stats::WeightSummary& s) {
  return {s.score,
          s.score_is_row ? results::Axis::row : results::Axis::column,
          s.score_index,
          s.max,
          s.mean,
          s.median,
          s.kurtosis_pearson,
          s.nonfinite};
}

results::Weight weight_of(const Matrix& matrix) {
  results::Weight weight{score_of(matrix.summary), {}, {}, {}};
  for (const stats::WeightLine& line : matrix.summary.top_columns)
    weight.top_columns.push_back({line.index, line.ratio, line.position, line.value});
  for (const stats::WeightLine& line : matrix.summary.top_rows)
    weight.top_rows.push_back({line.index, line.ratio, line.position, line.value});
  if (matrix.expert != run::kNoExpert) weight.expert = results::Expert{matrix.expert};
  return weight;
}

class Weights : public Measure {
 public:
  using Measure::Measure;

  /// Each rank sees the experts that its own sequences chose; the rest is rank 0's.
  Wants wants(int64_t layer) const override {
    return {.weights = layer >= 0 && (context().is_root() || models::is_routed(config(), layer))};
  }
  void add_weight(int64_t, const run::LayerWeight& weight) override {
    if (!context().is_root() && weight.expert < 0) return;
    const at::Tensor& w = weight.tensor;
    Matrix matrix{weight.expert, weight.module, stats::weight_summary(w), {}, {}};
    if (weight.module == "down") {
      const std::vector<int64_t> kept = columns_to_keep(matrix.summary.top_columns, w.size(1));
      const at::Tensor index = at::tensor(kept, at::kLong);
      const auto count = static_cast<int64_t>(kept.size());
      matrix.columns = at::zeros({kColumns, w.size(0)});
      matrix.columns.narrow(0, 0, count).copy_(w.index_select(1, index.to(w.device())).t());
      matrix.column_index = at::full({kColumns}, -1, at::kLong);
      matrix.column_index.narrow(0, 0, count).copy_(index);
    }
    if (context().is_root()) {
      take(std::move(matrix));
    } else {
      for_root_.push_back(std::move(matrix));
    }
  }

  void save(ByteWriter& out) const override {
    out.put(for_root_.size());
    for (const Matrix& matrix : for_root_) matrix.save(out);
  }
  void merge(ByteReader& in) override {
    for (auto count = in.get<size_t>(); count > 0; --count) {
      Matrix matrix = Matrix::load(in);
      const auto known = experts_.find(matrix.expert);
      if (known == experts_.end() || !known->second.contains(matrix.module)) take(std::move(matrix));
    }
  }

  void end_layer(results::Layer& layer, Arrays& arrays) override {
    results::Weights& weights = layer.weights.emplace();
    for (const auto& [module, matrix] : standing_out_) weights.modules[module] = weight_of(matrix);
    if (router_) weights.router = weight_of(*router_);
    for (const auto& [expert, modules] : experts_) {
      if (expert >= 0) weights.experts.push_back({{expert}, modules});
    }
    if (const auto shared = experts_.find(run::kSharedExpert); shared != experts_.end())
      weights.experts.push_back({{results::Expert::kShared}, shared->second});
    const Matrix& down = *standing_out_.find("down");
    arrays.add("weights.down.columns", down.columns);
    arrays.add("weights.down.column_index", down.column_index);
  }
  void forget_layer() override {
    standing_out_ = {};
    router_.reset();
    experts_.clear();
    for_root_.clear();
  }

  Memory memory(const Load&) const override {
    return {.arrays = config().layers * kColumns * config().width * static_cast<int64_t>(sizeof(float))};
  }

 private:
  /// Of the experts' matrices, the one that stands out most stands for all.
  void take(Matrix matrix) {
    if (matrix.module == "router") {
      router_ = std::move(matrix);
      return;
    }
    if (matrix.expert != run::kNoExpert) {
      experts_[matrix.expert][matrix.module] = score_of(matrix.summary);
      const Matrix* best = standing_out_.find(matrix.module);
      if (best != nullptr && !(matrix.summary.score > best->summary.score)) return;
    }
    const std::string module = matrix.module;
    standing_out_[module] = std::move(matrix);
  }

  results::Named<Matrix> standing_out_;  // by module
  std::optional<Matrix> router_;
  std::map<int64_t, results::Named<results::MatrixScore>> experts_;
  std::vector<Matrix> for_root_;  // of the other ranks' experts
};

}  // namespace

MeasureInfo weights_measure() {
  return {.name = "weights",
          .description = "rows and columns of the projections' matrices whose largest entry stands out",
          .source = "arXiv 2502.06415, section 3.2",
          .of = Of::model,
          .make = make<Weights>};
}

}  // namespace outliers::measures
