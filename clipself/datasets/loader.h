// Batches prepared ahead by threads, the same whatever their number.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "clipself/datasets/dataset.h"

namespace clipself::datasets {

struct LoaderOptions {
  int batch_size = 2;
  int workers = 4;   ///< threads; 0 loads in the calling thread
  int prefetch = 2;  ///< batches kept ready beside the one in use
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool drop_last = true;
  int rank = 0;  ///< this process takes every world_size-th sample of the epoch's order
  int world_size = 1;
  int batches_a_step = 1;        ///< that make one step; more than 1 needs drop_last
  double max_unreadable = 0.01;  ///< part of the data set (at least 10 images, but 0 is 0) after which the run stops
};

/// Walks an epoch in an order drawn from (seed, epoch). An unreadable image is named in the log once, counted, and
/// replaced by the next one of the order (and of its group), so that every run, whatever its number of threads, sees
/// the same batches. Which samples a step has depends on their number alone, batch_size * world_size * batches_a_step,
/// not on how it is divided. Where the data set has several groups, all samples of a step are of one: a step comes as
/// soon as the order has brought enough of its group together. What is left of a group in the end makes short batches,
/// or none with drop_last.
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Batches an epoch has for this process.
  std::int64_t batches_per_epoch() const;
  /// Begins `epoch` at batch number `first_batch` (a resumed run skips what it has seen without loading it).
  void start_epoch(std::int64_t epoch, std::int64_t first_batch = 0);
  /// The next batch, or nothing at the epoch's end. Throws Error past the limit of unreadable images.
  std::optional<Batch> next();
  /// Images found unreadable so far, by their places in the data set.
  const std::set<std::int64_t>& unreadable() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clipself::datasets
