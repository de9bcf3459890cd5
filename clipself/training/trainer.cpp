#include "clipself/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/formats/fingerprint.h"

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

/// What all processes make of a term.
struct AgreedTerm {
  double value = 0;
  double factor = 1;   ///< of this process's, so that the mean over the processes is the mean over what they counted
  bool finite = true;  ///< in all processes
  bool finite_here = true;  ///< in this one
};

std::vector<AgreedTerm> agree_on(const LossTerms& terms, distributed::Processes& processes) {
  std::vector<AgreedTerm> agreed;
  for (const auto& term : terms) {
    const double value = term.value.item<double>();  // once: it waits for a device
    const bool finite = !term.value.requires_grad() || std::isfinite(value);
    agreed.push_back({.value = value, .factor = 1, .finite = finite, .finite_here = finite});
  }
  if (processes.size() == 1) return agreed;
  const auto count = static_cast<std::int64_t>(terms.size());
  const auto sums = at::zeros({count, 3}, at::kDouble);  // counts, values times counts, not finite
  auto mine = sums.accessor<double, 2>();
  for (std::int64_t i = 0; i < count; ++i) {
    const double things = terms[static_cast<std::size_t>(i)].count;
    const auto& own = agreed[static_cast<std::size_t>(i)];
    mine[i][0] = things;
    mine[i][1] = own.finite && things > 0 ? own.value * things : 0.0;
    mine[i][2] = own.finite ? 0 : 1;
  }
  processes.sum(sums);
  for (std::int64_t i = 0; i < count; ++i) {
    const double all = mine[i][0];
    auto& term = agreed[static_cast<std::size_t>(i)];
    term.value = all > 0 ? mine[i][1] / all : 0.0;
    if (all > 0) term.factor = terms[static_cast<std::size_t>(i)].count * processes.size() / all;
    term.finite = mine[i][2] == 0;
  }
  return agreed;
}

using IdList = std::vector<std::int64_t>;

IdList all_ids(distributed::Processes& processes, const IdList& mine) {
  const auto all = processes.gather_rows(at::tensor(mine, at::kLong));
  const auto* first = all.const_data_ptr<std::int64_t>();
  return {first, first + all.numel()};
}

// Steps between comparisons of the processes' weights; also after each epoch.
constexpr std::int64_t kCompareEvery = 1000;

}  // namespace

NotFinite::NotFinite(std::string term, std::vector<std::int64_t> image_ids)
    : AgreedError(parts_of(term, image_ids)), term_(std::move(term)), image_ids_(std::move(image_ids)) {}

StepReport train_step(Objective& objective, AdamW& optimizer, const std::vector<datasets::Batch>& batches, double lr,
                      std::optional<double> grad_clip_norm, const Rng& rng) {
  return train_step(objective, optimizer, batches, lr, grad_clip_norm, rng, *distributed::Processes::alone(), nullptr);
}

StepReport train_step(Objective& objective, AdamW& optimizer, const std::vector<datasets::Batch>& batches, double lr,
                      std::optional<double> grad_clip_norm, const Rng& rng, distributed::Processes& processes,
                      distributed::GradientAverage* average) {
  StepReport report;
  report.lr = lr;
  optimizer.zero_grad();
  const double share = 1.0 / static_cast<double>(batches.size());
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto& batch = batches[i];
    Rng own = rng;
    const auto terms = objective.losses(batch, own);
    const auto agreed = agree_on(terms, processes);
    if (const auto bad = std::ranges::find(agreed, false, &AgreedTerm::finite); bad != agreed.end()) {
      optimizer.zero_grad();
      const auto& culprit = terms[static_cast<std::size_t>(bad - agreed.begin())];
      throw NotFinite(culprit.name, all_ids(processes, bad->finite_here ? IdList{} : batch.image_ids));
    }
    at::Tensor total;  // of what can be minimised; an accuracy has no gradient
    for (std::size_t k = 0; k < terms.size(); ++k) {
      if (report.losses.size() <= k) report.losses.emplace_back(terms[k].name, 0.0);
      report.losses[k].second += agreed[k].value * share;
      if (!terms[k].value.requires_grad()) continue;
      report.loss += agreed[k].value * share;
      const auto part = agreed[k].factor == 1 ? terms[k].value : terms[k].value * agreed[k].factor;
      total = total.defined() ? total + part : part;
    }
    if (batches.size() > 1) total = total * share;
    if (average != nullptr && i + 1 == batches.size())
      average->backward(total);
    else
      total.backward();
    report.images += static_cast<std::int64_t>(batch.image_ids.size()) * processes.size();
  }
  report.grad_norm = optimizer.clip_grad_norm(grad_clip_norm.value_or(std::numeric_limits<double>::infinity()));
  if (!std::isfinite(report.grad_norm)) {
    optimizer.zero_grad();
    IdList ids;
    for (const auto& batch : batches) ids.insert(ids.end(), batch.image_ids.begin(), batch.image_ids.end());
    throw NotFinite("gradients", all_ids(processes, ids));
  }
  optimizer.step(lr);
  optimizer.zero_grad();
  objective.after_step();
  return report;
}

Trainer::Trainer(Objective& objective, datasets::Loader& loader, AdamW& optimizer, Schedule schedule,
                 TrainerOptions options)
    : objective_(objective), loader_(loader), optimizer_(optimizer), schedule_(schedule), options_(std::move(options)) {
  if (!options_.processes) options_.processes = distributed::Processes::alone();
  steps_per_epoch_ = loader.batches_per_epoch() / options_.accum_freq;
  if (steps_per_epoch_ < 1) {
    throw Error({.doing = "planning the run",
                 .found = c10::str(loader.batches_per_epoch(), " batches an epoch"),
                 .expected = c10::str("at least --accum-freq ", options_.accum_freq),
                 .hint = "a smaller --batch-size or more images"});
  }
  schedule_.total_steps = steps_per_epoch_ * options_.epochs;
  if (options_.processes->size() > 1)
    average_ = std::make_unique<distributed::GradientAverage>(objective.parameters(), options_.processes);
}

StepReport Trainer::try_step(const std::vector<datasets::Batch>& batches, const Hooks& hooks) {
  const double lr = schedule_.at(position_.step);
  const Rng rng(options_.seed, 0x5354455053ULL, static_cast<std::uint64_t>(position_.step));
  std::vector<at::Tensor> before;
  if (options_.most_left_out > 0)
    for (const auto& tensor : objective_.statistics()) before.push_back(tensor.detach().clone());
  try {
    auto report = train_step(objective_, optimizer_, batches, lr, options_.grad_clip_norm, rng, *options_.processes,
                             average_.get());
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
    for (const auto& batch : batches)
      report.images += static_cast<std::int64_t>(batch.image_ids.size()) * options_.processes->size();
    return report;
  }
}

std::vector<datasets::Batch> Trainer::next_batches() {
  std::vector<datasets::Batch> batches;
  for (int i = 0; i < options_.accum_freq; ++i) {
    auto batch = loader_.next();
    if (!batch) throw Error({.doing = "loading training data", .found = "an epoch that ended early"});
    batches.push_back(std::move(*batch));
  }
  return batches;
}

bool Trainer::stops(const Hooks& hooks) const {
  const bool mine = hooks.should_stop && hooks.should_stop();
  return options_.processes->size() == 1 ? mine : options_.processes->any(mine);
}

void Trainer::compare_weights() const {
  if (options_.processes->size() == 1) return;
  formats::TensorDict weights;
  for (const auto& [name, parameter] : objective_.parameters()) weights.insert(name, parameter.detach());
  options_.processes->check_equal("weights", formats::fingerprint(weights));
}

bool Trainer::run(const Hooks& hooks) {
  auto& processes = *options_.processes;
  compare_weights();
  while (position_.epoch < options_.epochs) {
    loader_.start_epoch(position_.epoch, position_.epoch_step * options_.accum_freq);
    while (position_.epoch_step < steps_per_epoch_) {
      const auto start = Clock::now();
      processes.at_work("loading images");
      const auto batches = next_batches();
      const double waited = seconds_since(start);
      processes.at_work("a training step");
      auto report = try_step(batches, hooks);
      report.step = position_.step;
      report.epoch = position_.epoch;
      report.data_seconds = waited;
      report.seconds = seconds_since(start);
      ++position_.step;
      ++position_.epoch_step;
      if (hooks.on_step) hooks.on_step(report);
      if (position_.step % kCompareEvery == 0) compare_weights();
      if (position_.epoch_step < steps_per_epoch_ && stops(hooks)) return false;
    }
    compare_weights();
    ++position_.epoch;
    position_.epoch_step = 0;
    if (hooks.on_epoch) hooks.on_epoch(position_.epoch);
    if (position_.epoch < options_.epochs && stops(hooks)) return false;
  }
  return true;
}

}  // namespace clipself::training
