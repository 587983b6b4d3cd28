#include "outliers/run/edit_statistics.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "outliers/core/bytes.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/thresholds.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/partial.h"

namespace outliers::run {

namespace {

/// [b,T,C] of what has tokens elsewhere, or several dimensions of channels.
at::Tensor as_activation(Point point, const at::Tensor& x) {
  return axes_of(point).front() == Axis::token ? x.flatten(2) : x.transpose(1, 2).flatten(2);
}

/// float32 of float64, which is what its statistics are of.
at::Tensor counted(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x.to(at::kFloat) : x;
}

// Of one process its own bytes.
std::vector<std::string> gather(Ranks* ranks, const std::string& mine) {
  return ranks == nullptr ? std::vector{mine} : ranks->gather(mine);
}
std::string broadcast(Ranks* ranks, const std::string& mine) {
  return ranks == nullptr ? mine : ranks->broadcast(mine);
}

/// The bytes of every rank, in the order of ranks, on every rank.
std::vector<std::string> exchange(Ranks& ranks, const std::string& mine) {
  ByteWriter all;
  for (const std::string& bytes : ranks.gather(mine)) all.put(std::string_view(bytes));
  const std::string answer = ranks.broadcast(all.bytes());
  std::vector<std::string> parts;
  for (ByteReader in(answer); !in.empty();) parts.push_back(in.get_text());
  return parts;
}

}  // namespace

EditStatistics::EditStatistics(const Edit& edit, const Input& input,
                               std::shared_ptr<const SiteTensors> before, int64_t experts, Ranks* ranks,
                               at::Device device)
    : edit_(edit),
      input_(input),
      before_(std::move(before)),
      ranks_(input.part_begin ? ranks : nullptr),
      device_(device),
      experts_(experts),
      part_begin_(input.part_begin.value_or(0)) {
  if (edit.selection.massive || edit.selection.outlier) measure();
  if (edit.selection.top > 0) find_top();
  const Operation::Kind kind = edit.operation.kind;
  if (kind == Operation::Kind::mean || kind == Operation::Kind::class_mean) find_mean();
  if (kind == Operation::Kind::median) find_median();
}

EntryPlace EditStatistics::place_of(size_t chunk) const {
  EntryPlace place{before_->site().point, {}, before_->experts(chunk), experts_};
  if (input_.classes.defined()) {
    const int64_t first = before_->first_sequence(chunk);
    const int64_t last =
        chunk + 1 < before_->size() ? before_->first_sequence(chunk + 1) : input_.ids.size(0);
    place.classes = input_.classes.slice(0, first, last);
  }
  return place;
}

/// The median and the mean of abs x over the whole input.
void EditStatistics::measure() {
  const Criteria criteria;
  stats::ActivationOptions plain;
  plain.criteria = criteria;
  plain.top = 0;
  stats::ActivationAccumulator accumulator(plain);
  const Point point = before_->site().point;
  const auto shown = [&](size_t chunk) {
    check_interrupt();
    return counted(as_activation(point, before_->tensor(chunk, device_)));
  };
  for (size_t i = 0; i < before_->size(); ++i) {
    accumulator.add(shown(i), part_begin_ + before_->first_sequence(i));
  }
  const bool is_root = ranks_ == nullptr || ranks_->is_root();
  ByteWriter mine;
  accumulator.save(mine);
  const std::vector<std::string> all = gather(ranks_, mine.bytes());
  for (size_t rank = 1; rank < all.size(); ++rank) {
    ByteReader theirs(all[rank]);
    accumulator.merge(stats::ActivationAccumulator::load(theirs, plain));
  }
  ByteWriter question;
  if (is_root) question.put(accumulator.refinement_bins());
  const auto bins = ByteReader(broadcast(ranks_, question.bytes())).get_vector<int64_t>();
  if (!bins.empty()) {
    stats::KeySums sums(bins);
    for (size_t i = 0; i < before_->size(); ++i) sums.add(shown(i));
    ByteWriter answer;
    for (const std::vector<int64_t>& of_bin : sums.counts()) answer.put(of_bin);
    for (const std::string& bytes : gather(ranks_, answer.bytes())) {
      ByteReader in(bytes);
      std::vector<std::vector<int64_t>> counts(bins.size());
      for (std::vector<int64_t>& of_bin : counts) of_bin = in.get_vector<int64_t>();
      accumulator.refine(counts);
    }
  }
  ByteWriter found;
  if (is_root) {
    const stats::ActivationSummary summary = accumulator.finish();
    found.put(summary.median);
    found.put(summary.mean);
  }
  const std::string result = broadcast(ranks_, found.bytes());
  ByteReader in(result);
  const auto median = in.get<double>(), mean = in.get<double>();
  massive_ = massive_threshold(median, criteria);
  outlier_ = outlier_token_threshold(mean, criteria);
}

at::Tensor EditStatistics::thresholds(const at::Tensor& x) const {
  at::Tensor mask;
  if (!edit_.selection.massive && !edit_.selection.outlier) return mask;
  at::Tensor size = x.abs();
  size = size.masked_fill_(size.isfinite().logical_not_(), 0);
  if (edit_.selection.massive) mask = size > massive_;
  if (edit_.selection.outlier) {
    const std::vector<Axis> axes = axes_of(before_->site().point);
    std::vector<int64_t> others;
    for (size_t axis = 0; axis < axes.size(); ++axis) {
      if (axes[axis] != Axis::token) others.push_back(static_cast<int64_t>(axis) + 1);
    }
    mask = both(mask, size.amax(others, /*keepdim=*/true) > outlier_);
  }
  return mask;
}

at::Tensor EditStatistics::criteria(const Slice& slice) const {
  if (!edit_.selection.has_criterion()) return {};
  const size_t chunk = before_->chunk_of(slice.first_sequence);
  const at::Tensor x = before_->tensor(chunk, device_);
  at::Tensor mask = thresholds(x);
  if (edit_.selection.top == 0) return mask;
  at::Tensor top = at::zeros({x.numel()}, at::kBool);
  auto chosen = top.accessor<bool, 1>();
  const int64_t per_sequence = x.numel() / x.size(0), begin = part_begin_ + slice.first_sequence;
  for (const Entry& entry : top_) {
    const int64_t sequence = entry.sequence - begin;
    if (sequence >= 0 && sequence < x.size(0)) chosen[sequence * per_sequence + entry.place] = true;
  }
  return both(mask, top.view(x.sizes()).to(x.device()));
}

at::Tensor EditStatistics::drawn(const Slice& slice) const {
  if (!edit_.selection.random) return {};
  const size_t chunk = before_->chunk_of(slice.first_sequence);
  const at::Tensor x = before_->tensor(chunk, device_);
  at::Tensor mask = both(chosen_entries(edit_.selection, place_of(chunk), x), criteria(slice));
  mask = (mask.defined() ? mask.expand_as(x) : at::ones_like(x, at::kBool)).clone();
  const Site site = before_->site();
  const bool scores = site.point == Point::attn_logits || site.point == Point::attn_probs;
  for (int64_t b = 0; b < x.size(0); ++b) {
    const auto sequence = static_cast<uint64_t>(part_begin_ + slice.first_sequence + b);
    const uint64_t seed = mixed_seed({*edit_.selection.random, 2, static_cast<uint64_t>(site.layer),
                                      static_cast<uint64_t>(site.point), sequence});
    mask[b].copy_(random_entries(mask[b], seed, scores));
  }
  return mask;
}

at::Tensor EditStatistics::selected(size_t chunk, const at::Tensor& x) const {
  if (const at::Tensor random = drawn({0, before_->first_sequence(chunk)}); random.defined()) return random;
  const at::Tensor mask = chosen_entries(edit_.selection, place_of(chunk), x);
  return both(mask, criteria({0, before_->first_sequence(chunk)}));
}

void EditStatistics::add_top(const at::Tensor& x, const at::Tensor& mask, int64_t first_sequence) {
  at::Tensor size = x.abs().to(at::kDouble);
  size = size.masked_fill_(size.isfinite().logical_not_(), -1);
  if (mask.defined()) size = size.masked_fill_(mask.logical_not(), -1);
  const at::Tensor flat = size.reshape({-1});
  const int64_t k = std::min(edit_.selection.top, flat.size(0)), per_sequence = x.numel() / x.size(0);
  const auto least = std::get<0>(flat.topk(k)).min();
  const at::Tensor above = flat.gt(least).nonzero().squeeze(1);
  const at::Tensor equal = flat.eq(least).nonzero().squeeze(1).narrow(0, 0, k - above.size(0));
  const at::Tensor places = std::get<0>(at::cat({above, equal}).sort()).cpu();
  const at::Tensor sizes = flat.index_select(0, places.to(flat.device())).cpu();
  const auto place = places.accessor<int64_t, 1>();
  const auto value = sizes.accessor<double, 1>();
  for (int64_t i = 0; i < places.size(0); ++i) {
    if (value[i] >= 0)
      top_.push_back({value[i], first_sequence + place[i] / per_sequence, place[i] % per_sequence});
  }
}

/// The largest of what the rest of the selection leaves; of equal ones the first.
void EditStatistics::find_top() {
  const auto keep_largest = [&] {
    std::stable_sort(top_.begin(), top_.end(),
                     [](const Entry& a, const Entry& b) { return a.size > b.size; });
    if (static_cast<int64_t>(top_.size()) > edit_.selection.top)
      top_.resize(static_cast<size_t>(edit_.selection.top));
  };
  for (size_t i = 0; i < before_->size(); ++i) {
    check_interrupt();
    const at::Tensor x = before_->tensor(i, device_);
    const at::Tensor mask = both(chosen_entries(edit_.selection, place_of(i), x), thresholds(x));
    add_top(x, mask.defined() ? mask.expand_as(x) : mask, part_begin_ + before_->first_sequence(i));
    keep_largest();
  }
  if (ranks_ == nullptr) return;
  ByteWriter mine;
  mine.put(top_);
  top_.clear();
  for (const std::string& bytes : exchange(*ranks_, mine.bytes())) {
    const std::vector<Entry> theirs = ByteReader(bytes).get_vector<Entry>();
    top_.insert(top_.end(), theirs.begin(), theirs.end());
  }
  keep_largest();
}

/// Sequences, tokens and, of points by expert, the places of experts.
std::vector<int64_t> EditStatistics::averaged_dimensions() const {
  const Point point = before_->site().point;
  const std::vector<Axis> axes = axes_of(point);
  std::vector<int64_t> dimensions = {0};
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    if (axes[axis] == Axis::token || (axes[axis] == Axis::expert && is_by_expert(point)))
      dimensions.push_back(static_cast<int64_t>(axis) + 1);
  }
  return dimensions;
}

/// Sums of sequences, added in their order: the same for all chunks and numbers of ranks.
void EditStatistics::find_mean() {
  Selection of_class;
  of_class.choices.push_back({Axis::token, {}, {edit_.operation.token_class}});
  const bool by_class = edit_.operation.kind == Operation::Kind::class_mean;
  std::vector<at::Tensor> sums, counts;  // of each sequence where ranks meet, else of all so far
  for (size_t i = 0; i < before_->size(); ++i) {
    check_interrupt();
    const at::Tensor x = before_->tensor(i, device_);
    const at::Tensor mask = by_class ? chosen_entries(of_class, place_of(i), x) : selected(i, x);
    const std::vector<int64_t> dimensions = averaged_dimensions();
    for (int64_t b = 0; b < x.size(0); ++b) {
      const at::Tensor one = x.narrow(0, b, 1);
      at::Tensor taken = one.isfinite();
      if (mask.defined()) taken = taken.logical_and_(mask.expand_as(x).narrow(0, b, 1));
      const at::Tensor sum = one.to(at::kDouble).masked_fill(taken.logical_not(), 0).sum(dimensions, true);
      const at::Tensor count = taken.sum(dimensions, true);
      if (ranks_ != nullptr || sums.empty()) {
        sums.push_back(sum);
        counts.push_back(count);
      } else {
        sums.front().add_(sum);
        counts.front().add_(count);
      }
    }
  }
  if (ranks_ != nullptr) {
    ByteWriter mine;
    mine.put(at::stack(sums));
    mine.put(at::stack(counts));
    sums.clear();
    counts.clear();
    for (const std::string& bytes : exchange(*ranks_, mine.bytes())) {
      ByteReader in(bytes);
      for (std::vector<at::Tensor>* of : {&sums, &counts}) {
        for (const at::Tensor& sequence : in.get_tensor().unbind(0)) of->push_back(sequence);
      }
    }
  }
  const auto total = [](const std::vector<at::Tensor>& parts) {
    at::Tensor sum = parts.front().clone();
    for (size_t i = 1; i < parts.size(); ++i) sum.add_(parts[i]);
    return sum;
  };
  average_ = (total(sums) / total(counts)).to(device_);  // 0 / 0 is NaN
}

/// The lower median of each channel.
void EditStatistics::find_median() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<at::Tensor> rows;  // [n,C] of tokens that have a selected entry
  std::vector<int64_t> shape;    // of the result
  for (size_t i = 0; i < before_->size(); ++i) {
    check_interrupt();
    const at::Tensor x = before_->tensor(i, device_), mask = selected(i, x);
    at::Tensor taken = x.isfinite();
    if (mask.defined()) taken = taken.logical_and_(mask);
    const std::vector<int64_t> averaged = averaged_dimensions();
    std::vector<int64_t> order = averaged;
    shape = x.sizes().vec();
    for (const int64_t dimension : averaged) shape[static_cast<size_t>(dimension)] = 1;
    for (int64_t d = 0; d < x.dim(); ++d) {
      if (std::find(averaged.begin(), averaged.end(), d) == averaged.end()) order.push_back(d);
    }
    const int64_t channels = c10::multiply_integers(shape);
    const at::Tensor any = taken.permute(order).reshape({-1, channels}).any(1).nonzero().squeeze(1);
    const at::Tensor values = x.masked_fill(taken.logical_not(), nan).permute(order).reshape({-1, channels});
    rows.push_back(values.index_select(0, any));
  }
  at::Tensor all = at::cat(rows);
  if (ranks_ != nullptr) {
    ByteWriter mine;
    mine.put(all);
    rows.clear();
    for (const std::string& bytes : exchange(*ranks_, mine.bytes()))
      rows.push_back(ByteReader(bytes).get_tensor());
    all = at::cat(rows).to(device_);
  }
  const at::ScalarType wide = all.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  average_ = all.size(0) == 0 ? at::full(shape, nan, all.options().dtype(at::kDouble))
                              : std::get<0>(all.to(wide).nanmedian(0)).to(at::kDouble).view(shape);
}

SiteEdits::SiteEdits(std::vector<const Edit*> edits, const Input& input, Site site, int64_t experts)
    : edits_(std::move(edits)), input_(input), site_(site), experts_(experts), statistics_(edits_.size()) {}

bool SiteEdits::needs_statistics() const {
  return std::any_of(edits_.begin(), edits_.end(), [](const Edit* edit) { return edit->needs_statistics(); });
}

void SiteEdits::take(std::shared_ptr<const SiteTensors> before, Ranks* ranks, at::Device device) {
  for (size_t i = 0; i < edits_.size(); ++i) {
    if (edits_[i]->needs_statistics())
      statistics_[i] = std::make_shared<EditStatistics>(*edits_[i], input_, before, experts_, ranks, device);
  }
}

at::Tensor SiteEdits::noise(const Edit& edit, const Slice& slice, const at::Tensor& x) const {
  at::Tensor noise = at::empty(x.sizes(), at::kFloat);
  for (int64_t b = 0; b < x.size(0); ++b) {
    const int64_t sequence = input_.part_begin.value_or(0) + slice.first_sequence + b;
    const uint64_t seed = mixed_seed({edit.operation.seed, 0, static_cast<uint64_t>(site_.layer),
                                      static_cast<uint64_t>(site_.point), static_cast<uint64_t>(sequence)});
    noise[b].copy_(noise_of(seed, edit.operation.number, x.sizes().slice(1)));
  }
  return noise;
}

std::string SiteEdits::kinds() const {
  std::string text;
  for (const Edit* edit : edits_) {
    const Selection& selection = edit->selection;
    text += fmt::format("{}{}{}{},", static_cast<int>(edit->operation.kind),
                        selection.choices.empty() ? 'a' : 's',
                        selection.massive || selection.outlier ? 'c' : ' ', selection.top > 0 ? 't' : ' ');
  }
  return text;
}

at::Tensor SiteEdits::rehearsed(at::Tensor x) const {
  using Kind = Operation::Kind;
  const auto floats = x.options().dtype(at::kFloat), bools = x.options().dtype(at::kBool);
  for (const Edit* edit : edits_) {
    const Selection& selection = edit->selection;
    const Kind kind = edit->operation.kind;
    std::vector<at::Tensor> kept;  // until the edit is made
    if (!selection.choices.empty()) kept.push_back(at::empty(x.sizes(), bools));
    if (selection.has_criterion()) {
      const at::Tensor sizes = at::empty(x.sizes(), floats);  // abs x
      for (int masks = 0; masks < 2; ++masks) kept.push_back(at::empty(x.sizes(), bools));
    }
    if (kind == Kind::noise) {
      kept.push_back(at::empty(x.sizes(), floats));
      if (x.element_size() == 2) kept.push_back(at::empty(x.sizes(), floats));  // with x in it
    }
    if (kind != Kind::zero && kind != Kind::value) kept.push_back(at::empty(x.sizes(), x.options()));
    x = at::empty(x.sizes(), x.options());
  }
  return x;
}

at::Tensor SiteEdits::apply(const Slice& slice, at::Tensor x, const at::Tensor& experts) const {
  if (x.is_meta()) return rehearsed(std::move(x));
  EntryPlace place{site_.point, {}, experts, experts_};
  if (input_.classes.defined()) place.classes = input_.classes.narrow(0, slice.first_sequence, x.size(0));
  for (size_t i = 0; i < edits_.size(); ++i) {
    const Edit& edit = *edits_[i];
    const auto number = static_cast<size_t>(&edit - input_.edits.data());
    const EditStatistics* statistics = statistics_[i].get();
    at::Tensor mask = chosen_entries(edit.selection, place, x), average, noise_of_slice;
    if (statistics != nullptr) {
      const at::Tensor drawn = statistics->drawn(slice);
      mask = drawn.defined() ? drawn : both(mask, statistics->criteria(slice));
      average = statistics->average();
    }
    if (edit.operation.kind == Operation::Kind::noise) noise_of_slice = noise(edit, slice, x);
    if (input_.matches != nullptr) {
      const at::Tensor counts = mask.defined() ? mask.expand_as(x).flatten(1).sum(1).cpu()
                                               : at::full({x.size(0)}, x.numel() / x.size(0), at::kLong);
      for (int64_t b = 0; b < x.size(0); ++b)
        input_.matches->set(number, slice.first_sequence + b, counts[b].item<int64_t>());
    }
    x = operated(edit.operation, x, mask, average, noise_of_slice, slice);
  }
  return x;
}

}  // namespace outliers::run
