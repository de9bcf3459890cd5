#include "clipself/evaluation/share.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "clipself/base/signals.h"
#include "tests/distributed/together.h"

namespace clipself::evaluation {
namespace {

using distributed::run_as;

/// Twice as many as processes take between two questions, and a few.
constexpr std::int64_t kItems = 59;

TEST(RunShare, EveryItemIsOneProcesss) {
  for (const int count : {1, 2, 3}) {
    std::mutex mutex;
    std::multiset<std::int64_t> seen;
    const auto work = [&](const std::shared_ptr<distributed::Processes>& processes) {
      run_share(kItems, *processes, {}, [&](const Share& mine, const auto& after_item) {
        for (std::int64_t i = 0; i < mine.count; ++i) {
          {
            const std::lock_guard lock(mutex);
            seen.insert(mine[i]);
          }
          after_item();
        }
      });
    };
    if (count == 1)
      work(distributed::Processes::alone());
    else
      run_as(count, work);
    EXPECT_EQ(seen.size(), kItems);
    EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), kItems);
  }
}

/// Runs `fails` before each item in 3 processes; counts what each did, and what each caught.
template <typename Caught, typename Fails>
void expect_all_leave(const Fails& fails, const std::function<bool(int rank, std::int64_t done)>& interrupted) {
  std::array<std::int64_t, 3> done{};
  std::atomic<int> caught{0};
  run_as(3, [&](const std::shared_ptr<distributed::Processes>& processes) {
    auto& mine_done = done[static_cast<std::size_t>(processes->rank())];
    try {
      run_share(
          1000, *processes, [&] { return interrupted(processes->rank(), mine_done); },
          [&](const Share& mine, const auto& after_item) {
            for (std::int64_t i = 0; i < mine.count; ++i) {
              fails(processes->rank(), i);
              ++mine_done;
              after_item();
            }
          });
    } catch (const Caught&) {
      ++caught;
    }
  });
  EXPECT_EQ(caught, 3);
  for (const auto count : done) EXPECT_LT(count, 60);  // of 333
}

TEST(RunShare, AnInterruptionOfOneEndsAll) {
  expect_all_leave<Interrupted>([](int, std::int64_t) {},
                                [](int rank, std::int64_t done) { return rank == 1 && done > 20; });
}

TEST(RunShare, AnErrorOfOneEndsAll) {
  expect_all_leave<distributed::AgreedError>(
      [](int rank, std::int64_t i) {
        if (rank == 2 && i == 20) throw Error("a broken picture");
      },
      [](int, std::int64_t) { return false; });
}

TEST(RunShare, AloneIsInterruptedAtOnce) {
  std::int64_t done = 0;
  EXPECT_THROW(run_share(
                   10, *distributed::Processes::alone(), [&] { return done == 3; },
                   [&](const Share& mine, const auto& after_item) {
                     for (std::int64_t i = 0; i < mine.count; ++i) {
                       ++done;
                       after_item();
                     }
                   }),
               Interrupted);
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace clipself::evaluation
