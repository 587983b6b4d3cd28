// results.json is not believed before it is checked: what errors say, and where.
#include <gmock/gmock.h>

#include "outliers/results/json.h"

#include "every_field.h"
#include "support.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

class Read : public testing::Test {
 protected:
  static ordered_json whole() {
    static const ordered_json json = ordered_json::parse(to_text(tests::every_field(false)));
    return json;
  }
  Results read_text(const std::string& text) {
    tests::write_file(scratch_ / "results.json", text);
    return read(scratch_ / "results.json");
  }
  /// What is said of `text` as results.json.
  std::string refusal_of(const std::string& text) {
    const std::string message = tests::error_of([&] { read_text(text); });
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 500) << message;
    return message;
  }
  /// What is said of every_field() after `change`.
  template <typename Change>
  std::string refusal(Change&& change) {
    ordered_json json = whole();
    change(json);
    return refusal_of(json.dump());
  }
  tests::ScratchDirectory scratch_;
};

#define EXPECT_REFUSED(place, value, message)                                     \
  EXPECT_THAT(refusal([](ordered_json& r) { r place = value; }),                  \
              AllOf(HasSubstr("results.json: "), EndsWith(std::string(message)))) \
      << #place

TEST_F(Read, NamesTheFieldOfAnotherType) {
  EXPECT_REFUSED(["run"], 3, ": run is 3; it should be an object");
  EXPECT_REFUSED(["run"]["threads"], 2.5, ": run.threads is 2.5; it should be a whole number");
  EXPECT_REFUSED(["run"]["threads"], "2", ": run.threads is \"2\"; it should be a whole number");
  EXPECT_REFUSED(["run"]["threads"], nullptr, ": run.threads is null; it should be a whole number");
  EXPECT_REFUSED(["run"]["threads"], 18446744073709551615U,
                 ": run.threads is 18446744073709551615; it should be a whole number");
  EXPECT_REFUSED(["run"]["version"], 3, ": run.version is 3; it should be a text");
  EXPECT_REFUSED(["run"]["seconds"]["load"], "x", ": run.seconds.load is \"x\"; it should be a number");
  EXPECT_REFUSED(["inputs"], ordered_json::object(), ": inputs is an object; it should be a list");
  EXPECT_REFUSED(["inputs"][0]["attention_maps"], 1,
                 ": inputs[0].attention_maps is 1; it should be true or false");
  EXPECT_REFUSED(["inputs"][1]["kind"], 1, ": inputs[1].kind is 1; it should be a text");
  EXPECT_REFUSED(
      ["layers"][2]["inputs"]["prompt"]["writes"]["largest"]["neurons"][1]["weight"], "x",
      ": layers[2].inputs.prompt.writes.largest.neurons[1].weight is \"x\"; it should be a number");
  EXPECT_REFUSED(["layers"][2]["inputs"], ordered_json::array(),
                 ": layers[2].inputs is a list; it should be an object");
  EXPECT_REFUSED(["layers"][2]["inputs"]["prompt"]["experts"][0]["expert"], "all",
                 ".experts[0].expert is \"all\"; it should be a whole number");
}

TEST_F(Read, NamesTheFieldThatIsOutOfItsRange) {
  EXPECT_REFUSED(["run"]["threads"], 0, ": run.threads is 0, below 1");
  EXPECT_REFUSED(["run"]["ranks"], 1, ": run.ranks is 1, below 2");
  EXPECT_REFUSED(["run"]["seed"], 9007199254740993, "run.seed is 9007199254740993, above 9007199254740991");
  EXPECT_REFUSED(["summary"]["sink_rate"], 1.5, ": summary.sink_rate is 1.5, above 1");
  EXPECT_REFUSED(["summary"]["lives"][0]["massive_channels"][1], -1,
                 ": summary.lives[0].massive_channels[1] is -1, below 0");
  EXPECT_REFUSED(["layers"][0]["inputs"]["corpus"]["down_in"]["max"], -0.5,
                 ": layers[0].inputs.corpus.down_in.max is -0.5, below 0");
  // What stands for none and for the shared expert in memory.
  for (const int64_t number : {-1, -2}) {
    EXPECT_THAT(refusal([&](auto& r) { r["layers"][0]["weights"]["experts"][0]["expert"] = number; }),
                EndsWith(fmt::format("layers[0].weights.experts[0].expert is {}, below 0", number)));
  }
}

TEST_F(Read, NamesTheTextThatIsNotOneOfItsValues) {
  EXPECT_REFUSED(["model"]["format"], "onnx", ": model.format is \"onnx\", which is none of its values");
  EXPECT_REFUSED(["inputs"][0]["kind"], "both", ": inputs[0].kind is \"both\", which is none of its values");
  EXPECT_REFUSED(["inputs"][1]["classes"][3], "king",
                 ": inputs[1].classes[3] is \"king\", which is none of its values");
  EXPECT_REFUSED(["layers"][1]["weights"]["router"]["axis"], "",
                 ": layers[1].weights.router.axis is \"\", which is none of its values");
  for (const std::string device : {"gpu", "cuda:", "cuda:1x", "cpu ", "", "\ncpu", "cuda:\n0"}) {
    EXPECT_THAT(refusal([&](auto& r) { r["run"]["device"] = device; }), HasSubstr(": run.device is "));
  }
  for (const char* device : {"cpu", "cuda", "cuda:17"}) {
    ordered_json json = whole();
    json["run"]["device"] = device;
    EXPECT_EQ(read_text(json.dump()).run.device, device);
  }
  EXPECT_THAT(refusal([](auto& r) { r["run"]["device"] = "cuda:" + std::string(1'000'000, '1'); }),
              HasSubstr(": run.device is "));
  for (const std::string name : {"", "a b", "a.b", "<b>", "\xc3\xa9"}) {
    EXPECT_THAT(refusal([&](auto& r) { r["inputs"][0]["name"] = name; }), HasSubstr(": inputs[0].name is "));
  }
}

TEST_F(Read, NamesWhatIsMissingOrOneTooMuch) {
  EXPECT_THAT(refusal([](auto& r) { r["layers"][1]["inputs"]["corpus"]["resid_out"].erase("top"); }),
              EndsWith(": layers[1].inputs.corpus.resid_out.top is missing"));
  EXPECT_THAT(refusal([](auto& r) { r.erase("criteria"); }), EndsWith(": criteria is missing"));
  EXPECT_THAT(refusal([](auto& r) { r["summary"].erase("first_nonfinite"); }),
              EndsWith(": summary.first_nonfinite is missing"));
  EXPECT_REFUSED(["inputs"], ordered_json::array(), ": inputs has no entries");
  EXPECT_REFUSED(["layers"], ordered_json::array(), ": layers has no entries");
  EXPECT_REFUSED(["layers"][0]["inputs"]["corpus"]["resid_out"]["top3_mean"], ordered_json({1, 2, 3, 4}),
                 ".resid_out.top3_mean has 4 entries, more than 3");
  EXPECT_THAT(refusal([](auto& r) {
                auto& modules = r["layers"][0]["weights"]["modules"];
                modules["side"] = modules["up"];
              }),
              EndsWith(": layers[0].weights.modules has an unknown entry side"));
  EXPECT_THAT(refusal([](auto& r) { r["summary"]["headroom"]["query"] = nullptr; }),
              EndsWith(": summary.headroom has an unknown entry query"));
}

TEST_F(Read, TakesNullForNumbersOnlyAndWhereItMayBe) {
  ordered_json json = whole();
  json["layers"][0]["inputs"]["corpus"]["resid_out"]["max"] = nullptr;
  json["summary"]["headroom"]["down_in"] = nullptr;
  json["summary"]["lives"][0]["removed_layer"] = nullptr;
  Results results = read_text(json.dump());
  EXPECT_TRUE(std::isnan(results.layers[0].inputs["corpus"].resid_out->max));
  EXPECT_FALSE(results.summary.headroom["down_in"].has_value());
  EXPECT_FALSE(results.summary.lives[0].removed_layer.has_value());
  EXPECT_REFUSED(["model"]["vision"], nullptr, ": model.vision is null; it should be an object");
  EXPECT_REFUSED(["layers"][0]["inputs"]["corpus"]["resid_out"]["top"][0]["token"], nullptr,
                 ".top[0].token is null; it should be a whole number");
  EXPECT_REFUSED(["layers"][0]["inputs"]["corpus"], nullptr,
                 ": layers[0].inputs.corpus is null; it should be an object");
}

TEST_F(Read, LeavesUnknownFieldsAlone) {
  ordered_json json = whole();
  json["later"] = {{"a", 1}};
  json["layers"][0]["inputs"]["corpus"]["later"] = "x";
  EXPECT_EQ(to_text(read_text(json.dump())), to_text(tests::every_field(false)));
}

TEST_F(Read, TakesTheLastOfEqualNames) {
  std::string text = whole().dump();
  text.insert(text.size() - 1, R"(,"images":{"names":[]})");
  EXPECT_THAT(refusal_of(text), EndsWith(": images.names has no entries"));
  const std::string values = R"("values":{)";
  text = whole().dump();
  text.insert(text.find(values) + values.size(), R"("corpus":[7,8,9],)");
  const Results results = read_text(text);
  EXPECT_EQ(results.layers[0].inputs.find("corpus")->values.find("corpus")->size(), 2);
  EXPECT_EQ(results.layers[0].inputs.find("corpus")->values.size(), 2);
}

TEST_F(Read, ShowsHostileNamesAndValuesOnOneShortLine) {
  const std::string hostile = "\n\x1b[31m" + std::string(5000, 'x');
  EXPECT_THAT(refusal([&](auto& r) { r["layers"][0]["inputs"][hostile] = 1; }),
              HasSubstr(R"(layers[0].inputs.\n\x1b[31mxxx)"));
  EXPECT_THAT(refusal([&](auto& r) { r["definitions"][hostile] = 1; }), HasSubstr("definitions.\\n"));
  EXPECT_THAT(refusal([&](auto& r) { r["run"]["bos"] = hostile; }), HasSubstr("run.bos is "));
  EXPECT_THAT(refusal([&](auto& r) { r["schema"] = hostile; }), HasSubstr("this program reads"));
}

TEST_F(Read, RefusesAnotherSchema) {
  EXPECT_THAT(refusal([](auto& r) { r["schema"] = "outliers-results/3"; }),
              EndsWith("results.json is of outliers-results/3: this program reads outliers-results/1 and "
                       "outliers-results/2; read it with the version that wrote it"));
  for (const char* text : {"[]", "{}", "3", "null", R"({"schema": 2})", R"({"schema": NaN})", R"("schema")"})
    EXPECT_THAT(refusal_of(text), EndsWith("results.json is no report: it has no field schema")) << text;
}

TEST_F(Read, RefusesWhatIsCutShortOrNotThere) {
  const std::string text = to_text(tests::every_field(false));
  for (size_t size = 0; size < text.size(); size += 1 + text.size() / 100) {
    EXPECT_THAT(refusal_of(text.substr(0, size)), AllOf(HasSubstr("results.json: this is not valid JSON"),
                                                        HasSubstr("it is damaged or cut short")));
  }
  EXPECT_THAT(refusal_of(std::string(100'000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(tests::error_of([&] { read(scratch_ / "none.json"); }), HasSubstr("none.json"));
}

}  // namespace
}  // namespace outliers::results
