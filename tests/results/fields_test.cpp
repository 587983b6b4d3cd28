// The table of fields: it has every member of every type, and its texts can be shown.
#include <regex>
#include <set>
#include <typeindex>

#include <gmock/gmock.h>

#include "outliers/results/json.h"
#include "outliers/results/visit.h"

namespace outliers::results {
namespace {

using testing::HasSubstr;
using testing::Not;

/// What a member may be initialised with: anything, or an optional of anything, whose constructors make the
/// first ambiguous. Never called.
struct Anything {
  template <typename T>
  operator T() const;
};
struct AnyOptional {
  template <typename T>
  operator std::optional<T>() const;
};

/// How many members an aggregate has; a base class counts as one.
template <typename T, typename... Members>
constexpr size_t members() {
  if constexpr (requires { T{Members{}..., Anything{}}; }) {
    return members<T, Members..., Anything>();
  } else if constexpr (requires { T{Members{}..., AnyOptional{}}; }) {
    return members<T, Members..., AnyOptional>();
  } else {
    return sizeof...(Members);
  }
}
template <>
constexpr size_t members<Weight>() {
  return members<Weight, Anything>() - 1 + members<MatrixScore>();
}
template <>
constexpr size_t members<DrivenNeuron>() {
  return members<DrivenNeuron, Anything>() - 1 + members<Neuron>();
}
template <>
constexpr size_t members<Run>() {
  return members<Run, Anything, Anything>() - 2 + members<Program>() + members<Cost>();
}
template <>
constexpr size_t members<InterventionRun>() {
  return members<InterventionRun, Anything>() - 1 + members<Score>();
}
template <>
constexpr size_t members<EvaluationRun>() {
  return members<EvaluationRun, Anything, Anything>() - 2 + members<Program>() + members<Cost>();
}

/// Walks all types, each once.
class MemberCounter {
 public:
  template <typename T>
  void type() {
    if constexpr (is_optional<T>) {
      type<typename T::value_type>();
    } else if constexpr (is_list<T>) {
      type<typename T::value_type>();
    } else if constexpr (is_named<T>) {
      type<typename T::value_type::second_type>();
    } else if constexpr (HasFields<T>) {
      if (!seen.insert(typeid(T)).second) return;
      MemberCounter below;
      below.seen = seen;
      T x;
      fields(below, x);
      seen = below.seen;
      EXPECT_EQ(below.names.size(), members<T>()) << typeid(T).name();
      EXPECT_EQ(std::set<std::string>(below.names.begin(), below.names.end()).size(), below.names.size());
    }
  }
  template <typename T>
  void operator()(const Field& field, T&) {
    names.emplace_back(field.name);
    type<T>();
  }

  std::vector<std::string> names;
  std::set<std::type_index> seen;
};

struct Base {
  int a;
};
struct Counted : Base {
  std::optional<double> b;
  std::vector<int> c;
  std::string d;
  std::optional<std::string> e;
  Named<int> f;
  bool g, h;
};
static_assert(members<Counted>() == 8);
static_assert(members<Expert>() == 1);

TEST(Fields, HaveEveryMemberOfEveryType) {
  MemberCounter counter;
  counter.type<Results>();
  counter.type<Interventions>();
  EXPECT_GT(counter.seen.size(), 40);
}

TEST(Fields, HaveTextsToShow) {
  const std::regex source("(compare )?arXiv [0-9]{4}\\.[0-9]{5}(, .+)?");
  size_t sources = 0;
  for (const Documented& entry : documented()) {
    const std::string text = filled(entry.what, Criteria());
    EXPECT_THAT(text, Not(testing::ContainsRegex("[{}]"))) << entry.path;
    EXPECT_THAT(text, Not(HasSubstr("  "))) << entry.path;
    EXPECT_THAT(text, Not(testing::EndsWith("."))) << entry.path;
    if (entry.source.empty()) continue;
    ++sources;
    EXPECT_TRUE(std::regex_match(entry.source, source)) << entry.path << ": " << entry.source;
  }
  EXPECT_GT(sources, 15);
}

TEST(Fields, AreListedOfEachTypeOnce) {
  size_t channels = 0;
  for (const Documented& entry : documented()) channels += entry.path.ends_with(".top[].channel");
  EXPECT_EQ(channels, 1);
}

TEST(Filled, PutsCriteriaIntoTheText) {
  Criteria criteria;
  criteria.massive_above = 12.5;
  criteria.sink_queries = 7;
  EXPECT_EQ(filled("abs x > {massive_above}", criteria), "abs x > 12.5");
  EXPECT_EQ(filled("{sink_queries} and {sink_queries} of {massive_ratio}", criteria), "7 and 7 of 1000");
  EXPECT_EQ(filled("{unknown} {", criteria), "{unknown} {");
  EXPECT_EQ(filled("", criteria), "");
}

TEST(Definitions, AreOfWhatIsMeasuredEachByItsPath) {
  Criteria criteria;
  criteria.massive_above = 50;
  const Named<Definition> list = definitions(criteria);
  const Definition* massive = list.find("layers[].inputs.*.resid_out.massive");
  ASSERT_NE(massive, nullptr);
  EXPECT_THAT(massive->definition, HasSubstr("abs x > 50 and abs x > 1000 x median"));
  EXPECT_EQ(massive->source, "arXiv 2402.17762");
  // A type that stands at two places is defined at both.
  for (const char* path :
       {"layers[].inputs.*.down_in.massive", "layers[].inputs.*.attention.heads[].sink_rate",
        "layers[].weights.router.score", "layers[].weights.experts[].modules.*.score",
        "summary.lives[].removed_layer", "summary.headroom.*.int8_step_over_median", "inputs[].classes"}) {
    EXPECT_TRUE(list.contains(path)) << path;
  }
  EXPECT_FALSE(list.contains("run.threads"));
  for (const auto& [path, definition] : list) EXPECT_GT(definition.definition.size(), 5) << path;
}

TEST(ArrayTable, NamesEachArrayOnceWithKnownLetters) {
  std::set<std::string> names;
  for (const ArrayField& array : array_table()) {
    EXPECT_TRUE(names.insert(array.name).second) << array.name;
    EXPECT_TRUE(std::regex_match(array.shape, std::regex("L?( ?([DFHNTKJd]|7|13))+"))) << array.shape;
    EXPECT_NE(std::string(array.what), "") << array.name;
  }
}

}  // namespace
}  // namespace outliers::results
