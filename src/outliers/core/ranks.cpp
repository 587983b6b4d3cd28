#include "outliers/core/ranks.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef OUTLIERS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"

namespace outliers {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kJoin = 60s;                     // for all ranks to come
constexpr auto kAsk = 500ms;                    // between questions whether another rank has failed
constexpr auto kLastWords = 3s;                 // for a failed rank's reason to arrive
constexpr auto kTransfer = 25s;                 // for NCCL to carry what all ranks are there for
constexpr std::chrono::seconds kForever = 24h;  // a rank may compute for long before it speaks
constexpr const char* kFailed = "failed";

std::optional<int> number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  require(*end == '\0' && value >= 0 && value <= 1000000, kArgument, "{}={} is no number of ranks", name,
          printable(text));
  return static_cast<int>(value);
}

std::string text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string first_line(const std::exception& error) {
  const std::string words = error.what();
  return printable(words.substr(0, words.find('\n')), 300);
}

}  // namespace

RankPlace RankPlace::from_environment() {
  struct Launcher {
    const char *rank, *size, *local_rank, *local_size, *address;
  };
  // srun sets SLURM_PROCID in a batch script too, where one process runs; the size of a step only for its
  // tasks.
  constexpr Launcher kLaunchers[] = {{"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", ""},
                                     {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                      "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", ""},
                                     {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", ""},
                                     {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
                                      "SLURM_STEP_TASKS_PER_NODE", "SLURM_LAUNCH_NODE_IPADDR"}};
  RankPlace place;
  for (const Launcher& launcher : kLaunchers) {
    const auto rank = number(launcher.rank), size = number(launcher.size);
    if (!rank || !size) continue;
    require(*rank < *size, kArgument, "{}={} with {}={}: ranks count from 0", launcher.rank, *rank,
            launcher.size, *size);
    place.rank = *rank;
    place.size = *size;
    place.local_rank = number(launcher.local_rank).value_or(0);
    place.address = text(launcher.address);
    // SLURM writes "2(x3)" where nodes have several tasks.
    if (text(launcher.local_size) == std::to_string(*size)) place.address = "127.0.0.1";
    break;
  }
  if (const std::string address = text("MASTER_ADDR"); !address.empty()) place.address = address;
  place.port = number("MASTER_PORT").value_or(place.port);
  return place;
}

struct Ranks::State {
  RankPlace place;
  bool hosts = false;   // whether the store ends with this process
  bool failed = false;  // some rank has
  c10::intrusive_ptr<c10d::Store> store;
  // Ranks meet over Gloo, which notices when one is gone; NCCL waits for the dead forever, so it only carries
  // what all have come for.
  c10::intrusive_ptr<c10d::Backend> group, carrier;
  at::Device device = at::kCPU;  // where the carrier wants its messages
  Clock::time_point asked = Clock::now();

  /// The reason of the rank that failed, when one did; throws where rank 0's machine is not there any more.
  std::optional<std::string> failure() {
    if (!store->check({kFailed})) return std::nullopt;
    const std::vector<uint8_t> reason = store->get(kFailed);
    return std::string(reason.begin(), reason.end());
  }

  void check_others() {
    check_interrupt();
    if (Clock::now() - asked < kAsk) return;
    asked = Clock::now();
    if (const auto reason = failure()) fail(kNetwork, "{}", *reason);
  }

  /// Does what speaks to other ranks, and says what became of them when it breaks.
  void guarded(const std::function<void()>& talk) {
    try {
      talk();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& broken) {
      // The connection to another rank broke; why may be on its way.
      std::optional<std::string> reason;
      try {
        for (const auto end = Clock::now() + kLastWords; !reason && Clock::now() < end;
             std::this_thread::sleep_for(100ms))
          reason = failure();
      } catch (const std::exception&) {
        fail(kNetwork, "rank 0 is gone");
      }
      fail(kNetwork, "{}",
           reason ? *reason : fmt::format("another rank is gone without a word ({})", first_line(broken)));
    }
  }

  /// Waits for all ranks to come to a collective call.
  void complete(const std::function<c10::intrusive_ptr<c10d::Work>()>& start,
                std::chrono::seconds limit = kForever) {
    guarded([&] {
      const auto end = Clock::now() + limit;
      const c10::intrusive_ptr<c10d::Work> work = start();
      for (auto pause = 100us; !work->isCompleted();
           pause = std::min<std::chrono::microseconds>(2 * pause, 5ms)) {
        check_others();
        require(Clock::now() < end, kNetwork, "another rank has not answered for {} s", limit.count());
        std::this_thread::sleep_for(pause);
      }
      work->wait();
    });
  }

  /// The same for the carrier, when all have come.
  void carry(const std::function<c10::intrusive_ptr<c10d::Work>()>& start) {
    complete(start, carrier == group ? kForever : kTransfer);
  }
};

std::unique_ptr<Ranks> Ranks::join(const RankPlace& place) {
  if (place.size <= 1) return nullptr;
  require(!place.address.empty(), kArgument, "rank {} of {}: set MASTER_ADDR to the machine of rank 0",
          place.rank, place.size);
  // A write to a rank that has just died would end this one without a word.
  std::signal(SIGPIPE, SIG_IGN);
  auto state = std::make_unique<State>();
  state->place = place;
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(place.port);
    // torchrun's agent has a store already; elsewhere rank 0 opens it.
    const bool agent = text("TORCHELASTIC_USE_AGENT_STORE") == "True";
    options.isServer = state->hosts = place.rank == 0 && !agent;
    options.numWorkers = static_cast<size_t>(place.size);
    options.waitWorkers = false;
    options.timeout = kJoin;
    const auto base = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    // A group that torchrun starts anew must not see what the old one left.
    state->store =
        c10::make_intrusive<c10d::PrefixStore>("outliers/" + text("TORCHELASTIC_RESTART_COUNT"), base);
    auto gloo = c10d::ProcessGroupGloo::Options::create_default(kJoin);
    if (place.address == "127.0.0.1" || place.address == "localhost")
      gloo->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
    gloo->timeout = kForever;
    state->group = c10::make_intrusive<c10d::ProcessGroupGloo>(state->store, place.rank, place.size, gloo);
    state->carrier = state->group;
  } catch (const std::exception& error) {
    fail(kNetwork, "rank {} of {} cannot meet the others at {}:{}: {}", place.rank, place.size, place.address,
         place.port, first_line(error));
  }
  return std::unique_ptr<Ranks>(new Ranks(std::move(state)));
}

Ranks::Ranks(std::unique_ptr<State> state) : state_(std::move(state)) {}

Ranks::~Ranks() {
  State& s = *state_;
  if (s.carrier == s.group) return;
  try {
    // NCCL complains about a group that is merely dropped, and may be waiting for a rank that failed.
    if (s.failed)
      s.carrier->abort();
    else
      s.carrier->shutdown();
  } catch (const std::exception&) {
    // All results have arrived, or the reason is known.
  }
}

void Ranks::use([[maybe_unused]] at::Device device) {
#ifdef OUTLIERS_NCCL
  if (!device.is_cuda()) return;
  State& s = *state_;
  s.guarded([&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = kForever;  // complete() has limits of its own
    s.carrier = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::make_intrusive<c10d::PrefixStore>("nccl", s.store), s.place.rank, s.place.size, options);
    s.device = device;
  });
#endif
}

int Ranks::rank() const {
  return state_->place.rank;
}

int Ranks::size() const {
  return state_->place.size;
}

int Ranks::local_rank() const {
  return state_->place.local_rank;
}

std::pair<int64_t, int64_t> Ranks::part(int64_t count) const {
  return {count * rank() / size(), count * (rank() + 1) / size()};
}

void Ranks::check() {
  state_->guarded([&] { state_->check_others(); });
}

std::vector<std::string> Ranks::gather(std::string_view bytes) {
  State& s = *state_;
  const auto ranks = static_cast<size_t>(size());
  // Lengths first, for all messages must be of one size.
  std::vector<at::Tensor> length = {at::tensor(static_cast<int64_t>(bytes.size()), at::kLong)};
  std::vector<std::vector<at::Tensor>> lengths(1);
  for (size_t r = 0; r < ranks; ++r) lengths[0].push_back(at::empty_like(length[0]));
  s.complete([&] { return s.group->allgather(lengths, length); });
  int64_t longest = 1;
  std::vector<int64_t> sizes;
  for (const at::Tensor& l : lengths[0]) sizes.push_back(l.item<int64_t>());
  for (const int64_t n : sizes) longest = std::max(longest, n);

  at::Tensor padded = at::zeros({longest}, at::kByte);
  std::memcpy(padded.data_ptr(), bytes.data(), bytes.size());
  std::vector<at::Tensor> mine = {padded.to(s.device)};
  std::vector<std::vector<at::Tensor>> all;
  if (is_root()) {
    all.emplace_back();
    for (size_t r = 0; r < ranks; ++r) all[0].push_back(at::empty_like(mine[0]));
  }
  s.carry([&] { return s.carrier->gather(all, mine, c10d::GatherOptions()); });
  std::vector<std::string> out;
  if (!is_root()) return out;
  for (size_t r = 0; r < ranks; ++r) {
    const at::Tensor host = all[0][r].to(at::kCPU);
    out.emplace_back(static_cast<const char*>(host.const_data_ptr()), static_cast<size_t>(sizes[r]));
  }
  return out;
}

std::string Ranks::broadcast(std::string_view bytes) {
  State& s = *state_;
  std::vector<at::Tensor> length = {at::tensor({static_cast<int64_t>(bytes.size())}, at::kLong)};
  s.complete([&] { return s.group->broadcast(length, c10d::BroadcastOptions()); });
  const auto size = length[0].item<int64_t>();
  if (size == 0) return "";
  at::Tensor host = at::zeros({size}, at::kByte);
  if (is_root()) std::memcpy(host.data_ptr(), bytes.data(), bytes.size());
  std::vector<at::Tensor> message = {host.to(s.device)};
  s.carry([&] { return s.carrier->broadcast(message, c10d::BroadcastOptions()); });
  host = message[0].to(at::kCPU);
  return {static_cast<const char*>(host.const_data_ptr()), static_cast<size_t>(size)};
}

void Ranks::abandon(const std::string& reason) noexcept {
  try {
    State& s = *state_;
    s.failed = true;
    if (!s.failure()) {
      const std::string words = fmt::format("rank {} failed: {}", rank(), reason);
      s.store->set(kFailed, std::vector<uint8_t>(words.begin(), words.end()));
    }
    // Whoever holds the store stays until the others have asked.
    if (s.hosts) std::this_thread::sleep_for(3 * kAsk);
  } catch (const std::exception&) {
    // Nobody is there to be told.
  }
}

void run_ranks(const std::function<void(Ranks* ranks)>& work) {
  const auto ranks = Ranks::join(RankPlace::from_environment());
  try {
    work(ranks.get());
  } catch (const std::exception& error) {
    if (ranks) ranks->abandon(error.what());
    throw;
  }
}

}  // namespace outliers
