#include "outliers/measures/measure_set.h"

#include <algorithm>

#include "outliers/run/memory_plan.h"

namespace outliers::measures {

MeasureSet::MeasureSet(Context context, const std::vector<const MeasureInfo*>& chosen)
    : context_(std::move(context)) {
  for (const MeasureInfo* row : chosen) {
    if (row->make == nullptr) continue;
    if (row->of == Of::model) members_.push_back({row->make(context_, kNone), kNone, false});
    for (size_t i = 0; i < context_.inputs.size() && row->of != Of::model; ++i) {
      const bool prompt = context_.inputs[i].is_prompt();
      if (prompt || row->of == Of::inputs) members_.push_back({row->make(context_, i), i, prompt});
    }
  }
}

MeasureSet::MeasureSet(Context context, const Make& make) : context_(std::move(context)) {
  for (size_t i = 0; i < context_.inputs.size(); ++i)
    members_.push_back({make(context_, i), i, context_.inputs[i].is_prompt()});
}

template <typename Action>
void MeasureSet::each(int64_t layer, size_t input, const Action& action) const {
  for (const Member& member : members_) {
    if (!is_here(member) || (input != kNone && member.input != input)) continue;
    action(*member.measure, member.measure->wants(layer));
  }
}

bool MeasureSet::wants(const run::Site& site, size_t input) const {
  bool any = false;
  each(site.layer, input, [&](const Measure&, const Wants& w) { any |= w.points.contains(site.point); });
  return any;
}

bool MeasureSet::wants_attention_sums(int64_t layer, size_t input) const {
  bool any = false;
  each(layer, input, [&](const Measure&, const Wants& w) { any |= w.attention_sums; });
  return any;
}

bool MeasureSet::wants_weights(int64_t layer) const {
  bool any = false;
  each(layer, kNone, [&](const Measure&, const Wants& w) { any |= w.weights; });
  return any;
}

void MeasureSet::on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  if (context_.ranks != nullptr) context_.ranks->check();
  each(site.layer, slice.input, [&](Measure& measure, const Wants& w) {
    if (w.points.contains(site.point)) measure.add(site, x, number_of(slice));
  });
}

void MeasureSet::on_attention_sums(int64_t layer, const run::Slice& slice, const ops::AttentionSums& sums) {
  each(layer, slice.input, [&](Measure& measure, const Wants& w) {
    if (w.attention_sums) measure.add_attention_sums(sums, number_of(slice));
  });
}

void MeasureSet::on_weight(int64_t layer, const run::LayerWeight& weight) {
  each(layer, kNone, [&](Measure& measure, const Wants& w) {
    if (w.weights) measure.add_weight(layer, weight);
  });
}

void MeasureSet::on_layer_end(int64_t layer) {
  merge([](const Member&) { return true; });
  look_again();
  if (context_.is_root()) {
    results::Layer& record = layers_.emplace_back();
    record.layer = layer;
    for (const Input& input : context_.inputs) record.inputs[input.name];
    for (const Member& member : members_) member.measure->end_layer(record, arrays_);
  }
  for (const Member& member : members_) member.measure->forget_layer();
  if (context_.spill != nullptr) context_.spill->clear();
}

bool MeasureSet::wants_own_points(const Member& member) const {
  const PointSet points = member.measure->wants(-1).points;
  const auto& table = run::point_table();
  return std::any_of(table.begin(), table.end(), [&](const run::PointInfo& info) {
    return !info.per_layer && points.contains(info.point);
  });
}

bool MeasureSet::wants_own_points() const {
  return std::any_of(members_.begin(), members_.end(),
                     [&](const Member& member) { return wants_own_points(member); });
}

void MeasureSet::on_run_end() {
  merge([&](const Member& member) { return wants_own_points(member); });
}

/// One message a rank: what its measures saved, one behind the other.
template <typename Chosen>
void MeasureSet::merge(const Chosen& chosen) {
  if (context_.ranks == nullptr) return;
  ByteWriter mine;
  for (const Member& member : members_) {
    if (!member.of_prompt && !context_.is_root() && chosen(member)) member.measure->save(mine);
  }
  const std::vector<std::string> all = context_.ranks->gather(mine.bytes());
  for (size_t rank = 1; rank < all.size(); ++rank) {
    ByteReader theirs(all[rank]);
    for (const Member& member : members_) {
      if (!member.of_prompt && chosen(member)) member.measure->merge(theirs);
    }
  }
}

void MeasureSet::look_again() {
  ByteWriter asked;
  if (context_.is_root()) {
    for (const Member& member : members_) asked.put(std::string_view(member.measure->question()));
  }
  const std::string bytes =
      context_.ranks == nullptr ? asked.bytes() : context_.ranks->broadcast(asked.bytes());
  ByteReader read(bytes);
  std::vector<std::string> questions(members_.size());
  for (std::string& question : questions) question = read.get_text();
  if (std::all_of(questions.begin(), questions.end(), [](const auto& q) { return q.empty(); })) return;

  ByteWriter answers;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (questions[i].empty() || !is_here(members_[i])) continue;
    answers.put(std::string_view(members_[i].measure->answer(questions[i])));
  }
  const std::vector<std::string> all =
      context_.ranks == nullptr ? std::vector{answers.bytes()} : context_.ranks->gather(answers.bytes());
  for (size_t rank = 0; rank < all.size(); ++rank) {
    ByteReader theirs(all[rank]);
    for (size_t i = 0; i < members_.size(); ++i) {
      if (questions[i].empty() || (rank > 0 && members_[i].of_prompt)) continue;
      members_[i].measure->hear(theirs.get_text());
    }
  }
}

void MeasureSet::finish(results::Results& results) const {
  for (const Member& member : members_) member.measure->finish(results);
}

run::ObserverMemory MeasureSet::memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                                       int64_t chunk_tokens) const {
  constexpr int64_t kListed = int64_t{50} << 10;  // of an input in a layer: lists of what stands out
  Memory sum;
  for (const Member& member : members_) {
    Load load{dtype};
    if (member.input != kNone) {
      const at::Tensor& ids = inputs[member.input].ids;
      load.sequences = ids.size(0);
      load.tokens = ids.size(1);
      load.chunk = std::min(load.sequences, run::chunk_sequences(chunk_tokens, load.tokens)) * load.tokens;
    }
    const Memory memory = member.measure->memory(load);
    sum.held += memory.held;
    sum.moment = std::max(sum.moment, memory.moment);
    sum.arrays += memory.arrays;
    sum.spillable += memory.spillable;
    sum.on_disk += memory.on_disk;
  }
  const int64_t listed = kListed * context_.config.layers * static_cast<int64_t>(inputs.size());
  return {.held = static_cast<uint64_t>(sum.arrays + sum.held + sum.moment + listed),
          .spillable = static_cast<uint64_t>(sum.spillable),
          .on_disk = static_cast<uint64_t>(sum.on_disk),
          .at_end = static_cast<uint64_t>(sum.arrays)};
}

}  // namespace outliers::measures
