// What several processes agree on while they train.
#include <cmath>

#include "clipself/training/trainer.h"
#include "tests/distributed/together.h"

namespace clipself::training {
namespace {

/// Images that are their own number.
class Counted : public datasets::Dataset {
 public:
  std::int64_t size() const override { return 12; }
  datasets::Sample get(std::int64_t index, Rng& /*rng*/) const override {
    datasets::Sample sample;
    sample.image_id = index;
    sample.image = at::full({3, 2, 2}, index * 20, at::kByte);
    sample.boxes = at::zeros({0, 5});
    return sample;
  }
};

/// loss = mean (w . x)^2, and no number on one of the images.
class OneBadImage : public Objective {
 public:
  explicit OneBadImage(std::int64_t bad, double weight = 0.05) : bad_(bad) {
    weight_ = at::full({12, 1}, weight).requires_grad_();
  }
  LossTerms losses(const datasets::Batch& batch, Rng&) override {
    const auto x = batch.images.to(at::kFloat).flatten(1) / 255;
    auto loss = x.matmul(weight_).pow(2).mean();
    if (std::ranges::find(batch.image_ids, bad_) != batch.image_ids.end()) loss = loss * std::nan("");
    return {{"square", loss, static_cast<double>(batch.image_ids.size())}};
  }
  std::vector<std::pair<std::string, at::Tensor>> parameters() override { return {{"weight", weight_}}; }
  const at::Tensor& weight() const { return weight_; }

 private:
  std::int64_t bad_;
  at::Tensor weight_;
};

struct SharedRun {
  OneBadImage objective;
  datasets::Loader loader;
  AdamW optimizer;
  Trainer trainer;

  SharedRun(const std::shared_ptr<distributed::Processes>& processes, std::int64_t bad, int most_left_out,
            double weight = 0.05)
      : objective(bad, weight),
        loader(std::make_shared<Counted>(), {.batch_size = 2,
                                             .workers = 0,
                                             .shuffle = false,
                                             .rank = processes->rank(),
                                             .world_size = processes->size()}),
        optimizer(objective.parameters(), {}),
        trainer(objective, loader, optimizer, {.base_lr = 0.01},
                {.epochs = 2, .most_left_out = most_left_out, .processes = processes}) {}
};

// Two processes of two images a step: step 1 has images 4 and 6, and 5 and 7.
TEST(SharedTraining, StopsInAllProcessesAtALossThatIsNoNumberInOne) {
  distributed::run_as(2, [](const auto& processes) {
    SharedRun run(processes, /*bad=*/7, /*most_left_out=*/0);
    try {
      run.trainer.run({});
      FAIL() << "rank " << processes->rank();
    } catch (const NotFinite& error) {
      EXPECT_EQ(error.term(), "square");
      EXPECT_EQ(error.image_ids(), (std::vector<std::int64_t>{5, 7}));
    }
    EXPECT_EQ(run.trainer.position().step, 1);
  });
}

TEST(SharedTraining, LeavesAStepOutInAllProcessesAndGoesOnAlike) {
  distributed::run_as(2, [](const auto& processes) {
    SharedRun run(processes, /*bad=*/7, /*most_left_out=*/1);
    std::vector<bool> left_out;
    EXPECT_TRUE(run.trainer.run({.on_step = [&](const StepReport& report) { left_out.push_back(report.left_out); }}));
    EXPECT_EQ(left_out, (std::vector<bool>{false, true, false, false, true, false}));
    const auto all = processes->gather(run.objective.weight());
    EXPECT_TRUE(at::equal(all[0], all[1]));
    EXPECT_TRUE(all[0].isfinite().all().template item<bool>());
  });
}

TEST(SharedTraining, StopsAllProcessesWhereOneIsAskedTo) {
  distributed::run_as(3, [](const auto& processes) {
    SharedRun run(processes, /*bad=*/-1, /*most_left_out=*/0);
    Trainer::Hooks hooks;
    hooks.should_stop = [&] { return processes->rank() == 2 && run.trainer.position().step == 1; };
    EXPECT_FALSE(run.trainer.run(hooks));
    EXPECT_EQ(run.trainer.position().step, 1);
  });
}

TEST(SharedTraining, RefusesToBeginWithOtherWeights) {
  distributed::run_as(2, [](const auto& processes) {
    SharedRun run(processes, /*bad=*/-1, /*most_left_out=*/0, processes->rank() == 1 ? 0.06 : 0.05);
    EXPECT_THROW(run.trainer.run({}), distributed::AgreedError);
  });
}

}  // namespace
}  // namespace clipself::training
