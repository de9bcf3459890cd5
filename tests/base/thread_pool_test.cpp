#include "clipself/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <stdexcept>
#include <vector>

namespace clipself {
namespace {

TEST(ThreadPool, ReturnsEveryResult) {
  ThreadPool pool(3);
  std::vector<std::future<int>> squares;
  for (int i = 0; i < 200; ++i) squares.push_back(pool.submit([i] { return i * i; }));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(squares.at(static_cast<std::size_t>(i)).get(), i * i);
}

TEST(ThreadPool, HandsOverAnExceptionAndGoesOnWorking) {
  ThreadPool pool(1);
  auto bad = pool.submit([]() -> int { throw std::runtime_error("bad job"); });
  auto good = pool.submit([] { return 1; });
  EXPECT_THROW(bad.get(), std::runtime_error);
  EXPECT_EQ(good.get(), 1);
}

TEST(ThreadPool, OneThreadWorksInTheOrderOfSubmission) {
  std::vector<int> order;
  ThreadPool pool(1);
  for (int i = 0; i < 50; ++i) pool.submit([&order, i] { order.push_back(i); });
  pool.submit([] {}).get();
  ASSERT_EQ(order.size(), 50U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order.at(static_cast<std::size_t>(i)), i);
}

// Each job waits for the others: with fewer threads than jobs this would never end.
TEST(ThreadPool, RunsAsManyJobsAtOnceAsItHasThreads) {
  std::latch all_here(4);
  ThreadPool pool(4);
  ASSERT_EQ(pool.size(), 4);
  std::vector<std::future<void>> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(pool.submit([&all_here] { all_here.arrive_and_wait(); }));
  for (auto& job : jobs) EXPECT_EQ(job.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST(ThreadPool, HasAtLeastOneThread) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.size(), 1);
  EXPECT_EQ(pool.submit([] { return 7; }).get(), 7);
}

TEST(ThreadPool, TheDestructorWaitsForTheRunningJobAndDropsTheRest) {
  std::atomic<bool> finished = false;
  std::atomic<bool> second_ran = false;
  std::future<void> second;
  {
    std::latch begun(1);
    ThreadPool pool(1);
    pool.submit([&] {
      begun.count_down();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      finished = true;
    });
    begun.wait();
    second = pool.submit([&] { second_ran = true; });
  }
  EXPECT_TRUE(finished);
  EXPECT_FALSE(second_ran);
  EXPECT_THROW(second.get(), std::future_error);
}

}  // namespace
}  // namespace clipself
