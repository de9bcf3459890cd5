#include "clipself/distillation/objective.h"

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/distillation/losses.h"

namespace clipself::distillation {
namespace {

at::Tensor resized(const at::Tensor& images, std::int64_t size) {
  if (images.size(2) == size && images.size(3) == size) return images;
  return at::upsample_bilinear2d(images, at::IntArrayRef{size, size}, /*align_corners=*/false);
}

}  // namespace

RegionObjective::RegionObjective(std::shared_ptr<models::ClipModel> student, Composition composition,
                                 Retention retention, bool multiscale)
    : student_(std::move(student)),
      composition_(std::move(composition)),
      retention_(std::move(retention)),
      multiscale_(multiscale) {
  TORCH_CHECK(retention_.weight == 0 || retention_.original, "retention without the model to stay like");
}

training::LossTerms RegionObjective::losses(const datasets::Batch& batch, Rng& rng) {
  const auto whole = datasets::model_input(*student_, batch.images);
  auto images = whole;
  if (multiscale_) {
    const auto sizes = multiscale_sizes(static_cast<int>(whole.size(2)), student_->visual().patch_size());
    images = resized(whole, sizes[rng.below(sizes.size())]);
  }
  const auto targets = composition_.teacher(batch);
  const auto features = composition_.feature(*student_, images, batch.boxes);
  const auto loss = composition_.loss(features, targets, student_->logit_scale().detach().exp(), rng);
  training::LossTerms terms{{composition_.term, loss * composition_.weight, static_cast<double>(features.size(0))}};
  if (retention_.weight > 0)
    terms.push_back({"loss_retain", retain_loss(*student_, *retention_.original, whole) * retention_.weight,
                     static_cast<double>(whole.size(0))});
  return terms;
}

std::vector<std::pair<std::string, at::Tensor>> RegionObjective::parameters() {
  return student_->trainable();
}

void RegionObjective::after_step() {
  if (student_->logit_bias().defined()) return;  // SigLIP
  const at::NoGradGuard no_grad;
  student_->logit_scale().clamp_(0.0, std::log(100.0));
}

at::Tensor retain_loss(models::ClipModel& student, models::ClipModel& original, const at::Tensor& images) {
  const auto native = resized(images, student.visual().image_size());
  at::Tensor kept;
  {
    const at::NoGradGuard no_grad;
    kept = original.encode_image(native);
  }
  return cosine_loss(student.encode_image(native), kept);
}

std::vector<int> multiscale_sizes(int image_size, int patch_size) {
  // The published sizes are multiples of 64 and of 112 pixels: whole patches for the published models.
  if (image_size == 1024 && 64 % patch_size == 0) return {320, 640, 896, 1024};
  if (image_size == 896 && 112 % patch_size == 0) return {336, 448, 672, 896};
  std::vector<int> sizes;
  for (const double part : {0.3125, 0.625, 0.875, 1.0}) {
    const int patches = std::max(1, static_cast<int>(std::lround(image_size * part / patch_size)));
    sizes.push_back(patches * patch_size);
  }
  return sizes;
}

formats::TensorDict ensemble(const formats::TensorDict& student, const formats::TensorDict& teacher, double alpha) {
  const at::NoGradGuard no_grad;
  formats::TensorDict result;
  for (const auto& item : student) {
    const auto* other = teacher.find(item.key());
    if (other == nullptr || other->sizes() != item.value().sizes()) {
      throw Error(
          {.doing = "averaging weights", .where = item.key(), .found = "no tensor of that shape in the teacher"});
    }
    result.insert(item.key(), item.value() * alpha + *other * (1.0 - alpha));
  }
  return result;
}

}  // namespace clipself::distillation
