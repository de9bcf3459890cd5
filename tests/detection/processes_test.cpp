// Several processes, each with a part of every batch, train a detector as one with all of it.
#include "clipself/detection/objective.h"
#include "clipself/training/trainer.h"
#include "tests/detection/tiny_detector.h"
#include "tests/distributed/together.h"

namespace clipself::detection {
namespace {

// Wide pictures and others, with none to three things in them.
class Things : public datasets::Dataset {
 public:
  std::int64_t size() const override { return 26; }
  int group(std::int64_t index) const override { return index % 2 == 0 ? 0 : 1; }
  datasets::Sample get(std::int64_t index, Rng& rng) const override {
    datasets::Sample sample;
    sample.image_id = index;
    sample.image = at::empty({3, 64, 64}, at::kByte);
    auto* first = sample.image.mutable_data_ptr<std::uint8_t>();
    for (std::int64_t i = 0; i < sample.image.numel(); ++i) first[i] = static_cast<std::uint8_t>(rng.below(256));
    const auto all = three_objects();
    const std::int64_t count = index % 4;
    sample.boxes = all.boxes.narrow(0, 0, count);
    sample.labels = all.labels.narrow(0, 0, count);
    sample.masks = all.masks.narrow(0, 0, count);
    sample.content = {64, 64};
    return sample;
  }
};

struct TrainedDetector {
  std::vector<std::vector<std::pair<std::string, double>>> losses;
  formats::TensorDict state;
};

TrainedDetector train(int batch_size, const std::shared_ptr<Detector>& detector,
                      const std::shared_ptr<distributed::Processes>& processes) {
  detector->train(true);
  detector->synchronize_norms(processes);
  DetectionObjective objective(detector, kImageNetPixels);
  datasets::Loader loader(
      std::make_shared<Things>(),
      {.batch_size = batch_size, .workers = 1, .seed = 5, .rank = processes->rank(), .world_size = processes->size()});
  // Biases before a norm have no gradient but rounding, which a small eps would make steps of.
  training::AdamW optimizer(objective.parameters(), {.eps = 1e-3});
  training::Trainer trainer(objective, loader, optimizer, {.base_lr = 1e-4, .warmup_steps = 2},
                            {.epochs = 5, .grad_clip_norm = 1, .seed = 5, .processes = processes});
  TrainedDetector trained;
  trainer.run({.on_step = [&](const training::StepReport& report) { trained.losses.push_back(report.losses); }});
  trained.state = detector->state();
  return trained;
}

class SeveralProcesses : public testing::TestWithParam<int> {};

TEST_P(SeveralProcesses, TrainADetectorAsOne) {
  const int count = GetParam();
  auto config = tiny_settings();
  config.masks = true;
  const auto alone = train(6, tiny_detector(config), distributed::Processes::alone());
  ASSERT_EQ(alone.losses.size(), 20U);
  std::vector<std::shared_ptr<Detector>> detectors;
  for (int i = 0; i < count; ++i) detectors.push_back(tiny_detector(config));
  distributed::run_as(count, [&](const auto& processes) {
    const auto shared = train(6 / count, detectors[static_cast<std::size_t>(processes->rank())], processes);
    ASSERT_EQ(shared.losses.size(), alone.losses.size());
    for (std::size_t step = 0; step < alone.losses.size(); ++step)
      for (std::size_t i = 0; i < alone.losses[step].size(); ++i)
        EXPECT_NEAR(shared.losses[step][i].second, alone.losses[step][i].second,
                    1e-6 + 5e-6 * std::abs(alone.losses[step][i].second))
            << alone.losses[step][i].first << " of step " << step;
    for (const auto& item : alone.state)
      EXPECT_TRUE(at::allclose(*shared.state.find(item.key()), item.value(), 1e-6, 1e-6)) << item.key();
  });
}

INSTANTIATE_TEST_SUITE_P(Processes, SeveralProcesses, testing::Values(2, 3));

}  // namespace
}  // namespace clipself::detection
