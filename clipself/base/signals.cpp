#include "clipself/base/signals.h"

#include <csignal>

namespace clipself {
namespace {

// A signal handler can reach nothing but a global of this type.
volatile std::sig_atomic_t received = 0;

void handle(int number) {
  received = number;
  // The next one kills: somebody who presses Ctrl-C twice means it.
  std::signal(number, SIG_DFL);
}

}  // namespace

StopRequest::StopRequest() {
  received = 0;
  std::signal(SIGINT, handle);
  std::signal(SIGTERM, handle);
}

StopRequest::~StopRequest() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int StopRequest::signal() const {
  return received;
}

}  // namespace clipself
