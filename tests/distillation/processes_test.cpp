// Several processes, each with a part of every batch, train as one with all of it.
#include "clipself/distillation/methods.h"
#include "clipself/training/trainer.h"
#include "tests/distillation/cases.h"
#include "tests/distributed/together.h"

namespace clipself::distillation {
namespace {

// Images with one to three regions, so that a process has more of them than another.
class Pictures : public datasets::Dataset {
 public:
  std::int64_t size() const override { return 24; }
  datasets::Sample get(std::int64_t index, Rng& rng) const override {
    const std::int64_t regions = 1 + index % 3;
    const auto number = [&] { return rng.uniform(); };
    datasets::Sample sample;
    sample.image_id = index;
    sample.image = noise({3, 48, 48}, rng);
    sample.crops = noise({regions, 3, 32, 32}, rng);
    sample.boxes = at::empty({regions, 4});
    sample.labels = at::empty({regions}, at::kLong);
    for (std::int64_t i = 0; i < regions; ++i) {
      const double x = number() * 0.5, y = number() * 0.5;
      sample.boxes[i].copy_(at::tensor({x, y, x + 0.1 + number() * 0.4, y + 0.1 + number() * 0.4}, at::kFloat));
      sample.labels[i] = static_cast<std::int64_t>(rng.below(7));
    }
    return sample;
  }

 private:
  static at::Tensor noise(const std::vector<std::int64_t>& shape, Rng& rng) {
    auto pixels = at::empty(shape, at::kByte);
    auto* first = pixels.mutable_data_ptr<std::uint8_t>();
    for (std::int64_t i = 0; i < pixels.numel(); ++i) first[i] = static_cast<std::uint8_t>(rng.below(256));
    return pixels;
  }
};

struct Trained {
  std::vector<double> losses, norms;
  std::vector<at::Tensor> weights;
};

struct Setting {
  const char* method;
  int processes, batch_size, accum_freq;
};
void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.method << ", " << setting.processes << " processes";
}

Trained train(const Setting& setting, std::shared_ptr<models::ClipModel> student,
              std::shared_ptr<models::ClipModel> frozen, const at::Tensor& nouns,
              const std::shared_ptr<distributed::Processes>& processes) {
  student->train();
  const auto objective = make_objective(find_method(setting.method), student,
                                        {.frozen = std::move(frozen),
                                         .nouns = nouns,
                                         .retain_weight = 0.5,
                                         .num_sample_classes = 4,
                                         .multiscale = true,
                                         .processes = processes});
  datasets::Loader loader(std::make_shared<Pictures>(), {.batch_size = setting.batch_size,
                                                         .workers = 1,
                                                         .seed = 5,
                                                         .rank = processes->rank(),
                                                         .world_size = processes->size(),
                                                         .batches_a_step = setting.accum_freq});
  training::AdamW optimizer(objective->parameters(), {});
  training::Trainer trainer(
      *objective, loader, optimizer, {.base_lr = 1e-3, .warmup_steps = 2},
      {.epochs = 5, .accum_freq = setting.accum_freq, .grad_clip_norm = 1, .seed = 5, .processes = processes});
  Trained trained;
  trainer.run({.on_step = [&](const training::StepReport& report) {
    trained.losses.push_back(report.loss);
    trained.norms.push_back(report.grad_norm);
  }});
  for (const auto& [name, parameter] : objective->parameters()) trained.weights.push_back(parameter.detach());
  return trained;
}

class SeveralProcesses : public testing::TestWithParam<Setting> {};

// 20 batches of six images. Gradients are sums in another order: after AdamW, which divides by their size, that is more
// than rounding for weights whose gradients are next to nothing.
TEST_P(SeveralProcesses, TrainAsOne) {
  const auto setting = GetParam();
  const auto nouns = random_nouns();  // here: torch's generator is all threads'
  const auto alone = train({setting.method, 1, 6, setting.accum_freq}, tiny_student(), tiny_frozen(), nouns,
                           distributed::Processes::alone());
  ASSERT_EQ(alone.losses.size(), 20U / static_cast<unsigned>(setting.accum_freq));
  EXPECT_LT(alone.losses.back(), alone.losses.front());
  std::vector<std::shared_ptr<models::ClipModel>> students, frozen;
  for (int i = 0; i < setting.processes; ++i) {
    students.push_back(tiny_student());
    frozen.push_back(tiny_frozen());
  }
  distributed::run_as(setting.processes, [&](const auto& processes) {
    const auto rank = static_cast<std::size_t>(processes->rank());
    const auto shared = train(setting, students[rank], frozen[rank], nouns, processes);
    ASSERT_EQ(shared.losses.size(), alone.losses.size());
    for (std::size_t i = 0; i < alone.losses.size(); ++i) {
      EXPECT_NEAR(shared.losses[i], alone.losses[i], 1e-6 * alone.losses[i] + 1e-6) << "step " << i;
      EXPECT_NEAR(shared.norms[i], alone.norms[i], 1e-4 * alone.norms[i]) << "step " << i;
    }
    for (std::size_t i = 0; i < alone.weights.size(); ++i) {
      const auto off = (shared.weights[i] - alone.weights[i]).abs().max().template item<double>();
      EXPECT_LE(off, 1e-6) << "weights " << i;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Methods, SeveralProcesses,
                         testing::Values(Setting{"clipself", 2, 3, 1}, Setting{"clipself", 3, 2, 1},
                                         Setting{"clipself", 2, 3, 2}, Setting{"regionclip", 2, 3, 1},
                                         Setting{"regionclip", 3, 2, 1}));

// What a step has does not depend on how it is divided; only the means of its batches are of unequal numbers of
// regions.
TEST(SeveralProcesses, SeeTheSameImagesInEveryStepHoweverItIsDivided) {
  const auto ids_of = [](int batch_size, int rank, int world_size, int accum) {
    datasets::Loader loader(std::make_shared<Pictures>(), {.batch_size = batch_size,
                                                           .workers = 0,
                                                           .seed = 5,
                                                           .rank = rank,
                                                           .world_size = world_size,
                                                           .batches_a_step = accum});
    std::vector<std::multiset<std::int64_t>> steps;
    for (std::int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
      if (i % accum == 0) steps.emplace_back();
      const auto batch = loader.next();
      steps.back().insert(batch->image_ids.begin(), batch->image_ids.end());
    }
    return steps;
  };
  const auto whole = ids_of(12, 0, 1, 1);
  ASSERT_EQ(whole.size(), 2U);
  for (const auto& [batch_size, world_size, accum] : {std::tuple{1, 3, 4}, {2, 2, 3}, {4, 3, 1}, {3, 1, 4}}) {
    std::vector<std::multiset<std::int64_t>> together(whole.size());
    for (int rank = 0; rank < world_size; ++rank) {
      const auto steps = ids_of(batch_size, rank, world_size, accum);
      ASSERT_EQ(steps.size(), whole.size());
      for (std::size_t i = 0; i < steps.size(); ++i) together[i].insert(steps[i].begin(), steps[i].end());
    }
    EXPECT_EQ(together, whole) << batch_size << " " << world_size << " " << accum;
  }
}

}  // namespace
}  // namespace clipself::distillation
