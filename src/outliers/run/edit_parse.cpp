// The grammar of edits. Errors name the edit as it was written.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/suggest.h"
#include "outliers/run/edit.h"
#include "outliers/run/error.h"

namespace outliers::run {

namespace {

constexpr Axis kAxes[] = {Axis::token,   Axis::head, Axis::key,   Axis::expert,
                          Axis::channel, Axis::row,  Axis::column};
const std::vector<std::string> kModules = {"q", "k", "v", "o", "gate", "up", "down", "router"};
const std::vector<std::string> kOperations = {"zero", "value", "mean", "median", "clamp", "scale", "noise"};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  return begin == std::string_view::npos ? ""
                                         : text.substr(begin, text.find_last_not_of(" \t\n") + 1 - begin);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(trimmed(text.substr(begin, end == std::string_view::npos ? end : end - begin)));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

template <typename T>
std::optional<T> number_of(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "; did you mean 'x'?" or "; known: x, y".
std::string hint(std::string_view word, const std::vector<std::string>& known) {
  const std::string close = nearest(word, known);
  return close.empty() ? fmt::format("; known: {}", fmt::join(known, ", "))
                       : fmt::format("; did you mean '{}'?", close);
}

class EditParser {
 public:
  EditParser(std::string_view text, const models::Config& config)
      : text_(trimmed(text)), item_(printable(std::string(text_))), config_(config) {}

  std::vector<Edit> operator()() {
    const size_t open = text_.find('['), equals = text_.find('=');
    require(equals != std::string_view::npos,
            "edit '{}' has no operation; write SITE[SELECTION]=OPERATION, as in "
            "layer.3.resid_out[token=0]=zero",
            item_);
    const bool selects = open < equals;
    const std::string_view site = trimmed(text_.substr(0, selects ? open : equals));
    std::string_view operation = text_.substr(equals + 1);
    Edit edit;
    if (selects) {
      const size_t close = text_.find(']', open);
      require(close != std::string_view::npos, "edit '{}' lacks the ] of its selection", item_);
      parse_selection(text_.substr(open + 1, close - open - 1), edit.selection);
      const std::string_view rest = trimmed(text_.substr(close + 1));
      require(rest.starts_with('='), "edit '{}' lacks =OPERATION after its selection", item_);
      operation = rest.substr(1);
    }
    parse_operation(trimmed(operation), edit.operation);
    return at_sites(site, edit);
  }

 private:
  std::vector<Edit> at_sites(std::string_view site, const Edit& edit) const {
    constexpr std::string_view kWeight = "weight.";
    std::vector<Edit> edits;
    require(!site.empty(), "edit '{}' names no site", item_);
    if (!site.starts_with(kWeight)) {
      for (const Site& place : parse_sites(std::string(site), config_)) {
        edits.push_back({place, edit.selection, edit.operation});
      }
      return edits;
    }
    const size_t dot = site.rfind('.');
    require(dot > kWeight.size(), "edit '{}' lacks its module: write weight.N.MODULE, as in weight.3.down",
            item_);
    const std::string module(site.substr(dot + 1)), layers(site.substr(kWeight.size(), dot - kWeight.size()));
    if (std::find(kModules.begin(), kModules.end(), module) == kModules.end())
      fail("unknown module '{}' in edit '{}'{}", printable(module), item_, hint(module, kModules));
    const LayerRange range = parse_layers(layers, config_.layers, std::string(site));
    for (int64_t layer = range.first; layer <= range.last; ++layer) {
      edits.push_back({WeightSite{layer, module}, edit.selection, edit.operation});
    }
    return edits;
  }

  void parse_selection(std::string_view text, Selection& selection) const {
    if (trimmed(text).empty()) return;
    for (const std::string_view condition : split(text, ',')) {
      const size_t equals = condition.find('=');
      const std::string_view name = trimmed(condition.substr(0, equals));
      const bool has_value = equals != std::string_view::npos;
      const std::string_view value = has_value ? trimmed(condition.substr(equals + 1)) : "";
      if (name == "massive" || name == "outlier") {
        require(!has_value, "edit '{}': {} takes no value", item_, name);
        (name == "massive" ? selection.massive : selection.outlier) = true;
      } else if (name == "top") {
        const auto count = number_of<int64_t>(value);
        require(count && *count > 0, "edit '{}': top={} should be a number of 1 or more", item_,
                printable(std::string(value)));
        selection.top = *count;
      } else if (name == "random") {
        selection.random = number_of<uint64_t>(value);
        require(selection.random.has_value(), "edit '{}': random={} should be a seed of 0 or more", item_,
                printable(std::string(value)));
      } else {
        parse_choice(name, value, selection);
      }
    }
    std::sort(selection.choices.begin(), selection.choices.end(),
              [](const Choice& a, const Choice& b) { return a.axis < b.axis; });
  }

  void parse_choice(std::string_view name, std::string_view value, Selection& selection) const {
    const auto axis =
        std::find_if(std::begin(kAxes), std::end(kAxes), [&](Axis each) { return name == axis_name(each); });
    if (axis == std::end(kAxes)) {
      std::vector<std::string> known;
      for (const Axis each : kAxes) known.emplace_back(axis_name(each));
      known.insert(known.end(), {"massive", "outlier", "top", "random"});
      fail("unknown condition '{}' in edit '{}'{}", printable(std::string(name)), item_, hint(name, known));
    }
    require(selection.find(*axis) == nullptr, "edit '{}' chooses by {} twice; join alternatives with |",
            item_, name);
    Choice choice{*axis};
    for (const std::string_view alternative : split(value, '|')) parse_alternative(alternative, choice);
    selection.choices.push_back(std::move(choice));
  }

  void parse_alternative(std::string_view text, Choice& choice) const {
    const size_t dots = text.find("..");
    const auto first = number_of<int64_t>(text.substr(0, dots));
    const auto last = dots == std::string_view::npos ? first : number_of<int64_t>(text.substr(dots + 2));
    if (first && last) {
      choice.spans.push_back({*first, *last});
      return;
    }
    std::vector<std::string> known;
    if (choice.axis == Axis::token) {
      if (const auto value = class_of(text)) {
        choice.classes.push_back(*value);
        return;
      }
      known = class_names();
    }
    if (choice.axis == Axis::expert) {
      if (text == "shared") {
        choice.shared = true;
        return;
      }
      known = {"shared"};
    }
    const std::string close = nearest(text, known);
    fail("'{}' in edit '{}' is no {}: write a number or a range like 2..5{}{}", printable(std::string(text)),
         item_, axis_name(choice.axis), known.empty() ? "" : fmt::format(", or {}", fmt::join(known, ", ")),
         close.empty() ? "" : fmt::format("; did you mean '{}'?", close));
  }

  static std::vector<std::string> class_names() {
    std::vector<std::string> names;
    for (int i = 0; i <= static_cast<int>(text::TokenClass::last); ++i) {
      names.emplace_back(token_class_name(static_cast<text::TokenClass>(i)));
    }
    return names;
  }
  static std::optional<text::TokenClass> class_of(std::string_view name) {
    const std::vector<std::string> names = class_names();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return std::nullopt;
    return static_cast<text::TokenClass>(found - names.begin());
  }

  void parse_operation(std::string_view text, Operation& operation) const {
    require(!text.empty(), "edit '{}' has no operation; known: {}", item_, fmt::join(kOperations, ", "));
    const size_t open = text.find('(');
    const std::string name(trimmed(text.substr(0, open)));
    std::optional<std::string_view> argument;
    if (open != std::string_view::npos) {
      require(text.ends_with(')'), "edit '{}' lacks the ) of {}", item_, printable(name));
      argument = trimmed(text.substr(open + 1, text.size() - open - 2));
    }
    using Kind = Operation::Kind;
    if (std::find(kOperations.begin(), kOperations.end(), name) == kOperations.end())
      fail("unknown operation '{}' in edit '{}'{}", printable(name), item_, hint(name, kOperations));
    if (name == "zero" || name == "median") {
      require(!argument, "edit '{}': {} takes no value", item_, name);
      operation.kind = name == "zero" ? Kind::zero : Kind::median;
    } else if (name == "mean") {
      operation.kind = argument ? Kind::class_mean : Kind::mean;
      if (!argument) return;
      const auto value = class_of(*argument);
      if (!value) {
        fail("'{}' in edit '{}' is no class of tokens{}", printable(std::string(*argument)), item_,
             hint(*argument, class_names()));
      }
      operation.token_class = *value;
    } else {
      operation.kind = name == "value"   ? Kind::value
                       : name == "clamp" ? Kind::clamp
                       : name == "scale" ? Kind::scale
                                         : Kind::noise;
      parse_numbers(name, argument.value_or(""), operation);
    }
  }

  void parse_numbers(const std::string& name, std::string_view argument, Operation& operation) const {
    const std::vector<std::string_view> parts = split(argument, ',');
    const auto number = number_of<double>(parts.front());
    require(number && std::isfinite(*number), "edit '{}': write {}(x) with a finite number", item_, name);
    operation.number = *number;
    const bool noise = operation.kind == Operation::Kind::noise;
    require((!noise && operation.kind != Operation::Kind::clamp) || *number >= 0,
            "edit '{}': the number of {} should not be negative", item_, name);
    require(parts.size() == 1 || (noise && parts.size() == 2), "edit '{}': {} takes one number{}", item_,
            name, noise ? ", and a seed" : "");
    if (parts.size() == 1) return;
    const auto seed = number_of<uint64_t>(parts[1]);
    require(seed.has_value(), "edit '{}': '{}' is no seed; write a whole number of 0 or more", item_,
            printable(std::string(parts[1])));
    operation.seed = *seed;
  }

  std::string_view text_;
  std::string item_;  // as it is printed
  const models::Config& config_;
};

}  // namespace

std::vector<Edit> parse_edits(const std::string& text, const models::Config& config) {
  std::vector<Edit> edits;
  for (const std::string_view part : split(text, ';')) {
    require(!part.empty(), "the edits '{}' have an empty item; write SITE[SELECTION]=OPERATION",
            printable(text));
    for (Edit& edit : EditParser(part, config)()) edits.push_back(std::move(edit));
  }
  check_edits(edits, config, 0);
  return edits;
}

}  // namespace outliers::run
