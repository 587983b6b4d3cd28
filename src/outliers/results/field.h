// What the table of fields says of one of them. The table is fields.h: a function a type, which visitors walk
// to read and write results.json, to make its JSON Schema, its definitions and the tables of docs/results.md.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "outliers/core/criteria.h"
#include "outliers/core/formats.h"

namespace outliers::results {

struct Field {
  const char* name;
  /// The definition, in a sentence's words; "{massive_above}" stands for that number of Criteria.
  const char* what;
  const char* source;  ///< "arXiv 2402.17762, section 3"
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  std::span<const char* const> values = {};  ///< of a text: those that it may be; empty: any
  const char* pattern = nullptr;             ///< of a text: a regular expression (ECMAScript's)
  std::span<const char* const> names = {};   ///< of an object by names: those there may be; empty: any
  bool null = false;                         ///< an optional is null, not left out, where it is empty
  bool some = false;                         ///< a list has one entry at least
  size_t most = std::numeric_limits<size_t>::max();  ///< and at most so many
  /// A list, object or text is left out where it is empty; a number where the file is older than it.
  bool sparse = false;

  constexpr Field from(double limit) const { return with(&Field::minimum, limit); }
  constexpr Field to(double limit) const { return with(&Field::maximum, limit); }
  constexpr Field among(std::span<const char* const> list) const { return with(&Field::values, list); }
  constexpr Field like(const char* expression) const { return with(&Field::pattern, expression); }
  constexpr Field named(std::span<const char* const> list) const { return with(&Field::names, list); }
  constexpr Field or_null() const { return with(&Field::null, true); }
  constexpr Field not_empty() const { return with(&Field::some, true); }
  constexpr Field at_most(size_t entries) const { return with(&Field::most, entries); }
  constexpr Field or_left_out() const { return with(&Field::sparse, true); }

 private:
  template <typename M>
  constexpr Field with(M Field::*member, M value) const {
    Field changed = *this;
    changed.*member = value;
    return changed;
  }
};

constexpr Field field(const char* name, const char* what = "", const char* source = "") {
  return {name, what, source};
}

/// Classes of tokens: of text (text/token_class.h), then of images.
inline constexpr const char* kClasses[] = {"initial", "strong_delimiter", "weak_word", "other",
                                           "cls",     "register",         "patch"};

/// Fields that several types have.
inline constexpr Field kSequenceField = field("sequence").from(0), kTokenField = field("token").from(0),
                       kChannelField =
                           field("channel", "in a layer of experts a neuron of the one beside it").from(0),
                       kExpertField =
                           field("expert", "a number, or \"shared\" of the one that all tokens pass"),
                       kTokenTextField = field("token_text", "the token's text, as in inputs[].tokens"),
                       kClassField =
                           field("class", "the token's class, as in inputs[].classes").among(kClasses);

/// The largest value of a point, and where it stands.
template <typename V, typename X>
void fields_of_amax(V& v, X& x) {
  v(field("value", "the value, signed"), x.value);
  v(kSequenceField, x.sequence);
  v(field("token", "its place in the sequence; attn_logits are told by head alone").from(0), x.token);
  v(field("head", "of query, key, value and o_in, and of attn_logits, where it is a head of queries").from(0),
    x.head);
  v(field("channel",
          "in a layer of experts a neuron of the one beside it; of router_logits an expert, of logits the id "
          "of a token")
        .from(0),
    x.channel);
  v(kExpertField, x.expert);
}

/// Where a value stands: members of `x`.
template <typename V, typename X>
void fields_of_place(V& v, X& x) {
  v(kSequenceField, x.sequence);
  v(kTokenField, x.token);
  v(kChannelField, x.channel);
  v(kExpertField, x.expert);
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
}

/// An array of arrays.npz. Letters of its shape: L layers, D width, F neurons, H heads; of its input N
/// sequences, T tokens of each, K = kept tokens, J = the first 64 of them at most; d width of a head.
struct ArrayField {
  enum class Of {
    input,
    prompt,
    prompt_with_maps,
    prompt_born,  ///< whose lifecycle has an emergence, a disappearance, a layer of spread
    prompt_removed,
    prompt_spread,
    images,
    corpus,
    model
  };
  const char* name;  ///< after "INPUT.", of an input
  Of of;
  const char* shape;  ///< "L N T"
  const char* what;
  const char* measure;  ///< of which measure
};
std::span<const ArrayField> array_table();

/// `what` with the numbers of `criteria` in it: "abs x > 100".
std::string filled(std::string_view what, const Criteria& criteria);

}  // namespace outliers::results
