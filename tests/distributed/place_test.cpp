#include "clipself/distributed/place.h"

#include <gtest/gtest.h>

#include <map>

#include "clipself/base/error.h"

namespace clipself::distributed {
namespace {

using Set = std::map<std::string, std::string>;

std::optional<Place> place_in(const Set& variables) {
  return find_place([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Place, IsNoneWithoutALauncherAndInAJobOfOne) {
  EXPECT_FALSE(place_in({}));
  EXPECT_FALSE(place_in({{"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}}));
  EXPECT_FALSE(place_in({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
}

TEST(Place, IsThatOfTorchrun) {
  const auto place = place_in({{"RANK", "5"},
                               {"WORLD_SIZE", "8"},
                               {"LOCAL_RANK", "1"},
                               {"LOCAL_WORLD_SIZE", "4"},
                               {"MASTER_ADDR", "node7"},
                               {"MASTER_PORT", "1234"},
                               {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                               {"TORCHELASTIC_RESTART_COUNT", "2"}});
  ASSERT_TRUE(place);
  EXPECT_EQ(place->rank, 5);
  EXPECT_EQ(place->world_size, 8);
  EXPECT_EQ(place->local_rank, 1);
  EXPECT_EQ(place->local_size, 4);
  EXPECT_EQ(place->address, "node7");
  EXPECT_EQ(place->port, 1234);
  EXPECT_TRUE(place->launcher_hosts);
  EXPECT_EQ(place->attempt, "2");
}

TEST(Place, OfPlainVariablesIsOnOneMachineUnlessAnotherIsNamed) {
  const auto here = place_in({{"RANK", "1"}, {"WORLD_SIZE", "2"}});
  ASSERT_TRUE(here);
  EXPECT_EQ(here->address, "127.0.0.1");
  EXPECT_EQ(here->port, 29500);
  EXPECT_EQ(here->local_rank, 1);
  EXPECT_EQ(here->local_size, 2);
  const auto there = place_in({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "10.0.0.1"}});
  ASSERT_TRUE(there);
  EXPECT_EQ(there->local_rank, 0);
  EXPECT_EQ(there->local_size, 1);
  EXPECT_FALSE(there->launcher_hosts);
}

TEST(Place, IsThatOfMpirun) {
  const auto open = place_in({{"OMPI_COMM_WORLD_RANK", "3"},
                              {"OMPI_COMM_WORLD_SIZE", "4"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
  ASSERT_TRUE(open);
  EXPECT_EQ(open->rank, 3);
  EXPECT_EQ(open->local_size, 4);
  const auto mpich = place_in({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "0"}, {"MASTER_ADDR", "a"}});
  ASSERT_TRUE(mpich);
  EXPECT_EQ(mpich->rank, 1);
  EXPECT_EQ(mpich->local_rank, 0);
}

TEST(Place, OnSeveralMachinesNeedsAnAddress) {
  EXPECT_THROW(place_in({{"OMPI_COMM_WORLD_RANK", "3"},
                         {"OMPI_COMM_WORLD_SIZE", "4"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}),
               Error);
}

TEST(Place, NeedsRankAndWorldSizeTogether) {
  EXPECT_THROW(place_in({{"RANK", "0"}}), Error);
  EXPECT_THROW(place_in({{"WORLD_SIZE", "2"}}), Error);
  EXPECT_FALSE(place_in({{"WORLD_SIZE", "1"}}));
}

TEST(Place, IsThatOfSrunButNotOfItsBatchScript) {
  const Set script{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "0"}};
  EXPECT_FALSE(place_in(script));
  Set step = script;
  step["SLURM_STEP_NUM_TASKS"] = "4";
  step["SLURM_STEP_NODELIST"] = "gpu[07-08]";
  step["SLURM_PROCID"] = "2";
  step["SLURM_STEP_TASKS_PER_NODE"] = "2(x2)";
  const auto place = place_in(step);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->rank, 2);
  EXPECT_EQ(place->address, "gpu07");
  EXPECT_EQ(place->local_size, 2);
  EXPECT_EQ(place->port, 10000);
  step["SLURM_JOB_ID"] = "1234567";
  step["SLURM_STEP_ID"] = "2";
  EXPECT_EQ(place_in(step)->port, 10000 + (1234567 + 202) % 20000);
  EXPECT_EQ(place_in(step)->attempt, "1234567.2");
  step["MASTER_PORT"] = "4444";
  EXPECT_EQ(place_in(step)->port, 4444);
  step["PMI_RANK"] = "2";  // as srun --mpi=pmi2 sets
  step["PMI_SIZE"] = "4";
  EXPECT_EQ(place_in(step)->launcher, "Slurm");
}

TEST(Place, TakesTheFirstHostOfASlurmList) {
  EXPECT_EQ(first_host("a"), "a");
  EXPECT_EQ(first_host("a,b[1-2]"), "a");
  EXPECT_EQ(first_host("b[1-2],a"), "b1");
  EXPECT_EQ(first_host("node[003,7]"), "node003");
  EXPECT_EQ(first_host("node[12]"), "node12");
}

TEST(Place, RefusesNumbersThatCannotBe) {
  for (const Set& wrong : {Set{{"RANK", "2"}, {"WORLD_SIZE", "2"}}, Set{{"RANK", "-1"}, {"WORLD_SIZE", "2"}},
                           Set{{"RANK", "x"}, {"WORLD_SIZE", "2"}}, Set{{"RANK", "0"}, {"WORLD_SIZE", "0"}},
                           Set{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "70000"}}})
    EXPECT_THROW(place_in(wrong), Error);
}

}  // namespace
}  // namespace clipself::distributed
