#include "outliers/report/page.h"

#include <cmath>
#include <cstring>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/report/page_arrays.h"
#include "outliers/report/page_text.h"

#include "sample_report.h"
#include "support.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

uint16_t word(const std::string& bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<unsigned char>(bytes[at]) |
                               static_cast<unsigned char>(bytes[at + 1]) << 8);
}
double float_at(const std::string& bytes, size_t at) {
  float value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

TEST(PageText, EscapesWhatEndsAnElement) {
  EXPECT_EQ(html_text("<b>\"a\" & b</b>"), "&lt;b&gt;&quot;a&quot; &amp; b&lt;/b&gt;");
  EXPECT_EQ(html_text("\xFF"), "\xEF\xBF\xBD");
  const std::string json = html_json({{"token", "</script><!--&"}, {"bad", "\xFF"}, {"none", NAN}});
  EXPECT_THAT(json, Not(HasSubstr("<")));
  EXPECT_THAT(json, Not(HasSubstr("&")));
  EXPECT_EQ(html_text("model\u202efdp"), "model\\u202efdp");
  EXPECT_EQ(html_json("\u202e\U0001f9ea"), "\"\\u202e\\ud83e\\uddea\"");
  EXPECT_EQ(html_json_text("{\"a\": \"<é\U0001f9ea\xFF\"}"),
            "{\"a\": \"\\u003c\\u00e9\\ud83e\\uddea\\ufffd\"}");
  const ordered_json back = ordered_json::parse(json);
  EXPECT_EQ(back["token"], "</script><!--&");
  EXPECT_TRUE(back["none"].is_null());
}

TEST(PageText, FillsEachPlaceOnce) {
  // A value that looks like a place is left alone, and so are braces that name nothing.
  EXPECT_EQ(fill_template("a{{x}}b{{y}}c {{ z }} {{x", {{"x", "{{y}}"}, {"y", "2"}}),
            "a{{y}}b2c {{ z }} {{x");
}

TEST(PageText, TemplatesAreWhole) {
  for (const std::string_view page : {report_template(), compare_template()}) {
    EXPECT_EQ(page.substr(0, 15), "<!doctype html>");
    EXPECT_EQ(page.substr(page.size() - 8), "</html>\n");
    EXPECT_THAT(std::string(page), HasSubstr("default-src 'none'; script-src 'sha256-"));
    for (const char* place : {"{{style}}", "{{script}}", "{{plotly}}", "{{csp}}"})
      EXPECT_EQ(page.find(place), std::string_view::npos) << place;
  }
}

class PageFiles : public testing::Test {
 protected:
  Results write(const tests::SampleReport& sample) {
    sample.write(scratch_ / "r");
    return read_results(scratch_ / "r");
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(PageFiles, ValuesAreThoseOfTheReport) {
  tests::SampleReport sample = tests::sample_report();
  tests::add_input(sample, "prompt2", "prompt");
  sample.arrays["prompt2.resid_out"][1][0][3] = 103795.25;
  sample.arrays["prompt2.resid_out"][1][1][2] = -0.1;
  sample.arrays["prompt2.resid_out"][1][2][0] = NAN;
  sample.arrays["prompt2.attention.probs_mean"][1][2][1] = NAN;
  const PageArrays arrays = page_arrays(write(sample), 3);
  EXPECT_TRUE(arrays.index.contains("prompt.resid_out"));
  const ordered_json& spec = arrays.index["prompt2.resid_out"];
  EXPECT_EQ(spec["bucket"], 1);
  EXPECT_TRUE(spec["places"].is_null());
  EXPECT_EQ(spec["values"].get<size_t>() % 4, 0u);
  const auto value = [&](size_t t, size_t c) {
    return float_at(arrays.bytes, spec["values"].get<size_t>() + 4 * ((3 + t) * 4 + c));
  };
  EXPECT_EQ(value(0, 3), 103795.25);
  EXPECT_EQ(value(1, 2), static_cast<double>(-0.1F));
  EXPECT_TRUE(std::isnan(value(2, 0)));
  // The second layer's lower triangle: its last row is the query 2.
  const size_t map = arrays.index["prompt2.probs_mean"]["values"].get<size_t>() + 2 * 6;
  EXPECT_EQ(word(arrays.bytes, map + 2 * 3), std::lround(65534.0 / 3));
  EXPECT_EQ(word(arrays.bytes, map + 2 * 4), 65535);
}

TEST_F(PageFiles, HoldsWhatWasMeasured) {
  tests::SampleReport sample = tests::sample_report();
  for (const char* measure : {"activations", "attention", "attention_maps", "weights", "prompt_values"}) {
    EXPECT_NO_THROW(write_page(write(sample), scratch_ / "index.html")) << measure;
    tests::leave_out(sample, measure);
  }
  EXPECT_EQ(page_arrays(write(sample), 3).index, ordered_json::object());
  write_page(write(sample), scratch_ / "index.html");
  EXPECT_THAT(tests::read_file(scratch_ / "index.html"), HasSubstr("<dt>measured</dt>"));
}

TEST_F(PageFiles, ABucketKeepsItsLargestValueAndItsPlace) {
  constexpr int64_t F = 120'000;
  tests::SampleReport sample = tests::sample_report();
  sample.data.model.mlp_width = F;
  at::manual_seed(1);
  sample.arrays["prompt.down_in"] = at::randn({2, 3, F});
  sample.arrays["prompt.down_in"][1][2][77'777] = -900;
  sample.arrays["prompt.down_in.channel_max"] = sample.arrays["corpus.down_in.channel_max"] =
      at::ones({2, F});
  const PageArrays arrays = page_arrays(write(sample), 3);
  const ordered_json& spec = arrays.index["prompt.down_in"];
  const int64_t bucket = spec["bucket"], B = spec["shape"][2];
  ASSERT_GT(bucket, 1);
  EXPECT_EQ(B, (F + bucket - 1) / bucket);
  EXPECT_EQ(spec["channels"], F);
  const at::Tensor x = sample.arrays["prompt.down_in"][1][2].contiguous();
  for (int64_t b = 0; b < B; ++b) {
    const at::Tensor part = x.narrow(0, b * bucket, std::min(bucket, F - b * bucket));
    const auto at = static_cast<size_t>((3 + 2) * B + b);
    const int64_t place = word(arrays.bytes, spec["places"].get<size_t>() + 2 * at);
    ASSERT_EQ(place, part.abs().argmax().item<int64_t>()) << b;
    ASSERT_EQ(float_at(arrays.bytes, spec["values"].get<size_t>() + 4 * at), part[place].item<double>());
  }
}

TEST_F(PageFiles, ThePageIsWrittenWholeOrNotAtAll) {
  tests::SampleReport sample = tests::sample_report();
  sample.data.model.name = "<script>";
  const auto path = scratch_ / "index.html";
  write_page(write(sample), path);
  const std::string html = tests::read_file(path);
  EXPECT_THAT(html.substr(0, 3000), HasSubstr("<title>&lt;script&gt;</title>"));
  EXPECT_LT(html.size(), 8'000'000u);

  sample.arrays.erase("prompt.attention.key_scores");
  EXPECT_NE(tests::error_of([&] { write_page(write(sample), path); }), "");
  EXPECT_EQ(tests::read_file(path), html);
}

TEST_F(PageFiles, ASummaryOfNumbersThatAreNone) {
  tests::SampleReport sample = tests::sample_report();
  for (size_t l : {0, 1}) {
    results::Activations& x = *sample.at(l, "prompt").resid_out;
    x.max = x.median = NAN;
    x.top.clear();
  }
  sample.at(1, "prompt").writes->largest.mlp = NAN;
  sample.data.summary.lives[0].removed_layer = 1;
  sample.data.layers[0].weights->modules["down"].score = NAN;
  sample.at(0, "corpus").attention->top_keys.clear();
  EXPECT_NO_THROW(write_page(write(sample), scratch_ / "index.html"));
  EXPECT_THAT(tests::read_file(scratch_ / "index.html"),
              HasSubstr("<dt>carried</dt><dd>to layer 0, largest in layer 1</dd>"));
}

}  // namespace
}  // namespace outliers::report
