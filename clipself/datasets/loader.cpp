#include "clipself/datasets/loader.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <future>
#include <map>
#include <numeric>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/log.h"
#include "clipself/base/thread_pool.h"

namespace clipself::datasets {
namespace {

// The order of an epoch is drawn from the stream of an index no data set has.
constexpr std::uint64_t kOrderStream = ~std::uint64_t{0};

/// A sample, and which images were tried before it in vain.
struct Loaded {
  Sample sample;
  struct Failure {
    std::int64_t index;
    std::string message;
  };
  std::vector<Failure> failures;
  bool found = false;
};

template <typename Number>
void require(bool holds, const char* what, Number found, const std::string& expected) {
  if (holds) return;
  throw Error({.doing = "setting up the loader", .where = what, .found = std::to_string(found), .expected = expected});
}

}  // namespace

struct Loader::State {
  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  std::int64_t size = 0;
  std::int64_t limit = 0;  // unreadable images that are put up with

  std::shared_ptr<const std::vector<int>> groups;  // of each sample; null when there is one
  std::vector<std::int64_t> group_sizes;           // of the groups that have any
  std::shared_ptr<const std::vector<std::int64_t>> order;
  std::vector<std::pair<std::int64_t, std::int64_t>> chunks;  // a step of all processes: begin and end in the order
  std::int64_t epoch = 0;
  std::int64_t next_to_submit = 0;
  std::set<std::int64_t> unreadable;

  using Pending = std::vector<std::future<Loaded>>;
  std::deque<Pending> pending;
  std::shared_ptr<std::atomic<bool>> cancelled;
  std::unique_ptr<ThreadPool> pool;  // last: its threads stop before what they use goes away

  // A chunk of the order makes a step; of each batch_size * world_size of it every process takes every world_size-th.
  std::int64_t batch_of_all() const { return std::int64_t{options.batch_size} * options.world_size; }
  std::int64_t chunk_size() const { return batch_of_all() * options.batches_a_step; }
  std::int64_t batches() const {
    std::int64_t count = 0;
    for (const std::int64_t members : group_sizes) {
      count += members / chunk_size() * options.batches_a_step;
      if (!options.drop_last && members % chunk_size() > options.rank) ++count;
    }
    return count;
  }

  void find_groups() {
    std::vector<int> group_of(static_cast<std::size_t>(size));
    std::map<int, std::int64_t> sizes;
    for (std::int64_t i = 0; i < size; ++i) ++sizes[group_of[static_cast<std::size_t>(i)] = dataset->group(i)];
    for (const auto& [group, members] : sizes) group_sizes.push_back(members);
    if (sizes.size() > 1) groups = std::make_shared<const std::vector<int>>(std::move(group_of));
  }

  // Reorders `shuffled` so that chunks are of one group, and lists the chunks that hold something for this process.
  std::vector<std::int64_t> arrange(std::vector<std::int64_t> shuffled) {
    std::vector<std::int64_t> arranged;
    arranged.reserve(shuffled.size());
    chunks.clear();
    std::map<int, std::vector<std::int64_t>> waiting;
    const auto append = [&](const std::vector<std::int64_t>& members) {
      const auto begin = static_cast<std::int64_t>(arranged.size());
      arranged.insert(arranged.end(), members.begin(), members.end());
      return std::pair(begin, static_cast<std::int64_t>(arranged.size()));
    };
    for (const std::int64_t index : shuffled) {
      auto& group = waiting[groups ? (*groups)[static_cast<std::size_t>(index)] : 0];
      group.push_back(index);
      if (static_cast<std::int64_t>(group.size()) < chunk_size()) continue;
      chunks.push_back(append(group));
      group.clear();
    }
    for (const auto& [name, group] : waiting) {
      const auto rest = append(group);  // also when dropped: an unreadable image's replacement may come from here
      if (!options.drop_last && rest.second - rest.first > options.rank) chunks.push_back(rest);
    }
    return arranged;
  }

  static Loaded load(const Dataset& dataset, const std::vector<std::int64_t>& order, const std::vector<int>* groups,
                     std::uint64_t seed, std::int64_t epoch, std::int64_t position, std::int64_t attempts) {
    Loaded loaded;
    const auto size = static_cast<std::int64_t>(order.size());
    const auto group_of = [&](std::int64_t index) {
      return groups == nullptr ? 0 : (*groups)[static_cast<std::size_t>(index)];
    };
    const int wanted = group_of(order[static_cast<std::size_t>(position)]);
    for (std::int64_t i = 0; i < size && static_cast<std::int64_t>(loaded.failures.size()) < attempts; ++i) {
      const std::int64_t index = order[static_cast<std::size_t>((position + i) % size)];
      if (group_of(index) != wanted) continue;
      Rng rng(seed, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index));
      try {
        loaded.sample = dataset.get(index, rng);
        loaded.found = true;
        return loaded;
      } catch (const Error& error) {
        loaded.failures.push_back({index, error.what()});
      }
    }
    return loaded;
  }

  std::vector<std::int64_t> positions_of(std::int64_t batch) const {
    std::vector<std::int64_t> positions;
    const auto [first, last] = chunks[static_cast<std::size_t>(batch / options.batches_a_step)];
    const std::int64_t begin = first + batch % options.batches_a_step * batch_of_all();
    const std::int64_t end = std::min(last, begin + batch_of_all());
    for (std::int64_t i = begin + options.rank; i < end; i += options.world_size) positions.push_back(i);
    return positions;
  }

  void submit_ahead() {
    const auto wanted = static_cast<std::size_t>(std::max(options.prefetch, 1));
    while (pending.size() < wanted && next_to_submit < batches()) {
      Pending batch;
      for (const std::int64_t position : positions_of(next_to_submit)) {
        batch.push_back(pool->submit([data = dataset, order = order, groups = groups, seed = options.seed,
                                      epoch = epoch, position, attempts = limit + 1, cancelled = cancelled] {
          if (cancelled->load(std::memory_order_relaxed)) return Loaded{};
          return load(*data, *order, groups.get(), seed, epoch, position, attempts);
        }));
      }
      pending.push_back(std::move(batch));
      ++next_to_submit;
    }
  }

  void drop_pending() {
    if (cancelled) cancelled->store(true, std::memory_order_relaxed);
    pending.clear();
  }

  // Failures are counted here, batch by batch, so that what is logged and when the run stops does not depend on
  // threads.
  Sample accept(Loaded loaded) {
    for (const auto& failure : loaded.failures) {
      if (!unreadable.insert(failure.index).second) continue;
      spdlog::warn("unreadable image left out: {}", failure.message);
      if (static_cast<std::int64_t>(unreadable.size()) > limit) {
        throw Error({.doing = "loading training images",
                     .found = std::to_string(unreadable.size()) + " unreadable ones of " + std::to_string(size) +
                              ", the last: " + failure.message,
                     .expected = "at most " + std::to_string(limit)});
      }
    }
    if (!loaded.found) {
      throw Error(
          {.doing = "loading training images",
           .found = loaded.failures.empty() ? "none" : "no readable one, the last: " + loaded.failures.back().message});
    }
    return std::move(loaded.sample);
  }
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.dataset = std::move(dataset);
  state.options = options;
  state.size = state.dataset->size();
  require(options.batch_size >= 1, "batch size", options.batch_size, "at least 1");
  require(options.workers >= 0, "workers", options.workers, "at least 0");
  require(options.world_size >= 1, "world size", options.world_size, "at least 1");
  require(options.rank >= 0 && options.rank < options.world_size, "rank", options.rank,
          "0 to " + std::to_string(options.world_size - 1));
  require(options.batches_a_step == 1 || (options.batches_a_step > 1 && options.drop_last), "batches a step",
          options.batches_a_step, "1, or more with drop_last");
  require(options.max_unreadable >= 0 && options.max_unreadable <= 1, "unreadable images allowed",
          options.max_unreadable, "a part in 0..1");
  state.find_groups();
  require(
      state.batches() >= 1, "data set size", state.size,
      "enough images for " +
          (options.batches_a_step > 1 ? std::to_string(options.batches_a_step) + " batches" : std::string("a batch")) +
          " of " + std::to_string(options.batch_size) + " (--batch-size)" + (state.groups ? " of one group" : "") +
          (options.world_size > 1 ? " on each of " + std::to_string(options.world_size) + " processes" : ""));
  constexpr double kAlwaysAllowed = 10;
  const double part = options.max_unreadable * static_cast<double>(state.size);
  state.limit = options.max_unreadable > 0 ? static_cast<std::int64_t>(std::max(kAlwaysAllowed, part)) : 0;
  if (options.workers > 0) state.pool = std::make_unique<ThreadPool>(options.workers);
  start_epoch(0);
}

Loader::~Loader() {
  state_->drop_pending();
}

std::int64_t Loader::batches_per_epoch() const {
  return state_->batches();
}

void Loader::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  State& state = *state_;
  state.drop_pending();
  state.cancelled = std::make_shared<std::atomic<bool>>(false);
  std::vector<std::int64_t> order(static_cast<std::size_t>(state.size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (state.options.shuffle) {
    Rng rng(state.options.seed, static_cast<std::uint64_t>(epoch), kOrderStream);
    rng.shuffle(std::span(order));
  }
  state.order = std::make_shared<const std::vector<std::int64_t>>(state.arrange(std::move(order)));
  state.epoch = epoch;
  state.next_to_submit = std::max<std::int64_t>(first_batch, 0);
}

std::optional<Batch> Loader::next() {
  State& state = *state_;
  std::vector<Sample> samples;
  if (state.pool == nullptr) {
    if (state.next_to_submit >= state.batches()) return std::nullopt;
    for (const std::int64_t position : state.positions_of(state.next_to_submit++)) {
      samples.push_back(state.accept(State::load(*state.dataset, *state.order, state.groups.get(), state.options.seed,
                                                 state.epoch, position, state.limit + 1)));
    }
    return collate(std::move(samples));
  }
  state.submit_ahead();
  if (state.pending.empty()) return std::nullopt;
  State::Pending batch = std::move(state.pending.front());
  state.pending.pop_front();
  state.submit_ahead();  // the batches beside the one in use
  for (auto& future : batch) samples.push_back(state.accept(future.get()));
  return collate(std::move(samples));
}

const std::set<std::int64_t>& Loader::unreadable() const {
  return state_->unreadable;
}

}  // namespace clipself::datasets
