// Commands that several processes run together.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "cli/common.h"
#include "clipself/base/signals.h"
#include "clipself/distributed/processes.h"

namespace clipself::cli {

/// --nproc, --dist-timeout
struct ProcessFlags {
  int processes = 1;
  int timeout = 600;

  void add_to(CLI::App& app);
  /// Whether run_together() will start processes.
  bool launches() const { return processes > 1 && !distributed::find_place(); }
};

/// Throws distributed::AgreedError unless all processes were given the same settings, but for those that may be each
/// machine's own (its threads, its folders) and what rank 0 alone does (writing results).
void compare_settings(distributed::Processes& processes, const Settings& settings);
/// The signal that stopped them, whichever of them received it.
int signal_of_all(distributed::Processes& processes, const StopRequest& stop);
/// After Interrupted in a command that writes its result at the end: says that there is none, and throws ExitCode.
[[noreturn]] void end_without_result(distributed::Processes& processes, const StopRequest& stop);

/// Runs `body` in this process, in the job it is of by its environment, or in --nproc processes started here. What one
/// of several throws ends them all, with one message; rank 0 alone logs. Throws what `body` throws in a process alone.
void run_together(const ProcessFlags& flags,
                  const std::function<void(const std::shared_ptr<distributed::Processes>&)>& body);

}  // namespace clipself::cli
