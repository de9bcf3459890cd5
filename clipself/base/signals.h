// Ctrl-C and SIGTERM as a request, not an end: the step in progress finishes, the state is saved, the program says how
// to go on. A second signal ends the process at once.
#pragma once

namespace clipself {

/// Thrown out of a long computation after Ctrl-C or SIGTERM.
struct Interrupted {};

/// While one exists, SIGINT and SIGTERM set a flag instead of killing the process. At most one at a time.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// The signal's number once one has arrived, else 0.
  int signal() const;
};

}  // namespace clipself
