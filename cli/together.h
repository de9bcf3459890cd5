// Commands that several processes run together.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

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

/// Runs `body` in this process, in the job it is of by its environment, or in --nproc processes started here. What one
/// of several throws ends them all, with one message; rank 0 alone logs. Throws what `body` throws in a process alone.
void run_together(const ProcessFlags& flags,
                  const std::function<void(const std::shared_ptr<distributed::Processes>&)>& body);

}  // namespace clipself::cli
