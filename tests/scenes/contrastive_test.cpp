// The contrastive objective against closed forms, and the small CLIP that comes with the sources.
#include "clipself/scenes/contrastive.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clipself/models/weights.h"
#include "clipself/scenes/captions.h"

namespace clipself::scenes {
namespace {

TEST(ContrastiveLoss, OfTwoPairsIsTheLogisticOfTheirMargin) {
  // Logits [[s, 0], [0, s]]: every row and column has cross-entropy ln(1 + e^-s).
  const at::Tensor features = at::eye(2);
  const double scale = 3.0;
  const double loss = contrastive_loss(features, features, at::arange(2), at::scalar_tensor(scale)).item<double>();
  EXPECT_NEAR(loss, std::log1p(std::exp(-scale)), 1e-6);
}

TEST(ContrastiveLoss, OfEqualFeaturesIsTheLogarithmOfTheirNumber) {
  const at::Tensor features = at::ones({5, 4}) / 2;
  const double loss = contrastive_loss(features, features, at::arange(5), at::scalar_tensor(10.0)).item<double>();
  EXPECT_NEAR(loss, std::log(5.0), 1e-5);
}

TEST(ContrastiveLoss, CountsWordForWordEqualCaptionsAsOneAnswer) {
  // Rows 0 and 1 share caption 0. Image rows 0 and 1: scores (s, s, 0), half the answer each: -s + ln(2e^s + 1).
  // Row 2: scores (0, 0, s): -s + ln(2 + e^s). The transposed scores are the same matrix.
  const double s = 2.0;
  const at::Tensor images = at::eye(2).index_select(0, at::tensor({0, 0, 1}, at::kLong));
  const double loss =
      contrastive_loss(images, at::eye(2), at::tensor({0, 0, 1}, at::kLong), at::scalar_tensor(s)).item<double>();
  const double expected = (2 * (-s + std::log(2 * std::exp(s) + 1)) + (-s + std::log(2 + std::exp(s)))) / 3;
  EXPECT_NEAR(loss, expected, 1e-6);
}

TEST(CloseUpBatch, DependsOnSeedAndStepAlone) {
  const auto a = close_up_batch(4, 7, 6, 1.0, 48), b = close_up_batch(4, 7, 6, 1.0, 48);
  EXPECT_TRUE(a.images.equal(b.images));
  EXPECT_TRUE(at::stack(a.labels).equal(at::stack(b.labels)));
  EXPECT_FALSE(a.images.equal(close_up_batch(4, 8, 6, 1.0, 48).images));
  EXPECT_EQ(a.images.sizes(), (at::IntArrayRef{6, 3, 48, 48}));
  EXPECT_EQ(a.labels[0].size(0), kContextLength);
}

TEST(Pretraining, LowersTheLossAndStopsWhenAsked) {
  torch::manual_seed(0);
  const auto model = std::make_shared<models::ClipModel>(world_model_config());
  initialize_small_model(*model, 0);
  PretrainOptions options;
  options.steps = 12;
  options.batch_size = 24;
  std::vector<double> losses;
  options.on_step = [&](const training::StepReport& report) { losses.push_back(report.loss); };
  options.should_stop = [&] { return losses.size() == 10; };
  EXPECT_FALSE(pretrain(model, options));
  ASSERT_EQ(losses.size(), 10U);
  EXPECT_LT(losses.back(), losses.front());
}

class SmallClip : public ::testing::Test {
 protected:
  SmallClip() : model_(world_model_config()) {
    models::load_checkpoint(model_, std::filesystem::path(CLIPSELF_SOURCE_DIR) / "data" / "world_clip.safetensors");
    model_.freeze(at::kFloat);
  }
  models::ClipModel model_;
};

TEST_F(SmallClip, ItsClassEmbeddingsAreDistinctDirections) {
  const at::Tensor embeddings = class_embeddings(model_);
  ASSERT_EQ(embeddings.size(0), kClasses);
  EXPECT_TRUE(at::allclose(embeddings.norm(2, {1}), at::ones({kClasses}), 1e-5, 1e-5));
  const at::Tensor cosines = embeddings.matmul(embeddings.t()) - 2 * at::eye(kClasses);
  EXPECT_LT(cosines.max().item<double>(), 0.98);
}

TEST_F(SmallClip, NamesCloseUpsItHasNotSeen) {
  const at::NoGradGuard no_grad;
  const at::Tensor embeddings = class_embeddings(model_);
  // Close-ups of another seed; the answer is the one class named in the caption.
  const auto batch = close_up_batch(/*seed=*/987654, /*step=*/0, 160, /*variety=*/0.45, 48);
  std::vector<at::Tensor> prompts;
  for (int label = 0; label < kThings; ++label)
    prompts.push_back(at::tensor(tokenize(class_prompts(label)[0]), at::kLong));
  const at::Tensor statistics_mean = at::tensor(at::ArrayRef<float>(model_.config().pixels.mean)).view({3, 1, 1});
  const at::Tensor statistics_std = at::tensor(at::ArrayRef<float>(model_.config().pixels.std)).view({3, 1, 1});
  const at::Tensor images = (batch.images.to(at::kFloat) / 255 - statistics_mean) / statistics_std;
  const at::Tensor best = model_.encode_image(images, true).matmul(embeddings.t()).argmax(1);
  int things = 0, right = 0;
  for (int i = 0; i < 160; ++i) {
    // "red" then "star" stand next to each other in the caption of a red star, and in no other.
    const at::Tensor row = batch.labels[static_cast<std::size_t>(i)];
    for (int label = 0; label < kThings; ++label) {
      const at::Tensor colour = prompts[static_cast<std::size_t>(label)][2],
                       shape = prompts[static_cast<std::size_t>(label)][3];
      const bool named = (row.slice(0, 0, -1) == colour).logical_and(row.slice(0, 1) == shape).any().item<bool>();
      if (!named) continue;
      ++things;
      right += best[i].item<std::int64_t>() == label ? 1 : 0;
    }
  }
  EXPECT_GT(things, 100);
  EXPECT_GT(right, 0.6 * things);  // chance is 1 in 56
}

}  // namespace
}  // namespace clipself::scenes
