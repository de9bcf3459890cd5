#include "cli/together.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string_view>
#include <thread>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/log.h"
#include "clipself/distributed/launcher.h"

namespace clipself::cli {
namespace {

/// The command line that this process was started with.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < text.size(); at += arguments.back().size() + 1)
    arguments.emplace_back(text.c_str() + at);
  return arguments;
}

// Processes of one machine share its processors, unless their launcher has given each its own (as Open MPI and Slurm
// do). torchrun sets OMP_NUM_THREADS to 1 where nobody has set it.
void share_processors(int processes, bool launched) {
  const char* asked = std::getenv("OMP_NUM_THREADS");
  if (processes == 1 || (asked != nullptr && std::string_view(asked) != "1")) return;
  cpu_set_t allowed;
  const int machine = static_cast<int>(std::thread::hardware_concurrency());
  const int own = ::sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : machine;
  const bool has_its_own = !launched && own * processes <= machine;
  at::set_num_threads(std::max(1, has_its_own ? own : own / processes));
}

/// Ends this process, and by what it leaves in the store all others.
[[noreturn]] void end_job(distributed::Processes& processes, std::string message, bool lost, int code) {
  const bool speaks = processes.speaks(message, lost);
  if (speaks) fmt::print(stderr, "clipself: error: {}\n", message);
  std::fflush(nullptr);
  spdlog::default_logger()->flush();
  // Not by way of destructors: they may wait for processes that are gone.
  std::_Exit(code);
}

}  // namespace

void ProcessFlags::add_to(CLI::App& app) {
  app.add_option("--nproc", processes,
                 "Processes on this machine that share the work (or start them with torchrun, mpirun, srun)")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--dist-timeout", timeout, "Seconds that processes wait for each other before the run ends")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
}

void compare_settings(distributed::Processes& processes, const Settings& settings) {
  static const std::set<std::string> kOwn = {"device", "threads", "workers", "data-root", "logs",
                                             "out",    "results", "json",    "per-class"};
  std::string all;
  for (const auto& [name, value] : settings)
    if (!kOwn.contains(name)) all += name + "\n" + value + "\n";
  const auto everybodys = processes.gather(all);
  if (std::ranges::adjacent_find(everybodys, std::ranges::not_equal_to()) == everybodys.end()) return;
  for (const auto& [name, value] : settings)
    if (!kOwn.contains(name)) processes.check_equal("--" + name, value);
}

int signal_of_all(distributed::Processes& processes, const StopRequest& stop) {
  int signal = 0;
  for (const auto& one : processes.gather(std::to_string(stop.signal()))) signal = std::max(signal, std::stoi(one));
  return signal;
}

void end_without_result(distributed::Processes& processes, const StopRequest& stop) {
  const int signal = signal_of_all(processes, stop);
  if (processes.first()) spdlog::warn("interrupted: nothing was written");
  throw ExitCode{128 + signal};
}

void run_together(const ProcessFlags& flags,
                  const std::function<void(const std::shared_ptr<distributed::Processes>&)>& body) {
  const bool launched = distributed::was_launched();
  const auto place = distributed::find_place();
  if (!launched && flags.processes > 1) {
    if (place) {
      throw Error({.doing = "--nproc",
                   .where = std::to_string(flags.processes),
                   .found = "a process that a launcher has started (" + place->launcher + ")",
                   .expected = "one or the other"});
    }
    const int code = distributed::launch(flags.processes, own_arguments());
    if (code != 0) throw ExitCode{code};
    return;
  }
  if (!place) return body(distributed::Processes::alone());

  name_process(place->rank);
  std::shared_ptr<distributed::Processes> processes;
  try {
    processes = distributed::Processes::join(*place, std::chrono::seconds(flags.timeout));
  } catch (const distributed::ConnectionLost&) {
    throw ExitCode{1};  // another process tells
  }
  share_processors(place->local_size, launched);
  spdlog::info("{} processes, {} of them on this machine with {} each", processes->size(), processes->local_size(),
               at::get_num_threads() == 1 ? "1 thread" : fmt::format("{} threads", at::get_num_threads()));
  const auto own = [&](const char* text) { return fmt::format("rank {}: {}", place->rank, first_line(text)); };
  try {
    body(processes);
    processes->barrier();
  } catch (const ExitCode&) {
    throw;
  } catch (const distributed::ConnectionLost& error) {
    end_job(*processes, own(error.what()), /*lost=*/true, 1);
  } catch (const distributed::AgreedError& error) {
    end_job(*processes, error.what(), /*lost=*/false, 2);
  } catch (const Error& error) {
    end_job(*processes, own(error.what()), /*lost=*/false, 2);
  } catch (const std::exception& error) {
    end_job(*processes, own(failure_message(error).c_str()), /*lost=*/false, 1);
  }
}

}  // namespace clipself::cli
