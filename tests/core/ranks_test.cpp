// What launchers say, and what goes between ranks; the ranks themselves are in tests/apps/ranks_test.py.
#include "outliers/core/ranks.h"

#include <cstdlib>
#include <map>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/bytes.h"

#include "support.h"

namespace outliers {
namespace {

using testing::HasSubstr;

RankPlace place_with(const std::map<std::string, std::string>& variables) {
  for (const char* name :
       {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
    unsetenv(name);
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  const auto clear = [&] {
    for (const auto& [name, value] : variables) unsetenv(name.c_str());
  };
  try {
    RankPlace place = RankPlace::from_environment();
    clear();
    return place;
  } catch (...) {
    clear();
    throw;
  }
}

TEST(RankPlace, OfEachLauncher) {
  EXPECT_EQ(place_with({}).size, 1);
  const RankPlace torchrun = place_with({{"RANK", "3"},
                                         {"WORLD_SIZE", "4"},
                                         {"LOCAL_RANK", "1"},
                                         {"LOCAL_WORLD_SIZE", "2"},
                                         {"MASTER_ADDR", "node0"},
                                         {"MASTER_PORT", "1234"}});
  EXPECT_EQ(torchrun.rank, 3);
  EXPECT_EQ(torchrun.size, 4);
  EXPECT_EQ(torchrun.local_rank, 1);
  EXPECT_EQ(torchrun.address, "node0");
  EXPECT_EQ(torchrun.port, 1234);
  const RankPlace mpi = place_with(
      {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(mpi.rank, 1);
  EXPECT_EQ(mpi.address, "127.0.0.1");
  EXPECT_EQ(place_with({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}}).rank, 2);
  EXPECT_EQ(place_with({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}}).address, "");
  const RankPlace slurm = place_with({{"SLURM_PROCID", "5"},
                                      {"SLURM_STEP_NUM_TASKS", "6"},
                                      {"SLURM_LOCALID", "2"},
                                      {"SLURM_STEP_TASKS_PER_NODE", "3(x2)"},
                                      {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"}});
  EXPECT_EQ(slurm.rank, 5);
  EXPECT_EQ(slurm.local_rank, 2);
  EXPECT_EQ(slurm.address, "10.0.0.1");
  // In a batch script, outside of srun, one process runs.
  EXPECT_EQ(place_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).size, 1);
}

TEST(RankPlace, WrongNumbers) {
  EXPECT_THAT(tests::error_of([] {
                place_with({{"RANK", "2"}, {"WORLD_SIZE", "2"}});
              }),
              HasSubstr("ranks count from 0"));
  EXPECT_THAT(tests::error_of([] {
                place_with({{"RANK", "-1"}, {"WORLD_SIZE", "2"}});
              }),
              HasSubstr("RANK=-1"));
  EXPECT_THAT(tests::error_of([] {
                place_with({{"RANK", "0"}, {"WORLD_SIZE", "two"}});
              }),
              HasSubstr("WORLD_SIZE=two"));
}

TEST(Bytes, ComeBackAsTheyWere) {
  const at::Tensor turned = at::arange(6, at::kFloat).view({2, 3}).t();
  ByteWriter out;
  out.put(int64_t{-7});
  out.put(std::vector<double>{0.5, -1});
  out.put(std::string_view("text"));
  out.put(turned);
  out.put(at::Tensor());
  out.put(at::empty({0, 4}, at::kInt));
  ByteReader in(out.bytes());
  EXPECT_EQ(in.get<int64_t>(), -7);
  EXPECT_THAT(in.get_vector<double>(), testing::ElementsAre(0.5, -1));
  EXPECT_EQ(in.get_text(), "text");
  EXPECT_TRUE(at::equal(in.get_tensor(), turned));
  EXPECT_FALSE(in.get_tensor().defined());
  EXPECT_EQ(in.get_tensor().sizes(), at::IntArrayRef({0, 4}));
  EXPECT_TRUE(in.empty());
  for (size_t length = 0; length < out.bytes().size(); ++length) {
    ByteReader cut(std::string_view(out.bytes()).substr(0, length));
    EXPECT_THROW(
        {
          cut.get<int64_t>();
          cut.get_vector<double>();
          cut.get_text();
          cut.get_tensor();
          cut.get_tensor();
          cut.get_tensor();
        },
        Error)
        << length;
  }
}

}  // namespace
}  // namespace outliers
