// The written data set, read back through the readers every other command uses.
#include "clipself/scenes/coco_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/panoptic.h"

namespace clipself::scenes {
namespace {

class WrittenDataset : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::filesystem::temp_directory_path() / ("clipself_scenes_" + std::to_string(::getpid()));
    paths_ = write_dataset(folder_, {.seed = 3, .train_images = 12, .val_images = 6, .threads = 2});
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder_); }

  static std::filesystem::path folder_;
  static DatasetPaths paths_;
};
std::filesystem::path WrittenDataset::folder_;
DatasetPaths WrittenDataset::paths_;

double iou(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double w = std::min(a[0] + a[2], b[0] + b[2]) - std::max(a[0], b[0]);
  const double h = std::min(a[1] + a[3], b[1] + b[3]) - std::max(a[1], b[1]);
  const double both = std::max(0.0, w) * std::max(0.0, h);
  return both / (a[2] * a[3] + b[2] * b[3] - both);
}

TEST_F(WrittenDataset, InstancesReadBackWithTheirClassesAndImages) {
  const auto index = datasets::read_coco(paths_.train.instances);
  ASSERT_EQ(index.images.size(), 12U);
  EXPECT_EQ(index.categories.size(), static_cast<std::size_t>(kThings));
  for (std::size_t i = 0; i < index.images.size(); ++i) {
    const auto image = formats::read_image(paths_.train.images / index.images[i].file_name);
    EXPECT_EQ(image.width, index.images[i].width);
    EXPECT_EQ(image.height, index.images[i].height);
    const Scene scene = dataset_scene(3, Split::kTrain, static_cast<int>(i));
    ASSERT_EQ(index.annotations_of(i).size(), scene.things.size());
    for (std::size_t k = 0; k < scene.things.size(); ++k) {
      const auto& annotation = index.annotations_of(i)[k];
      EXPECT_EQ(index.label_of(annotation.category_id), scene.things[k].look.label());
      EXPECT_NEAR(annotation.bbox[0] + annotation.bbox[2] / 2, scene.things[k].x, 0.4 * scene.things[k].radius);
      EXPECT_NEAR(annotation.bbox[1] + annotation.bbox[3] / 2, scene.things[k].y, 0.4 * scene.things[k].radius);
    }
  }
}

TEST_F(WrittenDataset, PanopticPngsCoverEveryPixelAndBoundTheirBoxes) {
  for (const SplitPaths* split : {&paths_.val, &paths_.held_out}) {
    const auto index = datasets::read_coco_panoptic(split->panoptic);
    ASSERT_EQ(index.images.size(), 6U);
    EXPECT_EQ(index.categories.size(), static_cast<std::size_t>(kClasses));
    for (std::size_t i = 0; i < index.images.size(); ++i) {
      const auto png = formats::read_image(split->panoptic_masks / index.images[i].segmentation_file);
      std::size_t covered = 0;
      for (const auto& segment : index.annotations_of(i)) {
        int x0 = png.width, y0 = png.height, x1 = -1, y1 = -1;
        std::size_t area = 0;
        for (int y = 0; y < png.height; ++y)
          for (int x = 0; x < png.width; ++x) {
            const std::uint8_t* p = png.row(y) + 3 * x;
            if (p[0] + 256 * p[1] + 65536 * p[2] != segment.id) continue;
            ++area;
            x0 = std::min(x0, x), y0 = std::min(y0, y), x1 = std::max(x1, x), y1 = std::max(y1, y);
          }
        EXPECT_EQ(static_cast<double>(area), segment.area);
        EXPECT_EQ(segment.bbox, (std::array<double, 4>{double(x0), double(y0), x1 - x0 + 1.0, y1 - y0 + 1.0}));
        covered += area;
      }
      EXPECT_EQ(covered, static_cast<std::size_t>(png.width * png.height));
    }
  }
}

TEST_F(WrittenDataset, RunLengthsDescribeTheSamePixelsAsThePanopticPng) {
  const auto instances = nlohmann::json::parse(read_text(paths_.val.instances));
  const auto panoptic = datasets::read_coco_panoptic(paths_.val.panoptic);
  std::size_t compared = 0;
  for (const auto& annotation : instances["annotations"]) {
    const std::size_t image = annotation["image_id"].get<std::size_t>() - 500001;
    const auto png = formats::read_image(paths_.val.panoptic_masks / panoptic.images[image].segmentation_file);
    const std::size_t number = annotation["id"].get<std::size_t>() % 100;
    const std::int64_t id = panoptic.annotations_of(image)[number].id;
    std::vector<bool> mask;
    bool value = false;
    for (const auto& count : annotation["segmentation"]["counts"]) {
      mask.insert(mask.end(), count.get<std::size_t>(), value);
      value = !value;
    }
    ASSERT_EQ(mask.size(), static_cast<std::size_t>(png.width * png.height));
    for (int x = 0; x < png.width; ++x)
      for (int y = 0; y < png.height; ++y) {
        const std::uint8_t* p = png.row(y) + 3 * x;
        ASSERT_EQ(mask[static_cast<std::size_t>(x * png.height + y)], p[0] + 256 * p[1] + 65536 * p[2] == id);
      }
    ++compared;
  }
  EXPECT_GT(compared, 10U);
}

TEST_F(WrittenDataset, ProposalsAreClassAgnosticJitteredAndSomeAreFalse) {
  const auto proposals = datasets::read_coco(paths_.train.proposals);
  const auto truth = datasets::read_coco(paths_.train.instances);
  ASSERT_EQ(proposals.categories.size(), 1U);
  int good = 0, false_ones = 0, exact = 0;
  for (std::size_t i = 0; i < proposals.images.size(); ++i)
    for (const auto& proposal : proposals.annotations_of(i)) {
      double best = 0;
      for (const auto& thing : truth.annotations_of(i)) best = std::max(best, iou(proposal.bbox, thing.bbox));
      good += best > 0.5 ? 1 : 0;
      false_ones += best < 0.3 ? 1 : 0;
      exact += best > 0.999 ? 1 : 0;
      EXPECT_GE(proposal.bbox[0], 0);
      EXPECT_LE(proposal.bbox[0] + proposal.bbox[2], proposals.images[i].width + 0.011);
      EXPECT_LE(proposal.bbox[1] + proposal.bbox[3], proposals.images[i].height + 0.011);
    }
  EXPECT_GT(good, 30);
  EXPECT_GT(false_ones, 5);
  EXPECT_EQ(exact, 0);
}

TEST_F(WrittenDataset, EvaluationSeesEveryThing) {
  datasets::PanopticOptions options;
  options.image_size = 144;
  options.crop_size = 48;
  options.downsample_factor = 8;
  const datasets::PanopticDataset data(datasets::read_coco_panoptic(paths_.held_out.panoptic), paths_.held_out.images,
                                       paths_.held_out.panoptic_masks, options);
  for (int i = 0; i < data.size(); ++i) {
    const Scene scene = dataset_scene(3, Split::kHeldOut, i);
    const auto sample = data.get(i);
    EXPECT_EQ(sample.is_thing.sum().item<std::int64_t>(), static_cast<std::int64_t>(scene.things.size()));
    for (std::size_t k = 0; k < scene.things.size(); ++k)
      EXPECT_EQ(sample.labels[static_cast<std::int64_t>(k)].item<std::int64_t>(), scene.things[k].look.label());
  }
}

TEST_F(WrittenDataset, TheSameSeedWritesTheSameBytesWhateverTheThreads) {
  const std::filesystem::path other = folder_.string() + "_again";
  const DatasetPaths again = write_dataset(other, {.seed = 3, .train_images = 12, .val_images = 6, .threads = 1});
  for (const auto& [a, b] :
       {std::pair{paths_.train.instances, again.train.instances},
        std::pair{paths_.train.proposals, again.train.proposals},
        std::pair{paths_.train.captions, again.train.captions},
        std::pair{paths_.held_out.panoptic, again.held_out.panoptic},
        std::pair{paths_.train.images / "000000000005.jpg", again.train.images / "000000000005.jpg"}})
    EXPECT_EQ(read_text(a), read_text(b)) << a;
  std::filesystem::remove_all(other);
}

}  // namespace
}  // namespace clipself::scenes
