#include "clipself/distillation/clipself.h"

#include <algorithm>
#include <cmath>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"

namespace clipself::distillation {
namespace {

datasets::Normalization normalization_of(const models::ClipModel& model) {
  const auto& pixels = model.config().pixels;
  return {.mean = pixels.mean, .std = pixels.std};
}

/// What the model is fed: pixels normalised, or floats as they are.
at::Tensor input_of(const at::Tensor& images, const at::Device& device, const datasets::Normalization& normalization) {
  const auto moved = images.to(device, /*non_blocking=*/true);
  return moved.is_floating_point() ? moved.to(at::kFloat) : datasets::normalize(moved, normalization);
}

}  // namespace

std::vector<int> multiscale_sizes(int image_size, int patch_size) {
  if (image_size == 1024) return {320, 640, 896, 1024};
  if (image_size == 896) return {336, 448, 672, 896};
  std::vector<int> sizes;
  for (const double part : {0.3125, 0.625, 0.875, 1.0}) {
    const int patches = std::max(1, static_cast<int>(std::lround(image_size * part / patch_size)));
    sizes.push_back(patches * patch_size);
  }
  return sizes;
}

at::Tensor cosine_loss(const at::Tensor& student, const at::Tensor& teacher) {
  const auto unit = [](const at::Tensor& x) {
    const auto y = x.to(at::kFloat);
    return y / at::norm(y, 2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
  };
  return 1.0 - (unit(student) * unit(teacher)).sum(-1).mean();
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

ClipSelf::ClipSelf(std::shared_ptr<models::ClipModel> student, std::shared_ptr<models::ClipModel> teacher,
                   ClipSelfOptions options)
    : student_(std::move(student)), teacher_(std::move(teacher)), options_(options) {}

training::LossTerms ClipSelf::losses(const datasets::Batch& batch, Rng& rng) {
  const auto device = student_->logit_scale().device();
  const auto normalization = normalization_of(*student_);
  auto images = input_of(batch.images, device, normalization);
  if (options_.multiscale) {
    const auto sizes = multiscale_sizes(static_cast<int>(images.size(2)), student_->visual().patch_size());
    const std::int64_t size = sizes[rng.below(sizes.size())];
    if (size != images.size(2))
      images = at::upsample_bilinear2d(images, at::IntArrayRef{size, size}, /*align_corners=*/false);
  }
  std::vector<at::Tensor> targets;
  {
    const at::NoGradGuard no_grad;
    for (const auto& crops : batch.crops.split(options_.teacher_batch)) {
      targets.push_back(teacher_->encode_image(input_of(crops, device, normalization)));
    }
  }
  const auto features = student_->encode_boxes(images, batch.boxes);
  return {{"loss_cosine", cosine_loss(features, at::cat(targets)) * options_.cosine_weight}};
}

std::vector<std::pair<std::string, at::Tensor>> ClipSelf::parameters() {
  return student_->trainable();
}

void ClipSelf::after_step() {
  const at::NoGradGuard no_grad;
  student_->logit_scale().clamp_(0.0, std::log(100.0));
}

}  // namespace clipself::distillation
