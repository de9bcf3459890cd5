#include "clipself/training/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "clipself/base/error.h"
#include "clipself/formats/fingerprint.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/training/checkpoint.h"

namespace clipself::training {
namespace {

namespace fs = std::filesystem;

// Samples that carry their own index, so that the order of training shows in the result.
class Numbers : public datasets::Dataset {
 public:
  std::int64_t size() const override { return 10; }
  datasets::Sample get(std::int64_t index, Rng& rng) const override {
    datasets::Sample sample;
    sample.image_id = index;
    sample.image = at::full({3, 2, 2}, static_cast<double>(index * 20) + static_cast<double>(rng.below(10)), at::kByte);
    sample.boxes = at::tensor({0.0, 0.0, 1.0, 1.0, 1.0}, at::kFloat).reshape({1, 5});
    sample.crops = at::zeros({1, 3, 1, 1}, at::kByte);
    return sample;
  }
};

// loss = mean (w . x - 1)^2 with x from the images.
class Regression : public Objective {
 public:
  LossTerms losses(const datasets::Batch& batch, Rng&) override {
    const auto x = batch.images.to(at::kFloat).flatten(1) / 255;
    return {{"square", (x.matmul(weight_) - target).pow(2).mean()}};
  }
  std::vector<std::pair<std::string, at::Tensor>> parameters() override { return {{"weight", weight_}}; }
  void after_step() override { ++steps; }

  double target = 1;
  int steps = 0;
  at::Tensor weight_ = at::full({12, 1}, 0.05).requires_grad_();
};

struct SmallRun {
  Regression objective;
  datasets::Loader loader;
  AdamW optimizer;
  Trainer trainer;

  explicit SmallRun(int batch_size = 2, int accum = 1, int most_left_out = 0)
      : loader(std::make_shared<Numbers>(), {.batch_size = batch_size, .workers = 2, .seed = 5}),
        optimizer(objective.parameters(), {}),
        trainer(objective, loader, optimizer, {.base_lr = 0.01, .warmup_steps = 2},
                {.epochs = 3, .accum_freq = accum, .seed = 5, .most_left_out = most_left_out}) {}
};

std::vector<double> losses_of(SmallRun& run, std::int64_t stop_after = 1000) {
  std::vector<double> losses;
  Trainer::Hooks hooks;
  hooks.on_step = [&](const StepReport& report) { losses.push_back(report.loss); };
  hooks.should_stop = [&] { return static_cast<std::int64_t>(losses.size()) >= stop_after; };
  run.trainer.run(hooks);
  return losses;
}

TEST(Trainer, RunsEveryStepOfEveryEpochAndLearns) {
  SmallRun run;
  std::vector<std::int64_t> epochs;
  std::vector<double> losses;
  Trainer::Hooks hooks;
  hooks.on_step = [&](const StepReport& report) {
    EXPECT_EQ(report.step, static_cast<std::int64_t>(losses.size()));
    EXPECT_EQ(report.images, 2);
    losses.push_back(report.loss);
  };
  hooks.on_epoch = [&](std::int64_t done) { epochs.push_back(done); };
  EXPECT_TRUE(run.trainer.run(hooks));
  EXPECT_EQ(losses.size(), 15U);
  EXPECT_EQ(run.objective.steps, 15);
  EXPECT_EQ(epochs, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_LT(losses.back(), losses.front());
}

TEST(Trainer, GoesOnFromACheckpointWithTheSameLosses) {
  SmallRun whole;
  const auto expected = losses_of(whole);
  for (const std::int64_t stop : {1, 4, 5, 7, 14}) {
    const auto file = fs::temp_directory_path() / ("clipself-trainer-" + std::to_string(::getpid()) + ".pt");
    std::vector<double> losses;
    {
      SmallRun first;
      losses = losses_of(first, stop);
      Checkpoint checkpoint;
      checkpoint.position = first.trainer.position();
      checkpoint.name = "run";
      checkpoint.state_dict.insert("weight", first.objective.weight_.detach());
      checkpoint.parameters = checkpoint.state_dict;
      checkpoint.optimizer = first.optimizer.state_dict(0.01);
      checkpoint.start_fingerprint = "0";
      checkpoint.data_fingerprint = "2 images, 0";
      checkpoint.settings = "{}";
      write_checkpoint(file, checkpoint);
    }
    SmallRun second;
    const auto checkpoint = read_checkpoint(file);
    fs::remove(file);
    {
      const at::NoGradGuard no_grad;
      second.objective.weight_.copy_(*checkpoint.parameters.find("weight"));
    }
    second.optimizer.load_state_dict(checkpoint.optimizer);
    second.trainer.resume(checkpoint.position);
    const auto rest = losses_of(second);
    losses.insert(losses.end(), rest.begin(), rest.end());
    EXPECT_EQ(losses, expected) << "stopped after " << stop;
  }
}

TEST(Trainer, AccumulatedBatchesEqualOneLargeBatch) {
  SmallRun large(4, 1), accumulated(2, 2);
  const auto a = losses_of(large), b = losses_of(accumulated);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6) << i;
  EXPECT_TRUE(at::allclose(large.objective.weight_, accumulated.objective.weight_, 1e-5, 1e-6));
}

TEST(Trainer, StopsAtALossThatIsNoNumberAndNamesTheImages) {
  SmallRun run;
  run.objective.target = std::numeric_limits<double>::quiet_NaN();
  const auto before = run.objective.weight_.detach().clone();
  try {
    losses_of(run);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("image ids"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(at::equal(run.objective.weight_.detach(), before));
}

TEST(Trainer, LeavesStepsOutThatAreNotFiniteAndGoesOn) {
  // The loss of the second and third step is none; the others are what they are without those two.
  SmallRun run(2, 1, 2);
  std::vector<std::int64_t> told;
  std::vector<bool> left_out;
  run.trainer.run({.on_step =
                       [&](const StepReport& report) {
                         left_out.push_back(report.left_out);
                         const bool next = report.step == 0 || report.step == 1;
                         run.objective.target = next ? std::numeric_limits<double>::quiet_NaN() : 1.0;
                       },
                   .on_not_finite =
                       [&](const Position& at, const NotFinite& error) {
                         told.push_back(at.step);
                         EXPECT_FALSE(error.image_ids().empty());
                       }});
  EXPECT_EQ(told, (std::vector<std::int64_t>{1, 2}));
  ASSERT_GT(left_out.size(), 4U);
  EXPECT_EQ(std::vector<bool>(left_out.begin(), left_out.begin() + 4), (std::vector<bool>{false, true, true, false}));
  EXPECT_EQ(std::count(left_out.begin(), left_out.end(), true), 2);
  EXPECT_TRUE(run.objective.weight_.isfinite().all().item<bool>());
}

TEST(Trainer, EndsWhenMoreStepsInARowAreNotFiniteThanAllowed) {
  SmallRun run(2, 1, 2);
  run.objective.target = std::numeric_limits<double>::quiet_NaN();
  int told = 0;
  EXPECT_THROW(run.trainer.run({.on_not_finite = [&](const auto&, const auto&) { ++told; }}), NotFinite);
  EXPECT_EQ(told, 3);
}

TEST(Trainer, RefusesAnEpochWithoutAStep) {
  EXPECT_THROW(SmallRun(2, 6), Error);
}

TEST(Checkpoint, RefusesFilesThatHoldOnlyWeights) {
  const auto file = fs::temp_directory_path() / ("clipself-weights-" + std::to_string(::getpid()) + ".pt");
  formats::write_torch_archive(file, formats::Value::dict({{"weight", at::ones({2})}}));
  try {
    read_checkpoint(file);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--pretrained"), std::string::npos) << error.what();
  }
  fs::remove(file);
}

TEST(Checkpoint, OneDamagedBitIsSeenAndTheOneBeforeTaken) {
  const auto folder = fs::temp_directory_path() / ("clipself-checkpoints-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  Checkpoint checkpoint;
  checkpoint.name = "run";
  checkpoint.optimizer = formats::Value::dict({});
  checkpoint.parameters.insert("weight", at::full({1000}, 1.5F));
  for (const int step : {10, 20}) {
    checkpoint.position.step = step;
    write_checkpoint(folder / (std::to_string(step) + ".pt"), checkpoint);
  }
  EXPECT_EQ(read_latest_checkpoint(folder).position.step, 20);
  {
    std::fstream file(folder / "20.pt", std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    const auto numbers = bytes.find(std::string("\0\0\xc0\x3f\0\0\xc0\x3f", 8));  // 1.5F, 1.5F
    ASSERT_NE(numbers, std::string::npos);
    file.seekp(static_cast<std::streamoff>(numbers + 400));
    file.put('\1');
  }
  EXPECT_THROW(read_checkpoint(folder / "20.pt"), Error);
  EXPECT_EQ(read_latest_checkpoint(folder).position.step, 10);
  fs::resize_file(folder / "10.pt", 600);
  EXPECT_THROW(read_latest_checkpoint(folder), Error);
  fs::remove_all(folder);
}

TEST(Fingerprint, ChangesWithNamesShapesAndValues) {
  const auto of = [](const std::string& name, const at::Tensor& tensor) {
    formats::TensorDict tensors;
    tensors.insert(name, tensor);
    return formats::fingerprint(tensors);
  };
  const auto tensor = at::arange(12, at::kFloat);
  const auto base = of("a", tensor);
  EXPECT_EQ(base, of("a", tensor.clone()));
  EXPECT_NE(base, of("b", tensor));
  EXPECT_NE(base, of("a", tensor.reshape({3, 4})));
  auto other = tensor.clone();
  other[11] = 11.000001;
  EXPECT_NE(base, of("a", other));
}

}  // namespace
}  // namespace clipself::training
