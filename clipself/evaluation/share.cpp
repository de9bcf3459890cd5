#include "clipself/evaluation/share.h"

#include "clipself/base/signals.h"

namespace clipself::evaluation {
namespace {

// Often enough to stop soon, seldom enough that processes need not keep step.
constexpr std::int64_t kItemsBetweenQuestions = 8;

struct Leave {};

}  // namespace

void run_share(std::int64_t items, distributed::Processes& processes, const std::function<bool()>& interrupted,
               const std::function<void(const Share& mine, const std::function<void()>& after_item)>& work) {
  processes.at_work("evaluating");
  const Share mine = share_of(items, processes);
  const auto stopped = [&] { return interrupted && interrupted(); };
  if (processes.size() == 1) {
    work(mine, [&] {
      if (stopped()) throw Interrupted{};
    });
    return;
  }
  // As many questions for all, whatever their shares.
  const std::int64_t questions = (items + processes.size() - 1) / processes.size() / kItemsBetweenQuestions;
  std::int64_t done = 0, asked = 0;
  const auto ask = [&](bool mine_ends) {
    ++asked;
    return processes.any(mine_ends);
  };
  bool leave = false;
  std::string error;
  try {
    work(mine, [&] {
      if (++done % kItemsBetweenQuestions == 0 && ask(stopped())) throw Leave{};
    });
  } catch (const Leave&) {
    leave = true;
  } catch (const Error& thrown) {
    error = thrown.what();
  }
  while (!leave && asked < questions) leave = ask(!error.empty() || stopped());
  processes.agree([&] {
    if (!error.empty()) throw Error(error);
  });
  if (processes.any(stopped())) throw Interrupted{};
}

}  // namespace clipself::evaluation
