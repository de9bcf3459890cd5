#include "clipself/training/profiler.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <memory>

namespace clipself::training {

namespace {

// torch's callbacks are plain functions: the profiler of the thread that they are called on.
thread_local Profiler* current_profiler = nullptr;

}  // namespace

struct Profiler::Calls {
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
    if (current_profiler != nullptr) current_profiler->enter(function.name());
    return nullptr;
  }
  static void end(const at::RecordFunction& /*function*/, at::ObserverContext* /*context*/) {
    if (current_profiler != nullptr) current_profiler->leave();
  }
};

Profiler::Profiler() {
  current_profiler = this;
  callback_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(&Calls::begin, &Calls::end)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}));
}

Profiler::~Profiler() {
  at::removeCallback(callback_);
  current_profiler = nullptr;
}

void Profiler::enter(const char* name) {
  stack_.push_back({.name = name, .start = Clock::now()});
}

void Profiler::leave() {
  if (stack_.empty()) return;  // begun before the profiler was
  const Frame frame = std::move(stack_.back());
  stack_.pop_back();
  const auto whole = Clock::now() - frame.start;
  auto& part = parts_[frame.name];
  part.name = frame.name;
  ++part.calls;
  part.seconds += std::chrono::duration<double>(whole - frame.inside).count();
  (stack_.empty() ? covered_ : stack_.back().inside) += whole;
}

std::vector<Profiler::Part> Profiler::parts() const {
  std::vector<Part> list;
  for (const auto& [name, part] : parts_) list.push_back(part);
  list.push_back({.name = "(outside operators)",
                  .calls = 1,
                  .seconds = std::chrono::duration<double>(Clock::now() - start_ - covered_).count()});
  std::ranges::sort(list, std::ranges::greater(), &Part::seconds);
  return list;
}

}  // namespace clipself::training
