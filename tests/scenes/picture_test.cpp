// Pictures of scenes: maps say what the features say.
#include "clipself/scenes/picture.h"

#include <gtest/gtest.h>

#include "clipself/scenes/contrastive.h"

namespace clipself::scenes {
namespace {

TEST(Picture, DenseClassesPickTheNearestEmbeddingOfEachPatch) {
  torch::manual_seed(2);
  models::ClipModel model(world_model_config());
  initialize_small_model(model, 2);
  model.freeze(at::kFloat);
  Rng rng(1, 1, 1);
  SceneOptions options;
  options.longer_side = 144;
  Scene scene = make_scene(options, rng);
  scene.width = scene.height = 144;
  const Rendering photo = render(scene, 1.0);
  // One embedding an arbitrary patch: at that patch's centre nothing can be nearer than the feature itself.
  at::Tensor image = at::empty({1, 3, 144, 144});
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 144; ++y)
      for (int x = 0; x < 144; ++x)
        image[0][c][y][x] = (static_cast<float>(photo.image.row(y)[3 * x + c]) / 255 -
                             model.config().pixels.mean[static_cast<std::size_t>(c)]) /
                            model.config().pixels.std[static_cast<std::size_t>(c)];
  const at::Tensor dense = model.encode_dense(image)[0];
  const std::vector<std::pair<int, int>> patches{{2, 3}, {9, 9}, {15, 4}};
  std::vector<at::Tensor> embeddings;
  for (const auto& [row, column] : patches) embeddings.push_back(dense.select(1, row).select(1, column));
  const auto classes = dense_classes(model, photo.image, 144, at::stack(embeddings), 18, 18);
  for (std::size_t i = 0; i < patches.size(); ++i)
    EXPECT_EQ(classes[static_cast<std::size_t>(patches[i].first * 18 + patches[i].second)], static_cast<int>(i));

  // And no embedding can be nearer to a box's feature than that feature, at unit length.
  std::vector<Segment> segments{{.label = 0, .box = {8, 8, 40, 24}}, {.label = 1, .box = {80, 16, 32, 64}}};
  const at::Tensor boxes = at::tensor({8.0F, 8.0F, 48.0F, 32.0F, 80.0F, 16.0F, 112.0F, 80.0F}).view({2, 4}) / 144;
  const at::Tensor features = model.encode_boxes(image, {boxes}, /*normalized=*/true);
  EXPECT_EQ(boxes_named_right(model, photo.image, 144, features, segments), 2);
  segments[1].label = 0;
  EXPECT_EQ(boxes_named_right(model, photo.image, 144, features, segments), 1);
}

TEST(Picture, HasRoomForEveryPanel) {
  Rng rng(1, 1, 2);
  const Scene scene = make_scene({}, rng);
  const Rendering photo = render(scene, 1.0);
  const auto truth = true_classes(scene, photo);
  EXPECT_EQ(truth.size(), photo.owners.size());
  const auto picture =
      compose_picture("title", "subtitle", {"scene", "truth"}, {{"row", photo.image, {truth}, {"note"}}});
  EXPECT_GE(picture.width, 2 * photo.image.width);
  EXPECT_GE(picture.height, photo.image.height + 60);
  EXPECT_EQ(picture.pixels.size(),
            static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) * 3);
}

}  // namespace
}  // namespace clipself::scenes
