#include "clipself/datasets/loader.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "tests/datasets/cases.h"

namespace clipself::datasets {
namespace {

/// Item i: image id i and one box that its generator draws. Counts what it is asked for.
class Numbers : public Dataset {
 public:
  Numbers(std::int64_t size, std::set<std::int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}
  std::int64_t size() const override { return size_; }
  Sample get(std::int64_t index, Rng& rng) const override {
    ++calls;
    // Later items come back sooner, so that threads finish out of order.
    std::this_thread::sleep_for(std::chrono::microseconds((size_ - index) % 7 * 150));
    if (broken_.contains(index)) throw Error("image " + std::to_string(index) + " is broken");
    if (index == defect) throw std::logic_error("a defect of the program");
    Sample sample;
    sample.image_id = index;
    sample.image = at::full({3, 2, 2}, index % 256, at::kByte);
    const auto x = static_cast<float>(rng.uniform());
    sample.boxes = at::tensor({x, x, 1.0F, 1.0F, 1.0F}).view({1, 5});
    sample.crops = at::zeros({1, 3, 2, 2}, at::kByte);
    return sample;
  }
  std::int64_t defect = -1;
  mutable std::atomic<int> calls = 0;

 private:
  std::int64_t size_;
  std::set<std::int64_t> broken_;
};

/// A batch as comparable values: the ids and the drawn numbers.
using Seen = std::vector<std::pair<std::vector<std::int64_t>, std::vector<float>>>;

Seen rest_of(Loader& loader) {
  Seen seen;
  while (auto batch = loader.next()) {
    std::vector<float> draws;
    for (const auto& boxes : batch->boxes) draws.push_back(boxes[0][0].item<float>());
    EXPECT_EQ(batch->images.size(0), static_cast<std::int64_t>(batch->image_ids.size()));
    seen.emplace_back(batch->image_ids, draws);
  }
  return seen;
}

Seen epoch_of(const std::shared_ptr<const Dataset>& dataset, const LoaderOptions& options, std::int64_t epoch,
              std::int64_t first_batch = 0) {
  Loader loader(dataset, options);
  loader.start_epoch(epoch, first_batch);
  return rest_of(loader);
}

TEST(Loader, GivesTheSameBatchesWithAnyNumberOfThreads) {
  const auto dataset = std::make_shared<Numbers>(41, std::set<std::int64_t>{3, 4, 17});
  const auto alone = epoch_of(dataset, {.batch_size = 4, .workers = 0, .seed = 5}, 2);
  EXPECT_EQ(alone.size(), 10U);
  for (const int workers : {1, 4}) {
    for (const int prefetch : {0, 1, 5}) {
      EXPECT_EQ(epoch_of(dataset, {.batch_size = 4, .workers = workers, .prefetch = prefetch, .seed = 5}, 2), alone);
    }
  }
}

TEST(Loader, EpochsAndSeedsDifferAndTheirOrderIsAPermutation) {
  const auto dataset = std::make_shared<Numbers>(30);
  const auto first = epoch_of(dataset, {.batch_size = 3, .workers = 2, .seed = 1}, 0);
  EXPECT_NE(first, epoch_of(dataset, {.batch_size = 3, .workers = 2, .seed = 1}, 1));
  EXPECT_NE(first, epoch_of(dataset, {.batch_size = 3, .workers = 2, .seed = 2}, 0));
  std::multiset<std::int64_t> ids;
  for (const auto& [batch, draws] : first) ids.insert(batch.begin(), batch.end());
  std::multiset<std::int64_t> all;
  for (std::int64_t i = 0; i < 30; ++i) all.insert(i);
  EXPECT_EQ(ids, all);
  const auto plain = epoch_of(dataset, {.batch_size = 3, .workers = 2, .shuffle = false}, 4);
  EXPECT_EQ(plain[1].first, (std::vector<std::int64_t>{3, 4, 5}));
}

TEST(Loader, ResumingAtABatchGivesTheRestWithoutLoadingWhatCameBefore) {
  const auto dataset = std::make_shared<Numbers>(24);
  for (const int workers : {0, 3}) {
    const LoaderOptions options{.batch_size = 4, .workers = workers, .seed = 9};
    const auto whole = epoch_of(dataset, options, 1);
    dataset->calls = 0;
    EXPECT_EQ(epoch_of(dataset, options, 1, 4), Seen(whole.begin() + 4, whole.end()));
    EXPECT_EQ(dataset->calls, 8);
    EXPECT_TRUE(epoch_of(dataset, options, 1, 6).empty());
  }
}

TEST(Loader, ProcessesShareAnEpochWithoutOverlap) {
  const auto dataset = std::make_shared<Numbers>(50);
  for (const bool drop_last : {true, false}) {
    std::multiset<std::int64_t> ids;
    for (int rank = 0; rank < 3; ++rank) {
      const auto seen =
          epoch_of(dataset, {.batch_size = 4, .workers = 2, .drop_last = drop_last, .rank = rank, .world_size = 3}, 0);
      if (drop_last) {
        EXPECT_EQ(seen.size(), 4U);
      }
      for (const auto& [batch, draws] : seen) ids.insert(batch.begin(), batch.end());
    }
    EXPECT_EQ(ids.size(), drop_last ? 48U : 50U);
    EXPECT_EQ(std::set<std::int64_t>(ids.begin(), ids.end()).size(), ids.size());
  }
}

TEST(Loader, TheLastBatchIsShortWhenKept) {
  const auto dataset = std::make_shared<Numbers>(10);
  Loader loader(dataset, {.batch_size = 4, .drop_last = false});
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  const auto seen = rest_of(loader);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[2].first.size(), 2U);
  EXPECT_FALSE(loader.next().has_value());
}

TEST(Loader, AnUnreadableImageIsReplacedByTheNextOfTheOrderAndCountedOnce) {
  const auto dataset = std::make_shared<Numbers>(12, std::set<std::int64_t>{4, 5, 11});
  for (const int workers : {0, 3}) {
    Loader loader(dataset, {.batch_size = 4, .workers = workers, .shuffle = false});
    for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
      loader.start_epoch(epoch);
      const auto seen = rest_of(loader);
      EXPECT_EQ(seen[1].first, (std::vector<std::int64_t>{6, 6, 6, 7}));
      EXPECT_EQ(seen[2].first, (std::vector<std::int64_t>{8, 9, 10, 0}));
    }
    EXPECT_EQ(loader.unreadable().size(), 3U);
  }
}

TEST(Loader, StopsWithAnErrorPastTheLimitOfUnreadableImages) {
  std::set<std::int64_t> broken;
  for (std::int64_t i = 20; i < 60; i += 2) broken.insert(i);
  const auto dataset = std::make_shared<Numbers>(100, broken);
  for (const int workers : {0, 4}) {
    Loader loader(dataset, {.batch_size = 5, .workers = workers, .shuffle = false});
    int batches = 0;
    const std::string message = error_of([&] {
      while (loader.next()) ++batches;
    });
    // 20, 22, ... 38 are ten and allowed; 40 is in the ninth batch.
    EXPECT_EQ(batches, 8);
    expect_contains(message, "image 40 is broken");
    expect_contains(message, "at most 10");
  }
  EXPECT_EQ(epoch_of(dataset, {.batch_size = 5, .shuffle = false, .max_unreadable = 0.2}, 0).size(), 20U);
}

TEST(Loader, ADatasetWithNothingReadableIsAnError) {
  const auto dataset = std::make_shared<Numbers>(6, std::set<std::int64_t>{0, 1, 2, 3, 4, 5});
  for (const int workers : {0, 2}) {
    Loader loader(dataset, {.batch_size = 2, .workers = workers});
    expect_contains(error_of([&] { loader.next(); }), "is broken");
  }
}

TEST(Loader, DefectsInAWorkerSurfaceInNext) {
  const auto dataset = std::make_shared<Numbers>(12);
  dataset->defect = 5;
  Loader loader(dataset, {.batch_size = 2, .workers = 3, .shuffle = false});
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_THROW(loader.next(), std::logic_error);
}

TEST(Loader, GoesAwayAtOnceInTheMiddleOfAnEpoch) {
  const auto dataset = std::make_shared<Numbers>(5000);
  const auto begin = std::chrono::steady_clock::now();
  {
    Loader loader(dataset, {.batch_size = 100, .workers = 2, .prefetch = 8});
    loader.next();
    loader.start_epoch(1);
    loader.next();
  }
  EXPECT_LT(dataset->calls, 1500);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

/// Every third sample is of group 1, the others of group 0.
class Shapes : public Numbers {
 public:
  using Numbers::Numbers;
  int group(std::int64_t index) const override { return index % 3 == 0 ? 1 : 0; }
};

TEST(Loader, ABatchIsOfOneGroup) {
  const auto dataset = std::make_shared<Shapes>(41);  // 14 of group 1, 27 of group 0
  for (const bool drop_last : {true, false}) {
    const LoaderOptions options{.batch_size = 4, .workers = 2, .seed = 3, .drop_last = drop_last};
    const auto seen = epoch_of(dataset, options, 1);
    EXPECT_EQ(seen.size(), drop_last ? 3U + 6U : 4U + 7U);
    EXPECT_EQ(Loader(dataset, options).batches_per_epoch(), static_cast<std::int64_t>(seen.size()));
    std::multiset<std::int64_t> ids;
    for (const auto& [batch, draws] : seen) {
      ids.insert(batch.begin(), batch.end());
      for (const std::int64_t id : batch) EXPECT_EQ(dataset->group(id), dataset->group(batch.front()));
      if (drop_last) {
        EXPECT_EQ(batch.size(), 4U);
      }
    }
    EXPECT_EQ(ids.size(), drop_last ? 36U : 41U);
    EXPECT_EQ(std::set<std::int64_t>(ids.begin(), ids.end()).size(), ids.size());
    EXPECT_EQ(seen, epoch_of(dataset, {.batch_size = 4, .workers = 0, .seed = 3, .drop_last = drop_last}, 1));
    EXPECT_NE(seen, epoch_of(dataset, options, 2));
    EXPECT_EQ(epoch_of(dataset, options, 1, 5), Seen(seen.begin() + 5, seen.end()));
  }
}

TEST(Loader, GroupsOfAnEpochAreMixed) {
  const auto dataset = std::make_shared<Shapes>(120);
  const auto seen = epoch_of(dataset, {.batch_size = 2, .workers = 0, .seed = 1}, 0);
  int changes = 0;
  for (std::size_t i = 1; i < seen.size(); ++i)
    changes += dataset->group(seen[i].first[0]) != dataset->group(seen[i - 1].first[0]);
  EXPECT_GT(changes, 10);
}

TEST(Loader, ProcessesSeeTheSameGroupAtTheSameTime) {
  const auto dataset = std::make_shared<Shapes>(50);  // 17 of group 1, 33 of group 0
  for (const bool drop_last : {true, false}) {
    std::vector<Seen> ranks;
    std::multiset<std::int64_t> ids;
    for (int rank = 0; rank < 3; ++rank) {
      const LoaderOptions options{.batch_size = 2, .workers = 2, .drop_last = drop_last, .rank = rank, .world_size = 3};
      ranks.push_back(epoch_of(dataset, options, 0));
      EXPECT_EQ(Loader(dataset, options).batches_per_epoch(), static_cast<std::int64_t>(ranks.back().size()));
      for (const auto& [batch, draws] : ranks.back()) ids.insert(batch.begin(), batch.end());
    }
    for (std::size_t i = 0; i < ranks[2].size(); ++i) {
      const int group = dataset->group(ranks[0][i].first.front());
      for (const auto& seen : ranks)
        for (const std::int64_t id : seen[i].first) EXPECT_EQ(dataset->group(id), group);
    }
    EXPECT_EQ(ids.size(), drop_last ? 42U : 50U);
    EXPECT_EQ(std::set<std::int64_t>(ids.begin(), ids.end()).size(), ids.size());
  }
}

TEST(Loader, AnUnreadableImageIsReplacedWithinItsGroup) {
  const auto dataset = std::make_shared<Shapes>(24, std::set<std::int64_t>{0, 1, 21, 23});
  const auto seen = epoch_of(dataset, {.batch_size = 4, .workers = 2, .shuffle = false}, 0);
  for (const auto& [batch, draws] : seen)
    for (const std::int64_t id : batch) EXPECT_EQ(dataset->group(id), dataset->group(batch.front()));
  EXPECT_EQ(seen[0].first, (std::vector<std::int64_t>{2, 2, 4, 5}));
  EXPECT_EQ(seen[1].first, (std::vector<std::int64_t>{3, 3, 6, 9}));
}

TEST(Loader, GroupsTooSmallForABatchAreAnErrorWhenNothingElseIsLeft) {
  const auto dataset = std::make_shared<Shapes>(9);
  expect_contains(error_of([&] { Loader(dataset, {.batch_size = 7}); }), "of one group");
  EXPECT_NO_THROW(Loader(dataset, {.batch_size = 7, .drop_last = false}));
}

TEST(Loader, RefusesImpossibleOptions) {
  const auto dataset = std::make_shared<Numbers>(10);
  EXPECT_THROW(Loader(dataset, {.batch_size = 0}), Error);
  EXPECT_THROW(Loader(dataset, {.workers = -1}), Error);
  EXPECT_THROW(Loader(dataset, {.rank = 2, .world_size = 2}), Error);
  expect_contains(error_of([&] { Loader(dataset, {.batch_size = 11}); }), "a batch of 11 (--batch-size)");
  EXPECT_THROW(Loader(dataset, {.batch_size = 6, .world_size = 2}), Error);
  EXPECT_NO_THROW(Loader(dataset, {.batch_size = 5, .world_size = 2}));
}

}  // namespace
}  // namespace clipself::datasets
