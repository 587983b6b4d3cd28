// The grammar of edits: what is read, how it is written again, what is refused.
#include "outliers/run/edit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;
using Kind = Operation::Kind;

models::Config plain() {
  models::Config c;
  c.layers = 4;
  c.width = 24;
  c.heads = 6;
  c.kv_heads = 2;
  c.head_width = 8;
  c.mlp_width = 40;
  c.vocabulary = 50;
  return c;
}

models::Config mixture() {
  models::Config c = plain();
  c.experts = {.count = 5, .used = 2, .width = 12, .shared_width = 16};
  c.routed = {false, true, true, true};
  return c;
}

std::string again(const std::string& text, const models::Config& config = plain()) {
  const std::vector<Edit> edits = parse_edits(text, config);
  const std::string name = edits_name(edits);
  EXPECT_EQ(parse_edits(name, config), edits) << name;
  return name;
}

std::string error_of(const std::string& text, const models::Config& config = plain()) {
  const std::string message = tests::error_of([&] { parse_edits(text, config); });
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

TEST(ParseEdits, ReadsAllParts) {
  const std::vector<Edit> edits =
      parse_edits("layer.2.resid_out[token=0|3..5|initial,channel=-1]=value(-2.5)", plain());
  ASSERT_EQ(edits.size(), 1u);
  EXPECT_EQ(std::get<Site>(edits[0].site), (Site{2, Point::resid_out}));
  const Selection& chosen = edits[0].selection;
  ASSERT_EQ(chosen.choices.size(), 2u);
  EXPECT_EQ(chosen.find(Axis::token)->spans, (std::vector<Span>{{0, 0}, {3, 5}}));
  EXPECT_EQ(chosen.find(Axis::token)->classes, (std::vector{text::TokenClass::initial}));
  EXPECT_EQ(chosen.find(Axis::channel)->spans, (std::vector<Span>{{-1, -1}}));
  EXPECT_EQ(edits[0].operation.kind, Kind::value);
  EXPECT_EQ(edits[0].operation.number, -2.5);
  EXPECT_FALSE(edits[0].needs_statistics());
  EXPECT_TRUE(parse_edits("logits[top=3]=scale(2)", plain())[0].needs_statistics());
  EXPECT_TRUE(parse_edits("logits=median", plain())[0].needs_statistics());
}

TEST(ParseEdits, WritesTheCanonicalForm) {
  const std::pair<const char*, const char*> cases[] = {
      {"layer.3.resid_out[token=0,channel=23]=zero", nullptr},
      {" layer.-1.resid_out [ channel = 2 , token = 0 ] = zero ",
       "layer.3.resid_out[token=0,channel=2]=zero"},
      {"layer.*.resid_out=mean", "layer.0..3.resid_out=mean"},
      {"layer.1..2.attn_probs[head=0|2,key=0]=zero", nullptr},
      {"layer.0.down_in[top=5]=mean(strong_delimiter)", nullptr},
      {"layer.0.down_in[random=17,top=5,token=1]=zero", "layer.0.down_in[token=1,top=5,random=17]=zero"},
      {"weight.1.up[row=2,random=0]=zero", nullptr},
      {"layer.0.resid_out[outlier,massive]=median", "layer.0.resid_out[massive,outlier]=median"},
      {"layer.0.resid_out[]=clamp(1e3)", "layer.0.resid_out=clamp(1000)"},
      {"layer.0.resid_out=noise(0.1)", nullptr},
      {"layer.0.resid_out=noise(0.1, 7)", "layer.0.resid_out=noise(0.1,7)"},
      {"layer.0.resid_out[token=other|-3..-1]=scale(1.5)",
       "layer.0.resid_out[token=-3..-1|other]=scale(1.5)"},
      {"logits[channel=7]=value(-3);final_norm_out=scale(0)", nullptr},
      {"weight.*.down[row=1,column=39]=zero", "weight.0..3.down[row=1,column=39]=zero"},
      {"weight.-2.q[top=4]=mean; weight.0.gate=noise(1)", "weight.2.q[top=4]=mean;weight.0.gate=noise(1)"},
      {"layer.1.down_in=zero;layer.3.down_in=zero", nullptr},
      {"layer.1.down_in=zero;layer.2.down_in=scale(2)", nullptr},
  };
  for (const auto& [text, canonical] : cases) {
    EXPECT_EQ(again(text), canonical == nullptr ? text : canonical);
  }
  EXPECT_EQ(again("weight.1.down[expert=shared|0]=zero;layer.1.experts.down_in[expert=-1]=mean", mixture()),
            "weight.1.down[expert=0|shared]=zero;layer.1.experts.down_in[expert=-1]=mean");
  EXPECT_EQ(again("layer.*.router_logits[expert=4]=zero", mixture()),
            "layer.1..3.router_logits[expert=4]=zero");
}

TEST(Edits, CountTheEntriesOfMatrices) {
  const auto entries = [](const char* text, const models::Config& config) {
    return matrix_entries(parse_edits(text, config).front(), config);
  };
  const models::Config& c = plain();
  const int64_t D = c.width, F = c.mlp_width;
  EXPECT_EQ(entries("weight.1.down=zero", c), D * F);
  EXPECT_EQ(entries("weight.1.down[row=1]=zero", c), F);
  EXPECT_EQ(entries("weight.1.up[column=0..2|1|-1]=zero", c), 4 * F);
  EXPECT_EQ(entries("weight.1.down[row=1,column=2]=zero", c), 1);
  EXPECT_EQ(entries("weight.1.down[top=7]=zero", c), 7);
  const models::Config& m = mixture();
  EXPECT_EQ(entries("weight.1.down[row=1]=zero", m), m.experts.count * m.experts.width);
  EXPECT_EQ(entries("weight.1.down[row=1,expert=0|2]=zero", m), 2 * m.experts.width);
}

TEST(ParseEdits, ExplainsMistakes) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "empty item"},
      {"layer.0.resid_out=zero;", "empty item"},
      {"layer.0.resid_out", "has no operation; write SITE[SELECTION]=OPERATION"},
      {"layer.0.resid_out=", "has no operation; known: zero, value"},
      {"=zero", "names no site"},
      {"layer.0.resid_oat=zero", "did you mean 'layer.0.resid_out'?"},
      {"layer.4.resid_out=zero", "outside the model's layers 0 to 3"},
      {"layer.0.resid_out[token=0=zero", "lacks the ]"},
      {"layer.0.resid_out[token=0]zero", "lacks =OPERATION"},
      {"layer.0.resid_out[tokn=0]=zero",
       "unknown condition 'tokn' in edit 'layer.0.resid_out[tokn=0]=zero'; did you mean 'token'?"},
      {"layer.0.resid_out[token=x]=zero",
       "'x' in edit 'layer.0.resid_out[token=x]=zero' is no token: write a number"},
      {"layer.0.resid_out[token=intial]=zero", "did you mean 'initial'?"},
      {"layer.0.resid_out[token=0,token=1]=zero", "chooses by token twice"},
      {"layer.0.resid_out[head=0]=zero", "chooses by head, but resid_out has none; it has token, channel"},
      {"layer.0.resid_out[channel=24]=zero",
       "channel 24 of edit 'layer.0.resid_out[channel=24]=zero' is outside the 24 there are"},
      {"layer.0.key[head=2]=zero", "head 2 of edit 'layer.0.key[head=2]=zero' is outside the 2 there are"},
      {"layer.0.resid_out[channel=5..3]=zero", "run backwards"},
      {"layer.0.resid_out[top=0]=zero", "top=0 should be a number of 1 or more"},
      {"layer.0.resid_out[massive=1]=zero", "massive takes no value"},
      {"layer.0.resid_out[random]=zero", "random= should be a seed of 0 or more"},
      {"layer.0.resid_out[random=-1]=zero", "random=-1 should be a seed of 0 or more"},
      {"layer.0.attn_probs[massive]=zero", "massive and outlier are of activations with channels"},
      {"layer.0.resid_out=zro",
       "unknown operation 'zro' in edit 'layer.0.resid_out=zro'; did you mean 'zero'?"},
      {"layer.0.resid_out=zero(1)", "zero takes no value"},
      {"layer.0.resid_out=scale", "write scale(x) with a finite number"},
      {"layer.0.resid_out=scale(inf)", "write scale(x) with a finite number"},
      {"layer.0.resid_out=scale(1", "lacks the ) of scale"},
      {"layer.0.resid_out=scale(1,2)", "scale takes one number"},
      {"layer.0.resid_out=noise(-1)", "should not be negative"},
      {"layer.0.resid_out=noise(1,-1)", "'-1' is no seed"},
      {"layer.0.resid_out=mean(initail)", "did you mean 'initial'?"},
      {"layer.0.experts.down_in=zero", "the MLP there is not of experts"},
      {"weight.0=zero", "lacks its module"},
      {"weight.0.dwn=zero", "unknown module 'dwn' in edit 'weight.0.dwn=zero'; did you mean 'down'?"},
      {"weight.9.down=zero", "outside the model's layers 0 to 3"},
      {"weight.0.router=zero", "layer 0 has no router"},
      {"weight.0.down[token=0]=zero", "chooses by token, but down has row, column"},
      {"weight.0.down[row=24]=zero",
       "row 24 of edit 'weight.0.down[row=24]=zero' is outside the 24 there are"},
      {"weight.0.down[massive]=zero", "of a matrix, top=K chooses"},
      {"weight.0.down=mean(other)", "a matrix has no tokens"},
  };
  for (const auto& [text, message] : cases) EXPECT_THAT(error_of(text), HasSubstr(message)) << text;
  EXPECT_THAT(error_of("layer.1.experts.index=zero", mixture()),
              HasSubstr("edit router_logits, which choose them"));
  EXPECT_THAT(error_of("layer.1.experts.down_in=mean", mixture()), HasSubstr("choose one with expert="));
  EXPECT_THAT(error_of("layer.1.experts.down_in[expert=0..1]=median", mixture()),
              HasSubstr("choose one with expert="));
  EXPECT_THAT(error_of("layer.1.experts.down_in[expert=shared]=zero", mixture()),
              HasSubstr("whose points are shared.*"));
  EXPECT_THAT(error_of("weight.1.down[expert=5]=zero", mixture()), HasSubstr("expert 5 of edit"));
}

TEST(Edits, NameWhatOnlyCodeCanDo) {
  Edit edit{Site{1, Point::down_in}};
  edit.operation.kind = Kind::function;
  EXPECT_EQ(edits_name({edit}), "layer.1.down_in=function");
  EXPECT_THAT(error_of("layer.1.down_in=function"), HasSubstr("unknown operation 'function'"));
}

TEST(Edits, AreCheckedAgainstTokens) {
  const std::vector<Edit> edits = parse_edits("layer.1.attn_probs[token=7,key=-8]=zero", plain());
  EXPECT_NO_THROW(check_edits(edits, plain(), 8));
  EXPECT_THAT(
      tests::error_of([&] { check_edits(edits, plain(), 7); }),
      HasSubstr("token 7 of edit 'layer.1.attn_probs[token=7,key=-8]=zero' is outside the 7 there are"));
}

}  // namespace
}  // namespace outliers::run
