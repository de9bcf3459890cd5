#include "clipself/distillation/pseudo_labels.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/transforms.h"
#include "clipself/distillation/targets.h"
#include "clipself/formats/image.h"
#include "tests/distillation/cases.h"

namespace clipself::distillation {
namespace {

namespace fs = std::filesystem;

TEST(PseudoLabels, NameEachProposalByTheNounNearestToItsCrop) {
  const fs::path folder = fs::temp_directory_path() / ("clipself_pseudo_labels_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  auto picture = formats::blank_image(formats::ImageMode::kRGB, 40, 30);
  Rng rng(5);
  for (auto& byte : picture.pixels) byte = static_cast<std::uint8_t>(rng.below(256));
  formats::write_png(folder / "1.png", picture);
  write_text(folder / "proposals.json",
             R"({"images": [{"id": 5, "file_name": "1.png"}, {"id": 6, "file_name": "none.png"}],
    "annotations": [{"id": 1, "image_id": 5, "bbox": [4, 6, 12, 10]}, {"id": 2, "image_id": 5, "bbox": [20, 2, 18, 25]},
      {"id": 3, "image_id": 5, "bbox": [1, 1, 2, 2]}]})");

  const auto model = tiny_frozen();
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f", "g"};
  const auto proposals = datasets::read_coco(folder / "proposals.json");
  // The third box is smaller than 8 x 8, and the second image has none: neither is read nor labelled.
  EXPECT_EQ(write_pseudo_labels(folder / "labelled.json", *model, proposals, folder, random_nouns(), names), 2);
  const auto labelled = datasets::read_coco(folder / "labelled.json");
  ASSERT_EQ(labelled.images.size(), 1U);
  ASSERT_EQ(labelled.categories.size(), names.size());
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& annotation = labelled.annotations_of(0)[i];
    EXPECT_EQ(annotation.bbox, proposals.annotations_of(0)[i].bbox);
    const auto [x, y, w, h] = annotation.bbox;
    const ops::Box box{x, y, x + w, y + h};
    const auto crop = datasets::crop_and_resize(picture, datasets::enlarged_crop(box, 1.5, 40, 30), 32);
    const auto feature = model->encode_image(datasets::model_input(*model, datasets::to_tensor(crop).unsqueeze(0)));
    const auto cosine = at::cosine_similarity(feature, random_nouns(), 1);
    EXPECT_EQ(labelled.label_of(annotation.category_id), cosine.argmax().item<std::int64_t>());
    EXPECT_NEAR(annotation.score, cosine.max().item<float>(), 1e-5);
  }
  EXPECT_THROW(write_pseudo_labels(folder / "x.json", *model, proposals, folder, random_nouns().slice(0, 1), names),
               Error);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace clipself::distillation
