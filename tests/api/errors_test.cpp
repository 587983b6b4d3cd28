// Each kind of docs/library.md, by what brings it about.
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/stat.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/outliers.h"

#include "support.h"

namespace outliers {
namespace {

using testing::HasSubstr;

const std::filesystem::path kModel = tests::golden("models/llama_smollm");

/// What `action` throws, with the message in front of what else there is to know.
struct Thrown {
  ErrorKind kind;
  int error_number;
  std::string message;
};

template <typename Action>
Thrown thrown_by(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("--"))) << "the name of an option";
    return {error.kind(), error.error_number(), error.what()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

class ErrorsTest : public testing::Test {
 protected:
  Model open() const { return Model::open((kModel / "model.gguf").string()); }
  /// A folder with the model's files, the weights cut to `bytes`.
  std::filesystem::path cut_model(size_t bytes) {
    const std::filesystem::path folder = scratch_ / "cut";
    std::filesystem::create_directories(folder);
    std::filesystem::copy(kModel / "config.json", folder / "config.json");
    tests::write_file(folder / "model.safetensors",
                      tests::read_file(kModel / "model.safetensors").substr(0, bytes));
    return folder;
  }
  const tests::ScratchDirectory scratch_;
};

TEST_F(ErrorsTest, FilesThatAreNotThereKeepTheSystemsReason) {
  const Thrown missing = thrown_by([] { Model::open("/nowhere/model.gguf"); });
  EXPECT_EQ(missing.kind, ErrorKind::file);
  EXPECT_EQ(missing.error_number, ENOENT);
  EXPECT_EQ(thrown_by([&] { Report::open(scratch_.path()); }).kind, ErrorKind::file);
  EXPECT_EQ(thrown_by([&] { Model::open(scratch_.path().string()); }).kind, ErrorKind::file);
  EXPECT_EQ(thrown_by([&] { open_tokenizer(scratch_ / "none"); }).error_number, ENOENT);
  EXPECT_EQ(thrown_by([&] { run::compare_captures(scratch_ / "a.npz", scratch_ / "b.npz"); }).error_number,
            ENOENT);
  const std::filesystem::path pipe = scratch_ / "model.gguf";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(thrown_by([&] { io::Checkpoint::open(pipe); }).kind, ErrorKind::file);
}

TEST_F(ErrorsTest, DamagedFilesAreInput) {
  const Thrown cut = thrown_by([&] { Model::open(cut_model(20000).string()); });
  EXPECT_EQ(cut.kind, ErrorKind::input);
  EXPECT_EQ(cut.error_number, 0);
  EXPECT_THAT(cut.message, HasSubstr("model.safetensors"));
  tests::write_file(scratch_ / "results.json", "{\"schema\": \"outliers-results/2\"}");
  tests::write_file(scratch_ / "arrays.npz", "");
  EXPECT_EQ(thrown_by([&] { Report::open(scratch_.path()); }).kind, ErrorKind::input);
}

TEST_F(ErrorsTest, WhatIsNotKnownHereIsUnsupported) {
  const std::filesystem::path folder = cut_model(1 << 20);
  tests::write_file(folder / "config.json",
                    R"({"model_type": "abacus", "architectures": ["AbacusForCausalLM"]})");
  const Thrown family = thrown_by([&] { Model::open(folder.string()); });
  EXPECT_EQ(family.kind, ErrorKind::unsupported);
  const Inspection inspection = inspect(folder.string());
  ASSERT_TRUE(inspection.problem().has_value());
  EXPECT_EQ(inspection.problem()->kind(), ErrorKind::unsupported);
  EXPECT_THAT(inspection.text(), HasSubstr("model.embed_tokens.weight"));

  std::string config = tests::read_file(kModel / "config.json");
  const std::string silu = "\"silu\"";
  config.replace(config.find(silu), silu.size(), "\"abacus\"");
  tests::write_file(folder / "config.json", config);
  EXPECT_EQ(thrown_by([&] { Model::open(folder.string()); }).kind, ErrorKind::unsupported);
}

TEST_F(ErrorsTest, WhatTheCallerGivesIsUsageOrArgument) {
  const Model model = open();
  const Session session;
  const run::Input input = model.ids({1, 2, 3});
  const auto kind_of = [](const auto& action) { return thrown_by(action).kind; };
  // Whatever the model.
  EXPECT_EQ(kind_of([] { const Session second; }), ErrorKind::usage);
  SurveyOptions survey;
  survey.measures = {"abacus"};
  EXPECT_EQ(kind_of([&] { session.survey(model, survey); }), ErrorKind::usage);
  // For this model.
  EXPECT_EQ(kind_of([&] { session.capture(model, input, "layer.9.resid_out"); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { session.capture(model, input, "layer.0.abacus"); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { run::parse_edits("layer.0.resid_out[token=9..1]=", model.config()); }),
            ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { session.capture(model, model.ids({1, 1000}), "logits"); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { session.capture(model, input, "logits", scratch_ / "a.txt"); }),
            ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { model.ids(std::vector<int64_t>(1000, 1)); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { model.images({kModel}); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { model.weight("layer.0.nothing"); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([&] { model.text("no tokenizer"); }), ErrorKind::argument);
  EXPECT_EQ(kind_of([] { stats::weight_summary(at::zeros({3})); }), ErrorKind::argument);
  survey = {};
  survey.images = {scratch_.path()};
  EXPECT_EQ(kind_of([&] { session.survey(model, survey); }), ErrorKind::argument);
  survey = {};
  survey.seed = results::kLargestSeed + 1;
  EXPECT_EQ(kind_of([&] { session.survey(model, survey); }), ErrorKind::argument);
}

TEST_F(ErrorsTest, Devices) {
  SessionOptions options;
  options.device = "abacus";
  EXPECT_EQ(thrown_by([&] { const Session session(options); }).kind, ErrorKind::usage);
  options.device = "cuda:99";
  EXPECT_EQ(thrown_by([&] { const Session session(options); }).kind, ErrorKind::device);
}

TEST_F(ErrorsTest, TooLittleMemory) {
  SessionOptions options;
  options.memory_limit = 1 << 20;
  const Session session(options);
  const Model model = open();
  EXPECT_EQ(thrown_by([&] { session.capture(model, model.ids({1, 2}), "logits"); }).kind, ErrorKind::memory);
}

TEST_F(ErrorsTest, PlacesThatAreTakenOrFullAreOutput) {
  const Model model = open();
  const Session session;
  const auto capture = [&](const std::filesystem::path& file) {
    return thrown_by([&] { session.capture(model, model.ids({1, 2, 3}), "layer.*.*", file); });
  };
  tests::write_file(scratch_ / "a.npz", "mine");
  const Thrown taken = capture(scratch_ / "a.npz");
  EXPECT_EQ(taken.kind, ErrorKind::output);
  EXPECT_EQ(taken.error_number, EEXIST);
  EXPECT_EQ(tests::read_file(scratch_ / "a.npz"), "mine");
  EXPECT_EQ(thrown_by([&] { ReportDirectory(scratch_.path()); }).error_number, EEXIST);
  EXPECT_EQ(thrown_by([&] { export_model((kModel / "model.gguf").string(), scratch_.path()); }).kind,
            ErrorKind::output);

  // A limit on the size of files fails writes as a full disk does.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit little{2000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  const Thrown npz = capture(scratch_ / "b.npz"), safetensors = capture(scratch_ / "b.safetensors");
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
  for (const Thrown& full : {npz, safetensors}) {
    EXPECT_EQ(full.kind, ErrorKind::output) << full.message;
    EXPECT_EQ(full.error_number, EFBIG) << full.message;
  }
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "b.npz"));
}

TEST_F(ErrorsTest, AHubThatDoesNotAnswerIsTheNetwork) {
  setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
  setenv("HF_HOME", scratch_.path().c_str(), 1);
  EXPECT_EQ(thrown_by([] { fetch("nobody/nothing"); }).kind, ErrorKind::network);
  unsetenv("HF_ENDPOINT");
  unsetenv("HF_HOME");
}

/// Sends this process a signal in the middle of a run.
class Impatient : public run::Observer {
 public:
  bool wants(const run::Site& site, size_t) const override { return site.point == run::Point::resid_out; }
  void on_point(const run::Site&, const run::Slice&, const at::Tensor&) override { std::raise(SIGINT); }
};

TEST_F(ErrorsTest, ASignalInterruptsWhereTheProgramAsksForIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the signal stays for the whole process
  const auto interrupted = [&] {
    prepare_process();
    const Model model = open();
    const Session session;
    Impatient impatient;
    const Thrown thrown = thrown_by([&] { session.forward(model, {model.ids({1, 2})}, {&impatient}); });
    std::_Exit(thrown.kind == ErrorKind::interrupted ? 0 : 1);
  };
  EXPECT_EXIT(interrupted(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace outliers
