#include "clipself/distributed/processes.h"

#include "clipself/distributed/gradients.h"
#include "tests/distributed/together.h"

namespace clipself::distributed {
namespace {

TEST(Processes, AloneGiveBackWhatTheyAreGiven) {
  const auto alone = Processes::alone();
  const auto two = at::full({1}, 2.0);
  alone->sum(two);
  EXPECT_EQ(two.item<double>(), 2.0);
  EXPECT_EQ(alone->gather(std::string("x")), std::vector<std::string>{"x"});
  EXPECT_TRUE(alone->any(true));
  EXPECT_FALSE(alone->any(false));
}

class Several : public testing::TestWithParam<int> {};

TEST_P(Several, ExchangeSumsTextsAndTensorsOfAnySize) {
  const int count = GetParam();
  run_as(count, [&](const auto& processes) {
    const int rank = processes->rank();
    const auto sum = at::full({3}, rank + 1.0, at::kDouble);
    processes->sum(sum);
    EXPECT_EQ(sum[2].template item<double>(), count * (count + 1) / 2.0);

    const auto texts = processes->gather(std::string(static_cast<std::size_t>(rank), 'x'));  // rank 0's is empty
    ASSERT_EQ(texts.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) EXPECT_EQ(texts[static_cast<std::size_t>(i)].size(), static_cast<std::size_t>(i));
    EXPECT_EQ(processes->of_first("from " + std::to_string(rank)), "from 0");

    const auto rows = processes->gather_rows(at::full({rank, 2}, rank, at::kLong));  // rank 0 has none
    EXPECT_EQ(rows.size(0), count * (count - 1) / 2);
    EXPECT_EQ(rows[rows.size(0) - 1][1].template item<std::int64_t>(), count - 1);
    EXPECT_EQ(processes->gather_rows(at::empty({0}, at::kFloat)).numel(), 0);

    EXPECT_TRUE(processes->any(rank == count - 1));
    EXPECT_FALSE(processes->any(false));
  });
}

TEST_P(Several, ThrowAlikeWhatOneOfThemThrows) {
  const int last = GetParam() - 1;
  run_as(GetParam(), [&](const auto& processes) {
    try {
      processes->agree([&] {
        if (processes->rank() == last) throw Error("no such picture");
      });
      FAIL() << "nothing thrown in rank " << processes->rank();
    } catch (const AgreedError& error) {
      EXPECT_EQ(std::string(error.what()), "rank " + std::to_string(last) + ": no such picture");
    }
    processes->agree([] {});
  });
}

TEST_P(Several, TellWhoIsNotLikeTheOthers) {
  const int last = GetParam() - 1;
  run_as(GetParam(), [&](const auto& processes) {
    processes->check_equal("weights", "same");
    try {
      processes->check_equal("weights", processes->rank() == last ? "other" : "same");
      FAIL() << "nothing thrown in rank " << processes->rank();
    } catch (const AgreedError& error) {
      EXPECT_NE(std::string(error.what()).find("'other' on rank " + std::to_string(last)), std::string::npos)
          << error.what();
    }
  });
}

// Gradients of the sum of all processes' losses, over their number; a parameter that one process alone uses, and one
// that nobody does.
TEST_P(Several, AverageGradients) {
  const int count = GetParam();
  run_as(count, [&](const auto& processes) {
    const int rank = processes->rank();
    auto used = at::ones({2, 3}).requires_grad_(), of_first = at::ones({4}).requires_grad_(),
         unused = at::ones({5}).requires_grad_(), large = at::ones({1 << 19}).requires_grad_();  // more than a bucket
    GradientAverage average({{"used", used}, {"of_first", of_first}, {"unused", unused}, {"large", large}}, processes);
    for (int step = 0; step < 3; ++step) {
      for (auto* parameter : {&used, &of_first, &unused, &large}) parameter->mutable_grad() = at::Tensor();
      (used.sum() * 10).backward();  // an earlier batch of the step
      auto loss = used.sum() * (rank + 1) + large.sum() * rank;
      if (rank == 0) loss = loss + of_first.sum() * 6;
      average.backward(loss);
      EXPECT_TRUE(at::allclose(used.grad(), at::full_like(used, 10 + (count + 1) / 2.0)));
      EXPECT_TRUE(at::allclose(large.grad(), at::full_like(large, (count - 1) / 2.0)));
      EXPECT_TRUE(at::allclose(of_first.grad(), at::full_like(of_first, 6.0 / count)));
      EXPECT_FALSE(unused.grad().defined());
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Processes, Several, testing::Values(2, 3));

TEST(Joining, TellsWhoDidNotCome) {
  Place place;
  place.world_size = 3;
  place.port = free_port();
  try {
    Processes::join(place, std::chrono::seconds(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no rank 1, 2 within 1 s"), std::string::npos) << error.what();
  }
}

TEST(Joining, TellsThatNobodyAnswers) {
  Place place;
  place.world_size = 2;
  place.rank = 1;
  place.port = free_port();
  try {
    Processes::join(place, std::chrono::seconds(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no answer within 1 s"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("MASTER_PORT"), std::string::npos) << error.what();
  }
}

TEST(Joining, TellsThatThePortIsInUse) {
  const TakenPort taken;
  Place place;
  place.world_size = 2;
  place.port = taken.number();
  try {
    Processes::join(place, std::chrono::seconds(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("in use"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace clipself::distributed
