// Which process of a job this one is, from the variables that launchers leave in the environment.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace clipself::distributed {

/// One process among several.
struct Place {
  int rank = 0;  ///< 0..world_size-1
  int world_size = 1;
  int local_rank = 0;  ///< among the processes of the same machine
  int local_size = 1;
  std::string address = "127.0.0.1";  ///< where processes find each other: a host of rank 0's, or the launcher's
  std::uint16_t port = 29500;
  bool launcher_hosts = false;  ///< the launcher answers there, not rank 0
  std::string attempt;          ///< sets a restarted job apart from what it was
  std::string launcher;         ///< what the variables are of, for messages
};

/// Sets a job apart from others on the same machine.
std::string job_name(const Place& place);

using Variables = std::function<const char*(const char* name)>;  ///< null where there is none

/// Understands torchrun and plain RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; Open MPI's, MPICH's and
/// Intel MPI's mpirun; Slurm's srun. MASTER_ADDR and MASTER_PORT are heard in all of them. Nothing where no launcher
/// has left anything. Throws Error for variables that cannot be.
std::optional<Place> find_place(const Variables& variable);
/// Of this process's environment.
std::optional<Place> find_place();

/// The first host of a Slurm list such as "node[03-07,9],other".
std::string first_host(const std::string& nodes);

}  // namespace clipself::distributed
