// The published ViT-B/16 in bfloat16 beside float32: its dense map at the size it is trained at, and a step's
// gradients.
#include <gtest/gtest.h>

#include "clipself/distillation/methods.h"
#include "clipself/models/weights.h"

namespace clipself::distillation {
namespace {

/// Its shape, with weights of the size that training gives them rather than those of initialisation, which change a
/// token by a few parts in a hundred.
std::shared_ptr<models::ClipModel> lively_model() {
  at::manual_seed(1);
  auto model = std::make_shared<models::ClipModel>(models::model_config("EVA02-CLIP-B-16"), /*with_text=*/false);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model->visual().parameters())
    if (parameter.dim() == 2) parameter.normal_(0.0, 1.0 / std::sqrt(static_cast<double>(parameter.size(1))));
  return model;
}

/// Photos have large and small structure.
at::Tensor made_up_photos(std::int64_t count, std::int64_t side) {
  auto photo = at::zeros({count, 3, side, side});
  for (const std::int64_t coarse : {4, 16, 64}) {
    const std::array<std::int64_t, 2> size{side, side};
    photo += at::upsample_bilinear2d(at::randn({count, 3, coarse, coarse}), size, /*align_corners=*/false);
  }
  return (photo * 40 + 120).clamp(0, 255).to(at::kByte);
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return (a.flatten().dot(b.flatten()) / (a.norm() * b.norm())).item<double>();
}

TEST(Bfloat16, DenseMapOfThePublishedTowerAt1024) {
  const c10::InferenceMode inference;
  const auto model = lively_model();
  const auto images = datasets::model_input(*model, made_up_photos(1, 1024));
  const auto exact = model->encode_dense(images);
  model->freeze(at::kBFloat16);
  const auto rounded = model->encode_dense(images).to(at::kFloat);
  const auto cosines = (exact * rounded).sum(1) / (exact.norm(2, {1}) * rounded.norm(2, {1}));
  ASSERT_EQ(cosines.numel(), 64 * 64);
  EXPECT_GE(cosines.mean().item<double>(), 0.999);
  EXPECT_GE(cosines.min().item<double>(), 0.99);
  // A map that is the same everywhere would be close to anything.
  const auto middle = exact.mean({2, 3}, /*keepdim=*/true);
  EXPECT_LT(((exact * middle).sum(1) / (exact.norm(2, {1}) * middle.norm(2, {1}))).mean().item<double>(), 0.95);
}

TEST(Bfloat16, GradientsOfAStepOfThePublishedTower) {
  const auto model = lively_model();
  datasets::Batch batch;
  batch.images = made_up_photos(1, 320);
  batch.crops = made_up_photos(4, 224);
  batch.image_ids = {1};
  batch.boxes = {
      at::tensor({0.F, 0.F, .5F, .5F, .5F, 0.F, 1.F, .5F, .1F, .3F, .4F, 1.F, .4F, .5F, .9F, .9F}).view({4, 4})};
  const auto gradients = [&](at::ScalarType type) {
    const auto student = std::make_shared<models::ClipModel>(model->config(), /*with_text=*/false);
    const auto teacher = std::make_shared<models::ClipModel>(model->config(), /*with_text=*/false);
    for (const auto& copy : {student, teacher}) models::load_weights(*copy, model->state(), "itself");
    teacher->freeze(type);
    student->lock_image_tower(student->visual().depth());
    student->visual().set_compute_type(type);
    const auto objective = make_objective(find_method("clipself"), student, {.frozen = teacher});
    Rng rng(0);
    for (const auto& [name, term, count] : objective->losses(batch, rng)) term.backward();
    std::vector<std::pair<std::string, at::Tensor>> list;
    for (const auto& [name, parameter] : student->trainable())
      if (parameter.grad().defined()) list.emplace_back(name, parameter.grad());
    return list;
  };
  const auto exact = gradients(at::kFloat), rounded = gradients(at::kBFloat16);
  ASSERT_EQ(exact.size(), rounded.size());
  EXPECT_GT(exact.size(), 100U);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_GE(cosine(exact[i].second, rounded[i].second), 0.99) << exact[i].first;
    EXPECT_NEAR((rounded[i].second.norm() / exact[i].second.norm()).item<double>(), 1, 0.05) << exact[i].first;
  }
}

}  // namespace
}  // namespace clipself::distillation
