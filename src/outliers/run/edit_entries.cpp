#include "outliers/run/edit_entries.h"

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "outliers/core/shape.h"
#include "outliers/run/error.h"

namespace outliers::run {

namespace {

bool is_in(const std::vector<Span>& spans, int64_t number, int64_t size) {
  return std::any_of(spans.begin(), spans.end(), [&](const Span& span) {
    const int64_t first = span.first < 0 ? size + span.first : span.first;
    const int64_t last = span.last < 0 ? size + span.last : span.last;
    return first <= number && number <= last;
  });
}

/// Which numbers of an axis are in the spans, [size].
at::Tensor numbers_in(const std::vector<Span>& spans, int64_t size) {
  at::Tensor mask = at::zeros({size}, at::kBool);
  auto chosen = mask.accessor<bool, 1>();
  for (int64_t i = 0; i < size; ++i) chosen[i] = is_in(spans, i, size);
  return mask;
}

/// [size] -> [1,..,size,..,1] of `dimensions` dimensions.
at::Tensor along(const at::Tensor& mask, int64_t dimension, int64_t dimensions) {
  std::vector<int64_t> shape(static_cast<size_t>(dimensions), 1);
  shape[static_cast<size_t>(dimension)] = mask.size(0);
  return mask.view(shape);
}

at::Tensor tokens_of_classes(const Choice& choice, const at::Tensor& classes) {
  at::Tensor mask = at::zeros(classes.sizes(), at::kBool);
  for (const text::TokenClass value : choice.classes)
    mask.logical_or_(classes.eq(static_cast<int64_t>(value)));
  return mask;
}

at::Tensor on_axis(const Choice& choice, size_t axis, const EntryPlace& place, const at::Tensor& x) {
  const auto dimension = static_cast<int64_t>(axis) + 1;
  if (choice.axis == Axis::expert && place.experts.defined()) {
    const at::Tensor numbers = numbers_in(choice.spans, place.expert_count).to(place.experts.device());
    const at::Tensor mask = numbers.index_select(0, place.experts.reshape({-1})).view(place.experts.sizes());
    return x.dim() > mask.dim() ? mask.unsqueeze(-1) : mask;
  }
  at::Tensor mask = along(numbers_in(choice.spans, x.size(dimension)), dimension, x.dim());
  if (!choice.classes.empty()) {
    at::Tensor tokens = tokens_of_classes(choice, place.classes);  // [b,T]
    std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
    shape[0] = tokens.size(0);
    shape[static_cast<size_t>(dimension)] = tokens.size(1);
    mask = mask.logical_or(tokens.view(shape));
  }
  return mask.to(x.device());
}

}  // namespace

at::Tensor both(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a.logical_and(b) : a;
}

at::Tensor chosen_entries(const Selection& selection, const EntryPlace& place, const at::Tensor& x) {
  const std::vector<Axis> axes = axes_of(place.point);
  at::Tensor mask;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    const Choice* choice = selection.find(axes[axis]);
    if (choice == nullptr) continue;
    mask = both(mask, on_axis(*choice, axis, place, x));
  }
  return mask;
}

at::Tensor chosen_entries(const Selection& selection, const at::Tensor& matrix) {
  at::Tensor mask;
  for (const auto& [axis, dimension] :
       {std::pair{Axis::row, int64_t{0}}, std::pair{Axis::column, int64_t{1}}}) {
    const Choice* choice = selection.find(axis);
    if (choice == nullptr) continue;
    mask = both(mask,
                along(numbers_in(choice->spans, matrix.size(dimension)), dimension, 2).to(matrix.device()));
  }
  return mask;
}

at::Tensor random_entries(const at::Tensor& mask, uint64_t seed, bool causal) {
  const at::Tensor taken = mask.cpu();
  const at::Tensor free = causal ? taken.logical_not().tril_() : taken.logical_not();
  at::Tensor allowed = free;
  for (int64_t d = 0; d < taken.dim(); ++d) {
    at::Tensor used = taken;
    for (int64_t other = taken.dim() - 1; other >= 0; --other)
      if (other != d) used = used.any(other);
    if (!used.all().item<bool>()) allowed = allowed.logical_and(along(used.logical_not(), d, taken.dim()));
  }
  const auto count = taken.sum().item<int64_t>();
  at::Tensor places = allowed.flatten().nonzero().squeeze(1);
  if (places.size(0) < count) places = free.flatten().nonzero().squeeze(1);
  const int64_t n = places.size(0), wanted = std::min(count, n);
  // Floyd's sample of `wanted` of n (Bentley and Floyd, CACM 30:9, 1987).
  std::mt19937_64 engine(seed);
  std::set<int64_t> drawn;
  for (int64_t i = n - wanted; i < n; ++i) {
    const auto number = static_cast<int64_t>(engine() % static_cast<uint64_t>(i + 1));
    if (!drawn.insert(number).second) drawn.insert(i);
  }
  const at::Tensor numbers = at::tensor(std::vector<int64_t>(drawn.begin(), drawn.end()), at::kLong);
  at::Tensor entries = at::zeros({taken.numel()}, at::kBool);
  entries.index_fill_(0, places.index_select(0, numbers), true);
  return entries.view(taken.sizes()).to(mask.device());
}

uint64_t mixed_seed(std::initializer_list<uint64_t> numbers) {
  // splitmix64's steps (Steele, Lea and Flood, OOPSLA 2014).
  uint64_t state = 0;
  for (const uint64_t number : numbers) {
    state += number + 0x9e3779b97f4a7c15;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
    state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
    state ^= state >> 31;
  }
  return state;
}

at::Tensor noise_of(uint64_t seed, double deviation, at::IntArrayRef shape) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::kFloat).mul_(deviation);
}

at::Tensor operated(const Operation& operation, const at::Tensor& x, const at::Tensor& mask,
                    const at::Tensor& average, const at::Tensor& noise, const Slice& slice) {
  at::Tensor changed;
  switch (operation.kind) {
    case Operation::Kind::zero:
      changed = at::zeros({}, x.options());
      break;
    case Operation::Kind::value:
      changed = at::scalar_tensor(operation.number, x.options());
      break;
    case Operation::Kind::mean:
    case Operation::Kind::class_mean:
    case Operation::Kind::median:
      changed = at::where(average.isnan(), x, average.to(x.scalar_type()));
      break;
    case Operation::Kind::clamp:
      changed = x.clamp(-operation.number, operation.number);
      break;
    case Operation::Kind::scale:
      changed = x * operation.number;
      break;
    case Operation::Kind::noise:
      if (operation.number == 0) return x;  // -0 + 0 would be another
      changed = (x + noise.to(x.device())).to(x.scalar_type());
      break;
    case Operation::Kind::function:
      changed = operation.function(x, slice);
      require(changed.defined() && changed.sizes() == x.sizes() && changed.scalar_type() == x.scalar_type(),
              "an edit's function should give a tensor of {} in {}, as it got", shape_string(x.sizes()),
              toString(x.scalar_type()));
      break;
  }
  if (mask.defined()) return at::where(mask, changed, x);
  return changed.sizes() == x.sizes() ? changed : changed.expand_as(x).contiguous();
}

at::Tensor edited_matrix(const Edit& edit, const at::Tensor& matrix, int64_t expert) {
  using Kind = Operation::Kind;
  const Operation& operation = edit.operation;
  const auto seed_of = [&](uint64_t seed, uint64_t use) {
    const auto& [layer, module] = std::get<WeightSite>(edit.site);
    return mixed_seed({seed, use, static_cast<uint64_t>(layer), static_cast<uint64_t>(module.front()),
                       static_cast<uint64_t>(module.size()), static_cast<uint64_t>(expert)});
  };
  at::Tensor mask = chosen_entries(edit.selection, matrix);
  if (edit.selection.top > 0) {
    at::Tensor size = matrix.abs();
    size = size.masked_fill(size.isfinite().logical_not_(), -1);
    if (mask.defined()) size = size.masked_fill(mask.logical_not(), -1);
    // Of equal entries the first.
    const at::Tensor order = size.reshape({-1}).argsort(/*stable=*/true, 0, /*descending=*/true);
    const at::Tensor first = order.narrow(0, 0, std::min(edit.selection.top, order.size(0)));
    const at::Tensor top =
        at::zeros({matrix.numel()}, matrix.options().dtype(at::kBool)).index_fill_(0, first, true);
    mask = top.view(matrix.sizes()).logical_and_(size.ge(0));
  }
  if (edit.selection.random) {
    const at::Tensor all = mask.defined() ? mask.expand_as(matrix) : at::ones_like(matrix, at::kBool);
    mask = random_entries(all, seed_of(*edit.selection.random, 3), /*causal=*/false);
  }
  at::Tensor average, noise;
  if (operation.kind == Kind::mean || operation.kind == Kind::median) {
    const at::Tensor chosen = mask.defined() ? matrix.masked_select(mask) : matrix.reshape({-1});
    const at::Tensor wide = chosen.to(at::kDouble).masked_select(chosen.isfinite());
    average = operation.kind == Kind::mean ? wide.mean()
              : wide.numel() > 0           ? wide.median()
                                 : at::full({}, std::numeric_limits<double>::quiet_NaN(), wide.options());
  }
  if (operation.kind == Kind::noise)
    noise = noise_of(seed_of(operation.seed, 1), operation.number, matrix.sizes());
  return operated(operation, matrix, mask, average, noise, {0, 0});
}

}  // namespace outliers::run
