#include "outliers/run/edit.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/models/weights.h"
#include "outliers/run/error.h"

namespace outliers::run {

namespace {

std::string span_text(const Span& span) {
  return span.first == span.last ? fmt::format("{}", span.first)
                                 : fmt::format("{}..{}", span.first, span.last);
}

std::string selection_text(const Selection& selection) {
  std::vector<std::string> parts;
  for (const Choice& choice : selection.choices) {
    std::vector<std::string> alternatives;
    for (const Span& span : choice.spans) alternatives.push_back(span_text(span));
    for (const text::TokenClass value : choice.classes) alternatives.emplace_back(token_class_name(value));
    if (choice.shared) alternatives.emplace_back("shared");
    parts.push_back(fmt::format("{}={}", axis_name(choice.axis), fmt::join(alternatives, "|")));
  }
  if (selection.massive) parts.emplace_back("massive");
  if (selection.outlier) parts.emplace_back("outlier");
  if (selection.top > 0) parts.push_back(fmt::format("top={}", selection.top));
  if (selection.random) parts.push_back(fmt::format("random={}", *selection.random));
  return parts.empty() ? "" : fmt::format("[{}]", fmt::join(parts, ","));
}

std::string operation_text(const Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::zero:
      return "zero";
    case Operation::Kind::value:
      return fmt::format("value({})", operation.number);
    case Operation::Kind::mean:
      return "mean";
    case Operation::Kind::class_mean:
      return fmt::format("mean({})", token_class_name(operation.token_class));
    case Operation::Kind::median:
      return "median";
    case Operation::Kind::clamp:
      return fmt::format("clamp({})", operation.number);
    case Operation::Kind::scale:
      return fmt::format("scale({})", operation.number);
    case Operation::Kind::noise:
      return operation.seed == 0 ? fmt::format("noise({})", operation.number)
                                 : fmt::format("noise({},{})", operation.number, operation.seed);
    case Operation::Kind::function:
      break;
  }
  return "function";
}

/// "layer.2..5.down_in"
std::string place_text(const Edit& edit, int64_t last) {
  const std::string layers = span_text({edit.layer(), last});
  if (const auto* weight = std::get_if<WeightSite>(&edit.site))
    return fmt::format("weight.{}.{}", layers, weight->module);
  const Site& site = std::get<Site>(edit.site);
  return site.layer < 0 ? point_name(site.point) : fmt::format("layer.{}.{}", layers, point_name(site.point));
}

/// Whether b is a with the layer's number raised by `by`.
bool follows(const Edit& a, const Edit& b, int64_t by) {
  if (a.layer() < 0 || b.layer() != a.layer() + by || a.of_weights() != b.of_weights()) return false;
  const bool same = a.of_weights()
                        ? std::get<WeightSite>(a.site).module == std::get<WeightSite>(b.site).module
                        : std::get<Site>(a.site).point == std::get<Site>(b.site).point;
  return same && a.selection == b.selection && a.operation == b.operation;
}

int64_t size_of_axis(Point point, size_t dimension, const models::Config& c, int64_t tokens) {
  const Axis axis = axes_of(point).at(dimension);
  if (axis == Axis::expert) return c.experts.count;
  if (axis == Axis::token || axis == Axis::key) return tokens;
  const char* shape = point_table()[static_cast<size_t>(point)].shape;
  return models::resolve_shape(shape, c, 1, std::max<int64_t>(tokens, 1)).at(dimension + 1);
}

std::pair<int64_t, int64_t> matrix_size(const std::string& module, const Selection& selection,
                                        const models::Config& c, int64_t layer) {
  const int64_t queries = c.heads * c.head_width, keys = c.kv_heads * c.head_width;
  if (module == "q") return {queries, c.width};
  if (module == "k" || module == "v") return {keys, c.width};
  if (module == "o") return {c.width, queries};
  if (module == "router") return {c.experts.count, c.width};
  const Choice* experts = selection.find(Axis::expert);
  const bool shared = experts != nullptr && experts->shared && experts->spans.empty();
  const int64_t F = !is_routed(c, layer) ? c.mlp_width : shared ? c.experts.shared_width : c.experts.width;
  return module == "down" ? std::pair{c.width, F} : std::pair{F, c.width};
}

/// Numbers of an axis that are chosen.
int64_t chosen_of(const Selection& selection, Axis axis, int64_t size) {
  const Choice* choice = selection.find(axis);
  if (choice == nullptr) return size;
  std::set<int64_t> numbers;
  for (const Span& span : choice->spans) {
    const auto counted = [&](int64_t number) { return number < 0 ? size + number : number; };
    for (int64_t i = counted(span.first); i <= counted(span.last); ++i) numbers.insert(i);
  }
  return std::ssize(numbers);
}

void check_spans(const Choice& choice, int64_t size, const std::string& name) {
  for (const Span& span : choice.spans) {
    for (const int64_t end : {span.first, span.last}) {
      require(end < size && end >= -size, "{} {} of edit '{}' is outside the {} there are",
              axis_name(choice.axis), end, printable(name), size);
    }
    const auto counted = [&](int64_t number) { return number < 0 ? size + number : number; };
    require(counted(span.first) <= counted(span.last), "the {}s {} of edit '{}' run backwards",
            axis_name(choice.axis), span_text(span), printable(name));
  }
}

void check_point(const Edit& edit, const models::Config& c, int64_t tokens, const std::string& name) {
  const Site& site = std::get<Site>(edit.site);
  const Selection& chosen = edit.selection;
  require(has_point(c, site), "there is no point '{}' to edit in this model", site_name(site));
  require(site.point != Point::experts_index,
          "'{}' cannot be edited: it says which experts pass a token; edit router_logits, which choose them",
          site_name(site));
  const std::vector<Axis> axes = axes_of(site.point);
  for (const Choice& choice : chosen.choices) {
    const auto axis = std::find(axes.begin(), axes.end(), choice.axis);
    std::vector<const char*> known;
    for (const Axis each : axes) known.push_back(axis_name(each));
    require(axis != axes.end(), "edit '{}' chooses by {}, but {} has none; it has {}", printable(name),
            axis_name(choice.axis), point_name(site.point), fmt::join(known, ", "));
    require(!choice.shared, "edit '{}' chooses the shared expert, whose points are shared.*",
            printable(name));
    const int64_t size = size_of_axis(site.point, static_cast<size_t>(axis - axes.begin()), c, tokens);
    if (size > 0) check_spans(choice, size, name);
  }
  const bool scores = site.point == Point::attn_logits || site.point == Point::attn_probs;
  const bool channels = std::find(axes.begin(), axes.end(), Axis::channel) != axes.end();
  require((!chosen.massive && !chosen.outlier) || (channels && !scores),
          "edit '{}': massive and outlier are of activations with channels, which {} is not", printable(name),
          point_name(site.point));
  // Places of different experts have nothing in common.
  const bool of_experts = channels && std::find(axes.begin(), axes.end(), Axis::expert) != axes.end();
  const Choice* experts = chosen.find(Axis::expert);
  const bool one = experts != nullptr && experts->spans.size() == 1 &&
                   experts->spans.front().first == experts->spans.front().last;
  const bool averages = edit.operation.kind == Operation::Kind::mean ||
                        edit.operation.kind == Operation::Kind::median ||
                        edit.operation.kind == Operation::Kind::class_mean;
  require(!of_experts || !averages || one,
          "edit '{}' averages channels of different experts; choose one with expert=", printable(name));
}

void check_weight(const Edit& edit, const models::Config& c, const std::string& name) {
  const auto& [layer, module] = std::get<WeightSite>(edit.site);
  require(layer >= 0 && layer < c.layers, "edit '{}': there is no layer {}", printable(name), layer);
  const bool routed = is_routed(c, layer), of_mlp = module == "gate" || module == "up" || module == "down";
  require(module != "router" || routed, "edit '{}': layer {} has no router", printable(name), layer);
  require(module != "gate" || c.gated_mlp, "edit '{}': the MLP has no gate", printable(name));
  const Selection& chosen = edit.selection;
  require(!chosen.massive && !chosen.outlier,
          "edit '{}': massive and outlier are of activations; of a matrix, top=K chooses", printable(name));
  require(edit.operation.kind != Operation::Kind::class_mean,
          "edit '{}': a matrix has no tokens to take a mean of", printable(name));
  const auto [rows, columns] = matrix_size(module, chosen, c, layer);
  for (const Choice& choice : chosen.choices) {
    const bool known = choice.axis == Axis::row || choice.axis == Axis::column ||
                       (choice.axis == Axis::expert && of_mlp && routed);
    require(known, "edit '{}' chooses by {}, but {} has {}", printable(name), axis_name(choice.axis), module,
            of_mlp && routed ? "row, column, expert" : "row, column");
    if (choice.axis == Axis::expert) {
      require(!choice.shared || c.experts.shared_width > 0, "edit '{}': this model has no shared expert",
              printable(name));
      require(!choice.shared || choice.spans.empty() || c.experts.shared_width == c.experts.width ||
                  (chosen.find(Axis::row) == nullptr && chosen.find(Axis::column) == nullptr),
              "edit '{}': the shared expert is of another size; give it an edit of its own", printable(name));
      check_spans(choice, c.experts.count, name);
    } else {
      check_spans(choice, choice.axis == Axis::row ? rows : columns, name);
    }
  }
}

}  // namespace

const char* axis_name(Axis axis) {
  constexpr const char* kNames[] = {"token", "head", "key", "expert", "channel", "row", "column"};
  return kNames[static_cast<size_t>(axis)];
}

std::vector<Axis> axes_of(Point point) {
  switch (point) {
    case Point::query:
    case Point::key:
    case Point::value:
    case Point::o_in:
      return {Axis::head, Axis::token, Axis::channel};
    case Point::attn_logits:
    case Point::attn_probs:
      return {Axis::head, Axis::token, Axis::key};
    case Point::router_logits:
    case Point::experts_index:
    case Point::experts_weight:
      return {Axis::token, Axis::expert};
    case Point::experts_gate_out:
    case Point::experts_act_out:
    case Point::experts_up_out:
    case Point::experts_down_in:
    case Point::experts_down_out:
      return {Axis::token, Axis::expert, Axis::channel};
    default:
      return {Axis::token, Axis::channel};
  }
}

const Choice* Selection::find(Axis axis) const {
  const auto found =
      std::find_if(choices.begin(), choices.end(), [&](const Choice& choice) { return choice.axis == axis; });
  return found == choices.end() ? nullptr : &*found;
}

int64_t Edit::layer() const {
  return std::visit([](const auto& place) { return place.layer; }, site);
}

bool Edit::needs_statistics() const {
  return selection.has_criterion() || operation.kind == Operation::Kind::mean ||
         operation.kind == Operation::Kind::class_mean || operation.kind == Operation::Kind::median;
}

bool name_classes(const std::vector<Edit>& edits) {
  return std::any_of(edits.begin(), edits.end(), [](const Edit& edit) {
    const Choice* tokens = edit.selection.find(Axis::token);
    return edit.operation.kind == Operation::Kind::class_mean ||
           (tokens != nullptr && !tokens->classes.empty());
  });
}

std::string edits_name(const std::vector<Edit>& edits) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < edits.size();) {
    size_t next = i + 1;
    while (next < edits.size() && follows(edits[i], edits[next], static_cast<int64_t>(next - i))) ++next;
    parts.push_back(fmt::format("{}{}={}", place_text(edits[i], edits[next - 1].layer()),
                                selection_text(edits[i].selection), operation_text(edits[i].operation)));
    i = next;
  }
  return fmt::format("{}", fmt::join(parts, ";"));
}

int64_t matrix_entries(const Edit& edit, const models::Config& config) {
  const auto& [layer, module] = std::get<WeightSite>(edit.site);
  const Selection& chosen = edit.selection;
  const auto [rows, columns] = matrix_size(module, chosen, config, layer);
  int64_t entries = chosen_of(chosen, Axis::row, rows) * chosen_of(chosen, Axis::column, columns);
  if (chosen.top > 0) entries = std::min(entries, chosen.top);
  const bool of_experts = module == "gate" || module == "up" || module == "down";
  if (!of_experts || !is_routed(config, layer)) return entries;
  const Choice* experts = chosen.find(Axis::expert);
  return entries * (chosen_of(chosen, Axis::expert, config.experts.count) +
                    (experts != nullptr && experts->shared ? 1 : 0));
}

void check_edits(const std::vector<Edit>& edits, const models::Config& config, int64_t tokens) {
  for (const Edit& edit : edits) {
    const std::string name = edits_name({edit});
    if (edit.of_weights()) {
      check_weight(edit, config, name);
    } else {
      check_point(edit, config, tokens, name);
    }
  }
}

}  // namespace outliers::run
