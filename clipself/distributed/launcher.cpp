#include "clipself/distributed/launcher.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "clipself/base/error.h"
#include "clipself/base/signals.h"
#include "clipself/base/torch.h"
#include "clipself/distributed/watch.h"

extern char** environ;

namespace clipself::distributed {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr const char* kLauncher = "CLIPSELF_LAUNCHER";  // this process's number
constexpr auto kGrace = 25s;                            // for the others, once one has failed

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

pid_t start(int rank, int processes, int port, std::vector<std::string> arguments) {
  const std::map<std::string, std::string> own{{"RANK", std::to_string(rank)},
                                               {"LOCAL_RANK", std::to_string(rank)},
                                               {"WORLD_SIZE", std::to_string(processes)},
                                               {"LOCAL_WORLD_SIZE", std::to_string(processes)},
                                               {"MASTER_ADDR", "127.0.0.1"},
                                               {"MASTER_PORT", std::to_string(port)},
                                               {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                               {kLauncher, std::to_string(::getpid())}};
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!own.contains(std::string(*variable, std::strcspn(*variable, "=")))) variables.emplace_back(*variable);
  for (const auto& [name, value] : own) variables.push_back(name + "=" + value);
  auto argv = pointers(arguments), envp = pointers(variables);

  // A group of its own: Ctrl-C at a terminal reaches this process alone, which passes it on once.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t process = 0;
  const int error = posix_spawn(&process, "/proc/self/exe", nullptr, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    throw Error({.doing = "starting process", .where = std::to_string(rank), .found = std::strerror(error)});
  }
  return process;
}

/// Whether a signal such as SIGSTOP holds it.
bool is_stopped(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text;
  std::getline(file, text);
  const auto state = text.rfind(") ");  // behind the program's name
  return state != std::string::npos && text.substr(state + 2, 1) == "T";
}

struct Ended {
  int code = 0;    ///< 128 + n when killed by signal n
  int signal = 0;  ///< 0 when it ended by itself
};

Ended ended(int status) {
  if (WIFSIGNALED(status)) return {128 + WTERMSIG(status), WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

}  // namespace

int launch(int processes, const std::vector<std::string>& arguments) {
  c10d::TCPStoreOptions options;
  options.port = 0;  // any that is free
  options.isServer = true;
  options.waitWorkers = false;
  const auto host = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  c10d::PrefixStore store("clipself", host);

  std::signal(SIGCHLD, SIG_DFL);  // whoever ignores it never hears of an end
  const StopRequest stop;
  std::vector<pid_t> running;
  try {
    for (int rank = 0; rank < processes; ++rank) running.push_back(start(rank, processes, host->getPort(), arguments));
  } catch (const Error&) {
    for (const pid_t process : running) ::kill(process, SIGKILL);
    throw;
  }
  const auto all = [&](int signal) {
    for (const pid_t process : running)
      if (process != 0) ::kill(process, signal);
  };

  std::optional<int> code;
  std::optional<Clock::time_point> failed_at;
  bool passed_on = false, killed = false;
  std::set<std::size_t> put_down;
  while (std::ranges::count(running, 0) < processes) {
    if (stop.signal() != 0 && !passed_on) {
      all(stop.signal());
      passed_on = true;
    }
    if (failed_at && !killed && Clock::now() - *failed_at > kGrace) {
      all(SIGKILL);
      killed = true;
    }
    if (failed_at && Clock::now() - *failed_at > kSilence)
      for (std::size_t rank = 0; rank < running.size(); ++rank)
        if (running[rank] != 0 && !put_down.contains(rank) && is_stopped(running[rank])) {
          ::kill(running[rank], SIGKILL);  // it does not notice that the others have gone
          put_down.insert(rank);
        }
    for (int rank = 0; rank < processes; ++rank) {
      auto& process = running[static_cast<std::size_t>(rank)];
      int status = 0;
      if (process == 0) continue;
      const pid_t waited = ::waitpid(process, &status, WNOHANG);
      if (waited == 0) continue;
      const auto end = waited == process ? ended(status) : Ended{.code = 1, .signal = 0};
      if (end.signal != 0 && end.signal != stop.signal() && !killed) {
        const auto message = fmt::format("rank {} (process {}) was killed by signal {} ({})", rank, process, end.signal,
                                         ::strsignal(end.signal));
        if (announce_failure(store, "launcher", message)) fmt::print(stderr, "clipself: error: {}\n", message);
      }
      process = 0;
      if (end.code == 0) continue;
      // 1 is of those that end because of another; so is what was killed here.
      const bool by_launcher = killed || put_down.contains(static_cast<std::size_t>(rank));
      if (!by_launcher || !code) code = std::max(code.value_or(0), end.code);
      if (!failed_at) failed_at = Clock::now();
    }
    std::this_thread::sleep_for(20ms);
  }
  return code.value_or(0);
}

bool was_launched() {
  const char* launcher = std::getenv(kLauncher);
  if (launcher == nullptr) return false;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != launcher) ::_exit(1);  // it went before this could be said
  return true;
}

}  // namespace clipself::distributed
