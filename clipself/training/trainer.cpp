#include "clipself/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "clipself/base/error.h"

namespace clipself::training {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ErrorParts parts_of(const std::string& term, const std::vector<std::int64_t>& image_ids) {
  constexpr std::size_t kShown = 16;
  std::string ids;
  for (std::size_t i = 0; i < std::min(kShown, image_ids.size()); ++i)
    ids += (ids.empty() ? "" : ", ") + std::to_string(image_ids[i]);
  return {.doing = "training",
          .where = term,
          .found = "what is not finite, on image ids " + ids + (image_ids.size() > kShown ? ", ..." : ""),
          .expected = "numbers",
          .hint = "a lower --lr, --grad-clip-norm 1 or --precision fp32 may help"};
}

}  // namespace

NotFinite::NotFinite(std::string term, std::vector<std::int64_t> image_ids)
    : Error(parts_of(term, image_ids)), term_(std::move(term)), image_ids_(std::move(image_ids)) {}

StepReport train_step(Objective& objective, AdamW& optimizer, const std::vector<datasets::Batch>& batches, double lr,
                      std::optional<double> grad_clip_norm, Rng& rng) {
  StepReport report;
  report.lr = lr;
  optimizer.zero_grad();
  const double share = 1.0 / static_cast<double>(batches.size());
  for (const auto& batch : batches) {
    auto terms = objective.losses(batch, rng);
    at::Tensor total;  // of what can be minimised; an accuracy has no gradient
    for (std::size_t i = 0; i < terms.size(); ++i) {
      const auto& [name, value] = terms[i];
      const double number = value.item<double>();
      const bool is_loss = value.requires_grad();
      if (is_loss && !std::isfinite(number)) {
        optimizer.zero_grad();
        throw NotFinite(name, batch.image_ids);
      }
      if (report.losses.size() <= i) report.losses.emplace_back(name, 0.0);
      report.losses[i].second += number * share;
      if (!is_loss) continue;
      report.loss += number * share;
      total = total.defined() ? total + value : value;
    }
    (batches.size() == 1 ? total : total * share).backward();
    report.images += static_cast<std::int64_t>(batch.image_ids.size());
  }
  report.grad_norm = optimizer.clip_grad_norm(grad_clip_norm.value_or(std::numeric_limits<double>::infinity()));
  if (!std::isfinite(report.grad_norm)) {
    optimizer.zero_grad();
    std::vector<std::int64_t> ids;
    for (const auto& batch : batches) ids.insert(ids.end(), batch.image_ids.begin(), batch.image_ids.end());
    throw NotFinite("gradients", std::move(ids));
  }
  optimizer.step(lr);
  optimizer.zero_grad();
  objective.after_step();
  return report;
}

Trainer::Trainer(Objective& objective, datasets::Loader& loader, AdamW& optimizer, Schedule schedule,
                 TrainerOptions options)
    : objective_(objective), loader_(loader), optimizer_(optimizer), schedule_(schedule), options_(options) {
  steps_per_epoch_ = loader.batches_per_epoch() / options.accum_freq;
  if (steps_per_epoch_ < 1) {
    throw Error({.doing = "planning the run",
                 .found = c10::str(loader.batches_per_epoch(), " batches an epoch"),
                 .expected = c10::str("at least --accum-freq ", options.accum_freq),
                 .hint = "a smaller --batch-size or more images"});
  }
  schedule_.total_steps = steps_per_epoch_ * options.epochs;
}

StepReport Trainer::try_step(const std::vector<datasets::Batch>& batches, const Hooks& hooks) {
  const double lr = schedule_.at(position_.step);
  Rng rng(options_.seed, 0x5354455053ULL, static_cast<std::uint64_t>(position_.step));
  std::vector<at::Tensor> before;
  if (options_.most_left_out > 0)
    for (const auto& tensor : objective_.statistics()) before.push_back(tensor.detach().clone());
  try {
    auto report = train_step(objective_, optimizer_, batches, lr, options_.grad_clip_norm, rng);
    left_out_ = 0;
    return report;
  } catch (const NotFinite& error) {
    if (hooks.on_not_finite) hooks.on_not_finite(position_, error);
    if (++left_out_ > options_.most_left_out) throw;
    const at::NoGradGuard no_grad;
    auto statistics = objective_.statistics();
    for (std::size_t i = 0; i < before.size(); ++i) statistics[i].copy_(before[i]);
    StepReport report;
    report.lr = lr;
    report.left_out = true;
    for (const auto& batch : batches) report.images += static_cast<std::int64_t>(batch.image_ids.size());
    return report;
  }
}

bool Trainer::run(const Hooks& hooks) {
  while (position_.epoch < options_.epochs) {
    loader_.start_epoch(position_.epoch, position_.batch);
    while (position_.batch < steps_per_epoch_ * options_.accum_freq) {
      const auto start = Clock::now();
      std::vector<datasets::Batch> batches;
      for (int i = 0; i < options_.accum_freq; ++i) {
        auto batch = loader_.next();
        if (!batch) throw Error({.doing = "loading training data", .found = "an epoch that ended early"});
        batches.push_back(std::move(*batch));
      }
      const double waited = seconds_since(start);
      auto report = try_step(batches, hooks);
      report.step = position_.step;
      report.epoch = position_.epoch;
      report.data_seconds = waited;
      report.seconds = seconds_since(start);
      ++position_.step;
      position_.batch += options_.accum_freq;
      if (hooks.on_step) hooks.on_step(report);
      const bool epoch_done = position_.batch >= steps_per_epoch_ * options_.accum_freq;
      if (!epoch_done && hooks.should_stop && hooks.should_stop()) return false;
    }
    ++position_.epoch;
    position_.batch = 0;
    if (hooks.on_epoch) hooks.on_epoch(position_.epoch);
    if (position_.epoch < options_.epochs && hooks.should_stop && hooks.should_stop()) return false;
  }
  return true;
}

}  // namespace clipself::training
