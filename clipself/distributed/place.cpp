#include "clipself/distributed/place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "clipself/base/error.h"

namespace clipself::distributed {
namespace {

/// Names of one launcher's variables; null where it has no such.
struct Names {
  const char *launcher, *rank, *world_size, *local_rank, *local_size;
  bool needs_local_rank = false;
};

// The first whose rank and number are set counts. torchrun's come first: it may itself have been started by one of the
// others. Slurm's PMI sets MPI's too, but not the local rank.
constexpr Names kLaunchers[] = {
    {"RANK, WORLD_SIZE", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", /*needs_local_rank=*/true},
    // Those of a step, which srun sets: the batch script itself has SLURM_PROCID too.
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr},
    {"MPI", "PMI_RANK", "PMI_SIZE", nullptr, nullptr},
};

int number(const Variables& variable, const char* name, int least, int most, std::optional<int> otherwise = {}) {
  const char* text = name == nullptr ? nullptr : variable(name);
  if (text == nullptr) {
    if (otherwise) return *otherwise;
    throw Error({.doing = "joining the processes of a job", .where = name, .found = "no such variable"});
  }
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stopped != end || value < least || value > most) {
    throw Error({.doing = "joining the processes of a job",
                 .where = name,
                 .found = "'" + std::string(text) + "'",
                 .expected = "a number from " + std::to_string(least) + " to " + std::to_string(most)});
  }
  return value;
}

constexpr int kPort = 29500;

/// Steps of Slurm that share a machine do not know of each other: a port from their numbers keeps them apart.
int port_of_step(const Variables& variable) {
  constexpr std::uint64_t kFirst = 10000, kPorts = 20000;
  const auto of = [&](const char* name) -> std::uint64_t {
    const char* text = variable(name);
    return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  };
  return static_cast<int>(kFirst + (of("SLURM_JOB_ID") + 101 * of("SLURM_STEP_ID")) % kPorts);
}

std::string text_of(const Variables& variable, const char* name) {
  const char* text = variable(name);
  return text == nullptr ? "" : text;
}

}  // namespace

namespace {

/// Of a Slurm list such as "4(x2),3"; 1 when there is none.
int first_number(const std::string& counts) {
  int value = 0;
  std::from_chars(counts.data(), counts.data() + counts.size(), value);
  return std::max(value, 1);
}

}  // namespace

std::string first_host(const std::string& nodes) {
  const auto open = nodes.find('['), comma = nodes.find(',');
  if (open == std::string::npos || comma < open) return nodes.substr(0, comma);
  const auto end = nodes.find_first_of("-,]", open);
  return nodes.substr(0, open) + nodes.substr(open + 1, end - open - 1);
}

std::string job_name(const Place& place) {
  return "clipself/" + place.address + ":" + std::to_string(place.port) + "/" + place.attempt;
}

std::optional<Place> find_place(const Variables& variable) {
  for (const auto& names : kLaunchers) {
    if (variable(names.rank) == nullptr || variable(names.world_size) == nullptr) continue;
    if (names.needs_local_rank && variable(names.local_rank) == nullptr) continue;
    constexpr int kMost = 1 << 20;
    Place place;
    place.launcher = names.launcher;
    place.world_size = number(variable, names.world_size, 1, kMost);
    place.rank = number(variable, names.rank, 0, place.world_size - 1);
    // Without a word on it, all are on one machine where that is the address.
    place.address = text_of(variable, "MASTER_ADDR");
    const bool slurm = std::string_view(names.launcher) == "Slurm";
    if (place.address.empty() && slurm) place.address = first_host(text_of(variable, "SLURM_STEP_NODELIST"));
    const bool one_machine = place.address.empty() || place.address == "127.0.0.1" || place.address == "localhost";
    place.local_rank = number(variable, names.local_rank, 0, kMost, one_machine ? place.rank : 0);
    place.local_size = slurm ? first_number(text_of(variable, "SLURM_STEP_TASKS_PER_NODE"))
                             : number(variable, names.local_size, 1, kMost, one_machine ? place.world_size : 1);
    if (place.address.empty() && place.local_size < place.world_size) {
      throw Error({.doing = "joining the processes of a job",
                   .where = "MASTER_ADDR",
                   .found = "no such variable, and processes on several machines",
                   .expected = "the host of rank 0, for every process"});
    }
    if (place.address.empty()) place.address = "127.0.0.1";
    place.port = static_cast<std::uint16_t>(number(
        variable, "MASTER_PORT", 1, std::numeric_limits<std::uint16_t>::max(), slurm ? port_of_step(variable) : kPort));
    place.launcher_hosts = text_of(variable, "TORCHELASTIC_USE_AGENT_STORE") == "True";
    place.attempt = text_of(variable, "TORCHELASTIC_RESTART_COUNT");
    if (slurm) place.attempt = text_of(variable, "SLURM_JOB_ID") + "." + text_of(variable, "SLURM_STEP_ID");
    if (place.world_size == 1) return std::nullopt;
    return place;
  }
  // One of the two alone is a mistake, not a process alone.
  const char *rank = variable("RANK"), *size = variable("WORLD_SIZE");
  if ((rank == nullptr) != (size == nullptr) && std::string_view(size == nullptr ? "" : size) != "1") {
    throw Error({.doing = "joining the processes of a job",
                 .where = rank == nullptr ? "RANK" : "WORLD_SIZE",
                 .found = rank == nullptr ? "no such variable, and WORLD_SIZE=" + std::string(size)
                                          : "no such variable, and RANK=" + std::string(rank),
                 .expected = "both or neither"});
  }
  return std::nullopt;
}

std::optional<Place> find_place() {
  return find_place([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace clipself::distributed
