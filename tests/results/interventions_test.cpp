// interventions.json is read as it was written, and refused with the field where it is not what it says.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "outliers/results/json.h"

#include "every_field.h"
#include "support.h"

namespace outliers::results {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

class InterventionsFile : public testing::Test {
 protected:
  Interventions read_text(const std::string& text) {
    tests::write_file(scratch_ / "interventions.json", text);
    return read_interventions(scratch_ / "interventions.json");
  }
  template <typename Change>
  std::string refusal(Change&& change) {
    Interventions changed = sample_;
    change(changed);
    const std::string message = tests::error_of([&] { read_text(to_text(changed)); });
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  const Interventions sample_ = tests::every_intervention_field();
  tests::ScratchDirectory scratch_;
};

TEST_F(InterventionsFile, IsReadAsItWasWritten) {
  const std::string text = to_text(sample_);
  EXPECT_EQ(to_text(read_text(text)), text);
  Interventions not_finite = sample_;
  not_finite.runs[1].nll_nats = not_finite.runs[1].ppl = kNone;
  not_finite.runs[1].effect->nll_difference_standard_error.reset();
  not_finite.runs[1].layers.clear();
  not_finite.runs[1].window_nll_nats.clear();
  EXPECT_EQ(to_text(read_text(to_text(not_finite))), to_text(not_finite));
}

#define EXPECT_REFUSED(change, what)                     \
  EXPECT_THAT(refusal([](Interventions& x) { change; }), \
              HasSubstr(std::string("interventions.json: ") + what))

TEST_F(InterventionsFile, IsRefusedWhereItsRunsDoNotFit) {
  EXPECT_REFUSED(x.runs[2].name = "run1", "runs[2].name is run1, as of another run");
  EXPECT_REFUSED(x.runs[0].effect.emplace(), "runs[0] has an effect; the first run is the plain one");
  EXPECT_REFUSED(x.runs[1].effect.reset(), "runs[1] lacks its effect");
  EXPECT_REFUSED(x.runs[0].edits = "a=zero", "runs[0] has edits");
  EXPECT_REFUSED(x.runs[1].edits.clear(), "runs[1] lacks its edits");
  EXPECT_REFUSED(x.runs[2].control_of = "run0",
                 "runs[2].control_of is run0, which is no edited run before it");
  EXPECT_REFUSED(x.runs[2].control_of = "run2",
                 "runs[2].control_of is run2, which is no edited run before it");
  EXPECT_REFUSED(x.model.layers = 3, "runs[0].layers has 2 entries, but model.layers says 3");
  EXPECT_REFUSED(x.runs[2].layers[0].layer = 1,
                 "runs[2].layers[0].layer is 1; layers stand in order, to the last, 1");
  EXPECT_REFUSED(x.runs[1].window_nll_nats.pop_back(),
                 "runs[1].window_nll_nats has 1 entries, but text.windows says 2");
  EXPECT_REFUSED(x.runs.clear(), "runs has no entries");
}

TEST_F(InterventionsFile, IsRefusedWhereItIsSomethingElse) {
  EXPECT_THAT(tests::error_of([&] { read_text("{\"runs\": ["); }),
              HasSubstr("it is damaged or cut short: run outliers intervene again"));
  EXPECT_THAT(tests::error_of([&] { read_text("{}"); }),
              HasSubstr("is no intervention: it has no field schema"));
  EXPECT_THAT(
      tests::error_of([&] { read_text("{\"schema\": \"outliers-interventions/7\"}"); }),
      HasSubstr("is of outliers-interventions/7: this program reads outliers-interventions/1; read it "
                "with the version that wrote it"));
  EXPECT_THAT(tests::error_of([&] { read_interventions(scratch_ / "none.json"); }), HasSubstr("none.json"));
}

TEST_F(InterventionsFile, IsRefusedWhereAnyPartIsLostOrOfAnotherType) {
  const ordered_json whole = ordered_json::parse(to_text(sample_));
  size_t refused = 0;
  for (const auto& [name, part] : whole["runs"][1].items()) {
    for (const ordered_json& other :
         {ordered_json("x"), ordered_json::object(), ordered_json::array({"x"})}) {
      if (part.type() == other.type()) continue;
      ordered_json changed = whole;
      changed["runs"][1][name] = other;
      const std::string message = tests::error_of([&] { read_text(changed.dump()); });
      EXPECT_THAT(message, HasSubstr("runs[1]." + name)) << other;
      ++refused;
    }
  }
  EXPECT_GT(refused, 20u);
  for (const char* part : {"schema", "model", "run", "text", "runs"}) {
    ordered_json changed = whole;
    changed.erase(part);
    EXPECT_THAT(tests::error_of([&] { read_text(changed.dump()); }), HasSubstr(part));
  }
}

}  // namespace
}  // namespace outliers::results
