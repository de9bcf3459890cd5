#include "clipself/scenes/single_things.h"

#include <algorithm>

#include "clipself/datasets/transforms.h"
#include "clipself/scenes/render.h"

namespace clipself::scenes {

SinglePictures single_things(std::uint64_t seed, Combinations combinations, int count, int image_size) {
  constexpr std::uint64_t kStream = 50;  // beside those of the data set's splits
  // About as large in the picture as the subject of a caption.
  const SceneOptions options{.longer_side = 84,
                             .min_things = 1,
                             .max_things = 1,
                             .min_radius = 18,
                             .max_radius = 28,
                             .combinations = combinations};
  SinglePictures pictures{at::empty({count, 3, image_size, image_size}, at::kByte), at::empty({count}, at::kLong)};
  auto* labels = pictures.labels.mutable_data_ptr<std::int64_t>();
  auto* pixels = pictures.images.mutable_data_ptr<std::uint8_t>();
  for (int i = 0; i < count; ++i) {
    Rng rng(seed, kStream + static_cast<std::uint64_t>(combinations), static_cast<std::uint64_t>(i));
    const Scene scene = make_scene(options, rng);
    const formats::Image image = render(scene, image_size / std::max(scene.width, scene.height)).image;
    const ops::Box whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
    datasets::write_planes(datasets::crop_and_resize(image, whole, image_size),
                           pixels + std::ptrdiff_t{3} * image_size * image_size * i);
    labels[i] = scene.things.at(0).look.label();
  }
  return pictures;
}

double named_right(models::ClipModel& model, const SinglePictures& pictures, const at::Tensor& embeddings) {
  const at::NoGradGuard no_grad;
  const models::PixelStatistics& statistics = model.config().pixels;
  constexpr std::int64_t kAtOnce = 128;
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < pictures.labels.size(0); first += kAtOnce) {
    const auto images = datasets::normalize(pictures.images.slice(0, first, first + kAtOnce),
                                            {.mean = statistics.mean, .std = statistics.std});
    const auto best = model.encode_image(images, /*normalized=*/true).to(at::kFloat).matmul(embeddings.t()).argmax(1);
    right += (best == pictures.labels.slice(0, first, first + kAtOnce)).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, pictures.labels.size(0)));
}

}  // namespace clipself::scenes
