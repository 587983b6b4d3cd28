// Edits that depend on a whole input, where ranks share it out: this program starts itself as two ranks.
#include <cstdlib>
#include <fstream>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/ranks.h"
#include "outliers/io/npz.h"
#include "outliers/run/runner.h"

#include "run/recorder.h"
#include "support.h"

namespace outliers::run {
namespace {

constexpr const char* kOutput = "OUTLIERS_TEST_OUTPUT";
constexpr int64_t kSequences = 5;
const std::vector<std::string> kEdits = {
    "layer.0.mlp_added[token=0,channel=3]=value(5000);layer.0.resid_out[massive]=mean",
    "layer.0.mlp_added[token=0,channel=3]=value(9000);layer.0.resid_out[outlier]=scale(0.5)",
    "layer.0.resid_out[top=7]=zero",
    "layer.1.query[head=0]=mean",
    "layer.1.down_in=median",
    "layer.1.resid_mid=noise(0.5)",
    "logits[token=2]=mean",
};

/// The logits of every edit, of the sequences of this rank.
std::vector<at::Tensor> run_part(Ranks* ranks) {
  const auto model = models::Model::open(tests::golden("models/llama_untied/model.safetensors"));
  at::manual_seed(2);
  const at::Tensor ids = at::randint(model->config().vocabulary, {kSequences, 12}, at::kLong);
  const auto [first, last] = ranks == nullptr ? std::pair{int64_t{0}, kSequences} : ranks->part(kSequences);
  std::vector<at::Tensor> found;
  for (const bool branched : {false, true}) {
    for (const std::string& text : kEdits) {
      std::vector<Input> inputs = {{"a", ids.slice(0, first, last)}};
      if (ranks != nullptr) inputs[0].part_begin = first;
      if (branched) {
        inputs.push_back({text});
        inputs.back().parent = 0;
      }
      inputs.back().edits = parse_edits(text, model->config());
      Recorder recorder(parse_sites("logits", model->config()), inputs.size() - 1);
      RunOptions options;
      options.logits = true;
      options.ranks = ranks;
      forward(*model, inputs, {&recorder}, options);
      found.push_back(recorder.get("logits"));
    }
  }
  return found;
}

/// What a rank does when the program is started as one.
TEST(EditRanks, DISABLED_Rank) {
  const auto ranks = Ranks::join(RankPlace::from_environment());
  ASSERT_NE(ranks, nullptr);
  const std::vector<at::Tensor> logits = run_part(ranks.get());
  io::NpzWriter writer(fmt::format("{}/{}.npz", std::getenv(kOutput), ranks->rank()));
  for (size_t i = 0; i < logits.size(); ++i) writer.add(std::to_string(i), logits[i]);
  writer.commit();
}

int free_port() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool bound = ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(listener);
  EXPECT_TRUE(bound);
  return ntohs(address.sin_port);
}

TEST(EditRanks, AreOneProcess) {
  const tests::ScratchDirectory scratch;
  const std::string port = std::to_string(free_port());
  std::vector<pid_t> children;
  for (int rank = 0; rank < 2; ++rank) {
    setenv("RANK", std::to_string(rank).c_str(), 1);
    setenv("WORLD_SIZE", "2", 1);
    setenv("LOCAL_RANK", std::to_string(rank).c_str(), 1);
    setenv("LOCAL_WORLD_SIZE", "2", 1);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    setenv("MASTER_PORT", port.c_str(), 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv(kOutput, scratch.path().c_str(), 1);
    std::vector<std::string> words = {"ranks", "--gtest_also_run_disabled_tests",
                                      "--gtest_filter=EditRanks.DISABLED_Rank", "--gtest_brief=1"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ), 0);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const std::vector<at::Tensor> one = run_part(nullptr);
  const io::NpzReader first(scratch / "0.npz"), second(scratch / "1.npz");
  for (size_t i = 0; i < one.size(); ++i) {
    const std::string name = std::to_string(i);
    EXPECT_TRUE(at::allclose(at::cat({first.read(name), second.read(name)}), one[i], 1e-5, 1e-5))
        << kEdits[i % kEdits.size()];
  }
}

}  // namespace
}  // namespace outliers::run
