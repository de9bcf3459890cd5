// Data of a detector: boxes in pixels with labels, perhaps masks, and the augmentation and test-time resizing that
// F-ViT's original (MMDetection 2's pipelines) trains and tests with.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "clipself/datasets/annotations.h"
#include "clipself/datasets/dataset.h"
#include "clipself/formats/image.h"
#include "clipself/ops/image_resize.h"

namespace clipself::datasets {

/// The classes a detector is trained on and tested by: those of an index's categories that have one of the names, all
/// of them without names, in the order of the file. The label of a category is its position here.
class CategoryLabels {
 public:
  /// Throws Error when the index has none of them.
  CategoryLabels(const AnnotationIndex& index, const std::vector<std::string>& names);
  const std::vector<Category>& categories() const { return categories_; }
  /// The label of a category's id; nothing when it is none of the classes.
  std::optional<std::int64_t> label(std::int64_t category_id) const;

 private:
  std::vector<Category> categories_;
  std::unordered_map<std::int64_t, std::int64_t> labels_;
};

/// The things of one picture.
struct DetectionObjects {
  at::Tensor boxes;   ///< float (n, 4): x0 y0 x1 y1 in pixels
  at::Tensor labels;  ///< int64 (n)
  at::Tensor crowds;  ///< float (m, 4): boxes around crowds, which training does not look at
  /// The mask of thing i, uint8 (height, width) of the picture, made when asked for; empty when masks are not wanted.
  std::function<at::Tensor(std::int64_t i)> mask{};
};
/// The annotations of an image that are of the classes, are not marked `ignore`, overlap the image, and have an area
/// above 0 and sides of at least 1. Boxes are not clipped. `mask` refers to the index. Throws Error for an annotation
/// without a bbox; mask() does for one without a segmentation.
DetectionObjects detection_objects(const AnnotationIndex& index, std::size_t image, const CategoryLabels& classes,
                                   bool with_masks = false);

/// What chance decides about a sample.
struct Augmentation {
  double ratio = 1;            ///< the square that the picture is fitted into is int(image size * ratio)
  int crop_x = 0, crop_y = 0;  /// of what is larger than the image size after that, where the crop begins
  bool flip = false;
};

struct DetectionOptions {
  int image_size = 640;  ///< S
  double min_ratio = 0.1;
  double max_ratio = 2.0;
  double flip_probability = 0.5;
  bool masks = false;
  std::vector<std::string> class_names;  ///< none: every category of the file
  int min_side = 32;                     ///< images with a shorter side are left out
  bool apply_exif_orientation = true;    ///< OpenCV, which the original reads images by, does
};

/// Width and height of a picture fitted, keeping its ratio, into a square of int(image_size * ratio), at least 1 and at
/// most 2^20.
std::array<int, 2> augmented_size(int width, int height, int image_size, double ratio);
/// Draws the decisions for a picture of that size.
Augmentation draw_augmentation(int width, int height, const DetectionOptions& options, Rng& rng);

/// Boxes (n, 4) of a picture of width x height `from` in one of `to`, clipped to it.
at::Tensor resize_boxes(const at::Tensor& boxes, std::array<int, 2> from, std::array<int, 2> to);

/// The things that a window shows of a picture resized from width x height `from` to `to`.
struct CroppedObjects {
  at::Tensor boxes;                 ///< float (n, 4) in the window; recomputed from the masks when there are any
  at::Tensor labels;                ///< int64 (n)
  std::vector<at::Tensor> masks{};  ///< uint8 (window height, window width) each
  /// Leaves out things thinner than 0.01 pixels, also those whose mask the window shows nothing of. False when that
  /// takes the last one.
  bool drop_thin();
};
/// Boxes are resized (resize_boxes), moved and clipped, things without any area left out; then masks are made of those
/// that remain.
CroppedObjects crop_objects(const DetectionObjects& objects, std::array<int, 2> from, std::array<int, 2> to,
                            const ops::Window& window);

/// An RGB picture at the upper left of a uint8 (3, size, size) of zeros, mirrored or not. It must fit.
at::Tensor place_in_square(const formats::Image& rgb, int size, bool flip);

/// Resizes, crops, flips and pads a picture and its things. Nothing when all its things were lost for being too thin:
/// another picture is to be taken then; a picture of which the crop shows no thing is a sample without boxes. Throws
/// Error when masks do not have the picture's size.
std::optional<Sample> augment(const formats::Image& image, const DetectionObjects& objects,
                              const Augmentation& augmentation, int image_size);

/// Training data of a detector. Images need a width and a height, and at least one annotation of the classes; which
/// ones stay is decided by the file alone. Batches are of pictures wider than high, or of others (group()).
class DetectionDataset : public Dataset {
 public:
  /// Throws Error for options out of range, for images without a size, annotations without a bbox, and when no image
  /// stays.
  DetectionDataset(AnnotationIndex index, std::filesystem::path image_root, DetectionOptions options);
  std::int64_t size() const override { return static_cast<std::int64_t>(chosen_.size()); }
  /// A picture that loses its last box to filtering gives way to another one of its group, drawn from `rng`.
  Sample get(std::int64_t index, Rng& rng) const override;
  int group(std::int64_t index) const override { return group_of_[static_cast<std::size_t>(index)]; }
  /// fingerprint_of its images.
  std::string fingerprint() const { return fingerprint_of(index_, chosen_); }
  const AnnotationIndex& index() const { return index_; }
  const CategoryLabels& classes() const { return classes_; }
  /// The image's place in index().images.
  std::size_t position(std::int64_t index) const { return chosen_.at(static_cast<std::size_t>(index)); }

 private:
  std::optional<Sample> try_get(std::int64_t index, Rng& rng) const;
  AnnotationIndex index_;
  std::filesystem::path image_root_;
  DetectionOptions options_;
  CategoryLabels classes_;
  std::vector<std::size_t> chosen_;  ///< positions in index_.images
  std::vector<int> group_of_;
  std::array<std::vector<std::int64_t>, 2> groups_;
};

/// A picture as a detector is tested on it.
struct DetectionImage {
  std::int64_t image_id = 0;
  std::int64_t index = 0;               ///< in the data set
  at::Tensor image;                     ///< uint8 (3, S, S): longer side S, padded right and bottom with 0
  std::array<int, 2> original{};        ///< height and width of the picture
  std::array<int, 2> content{};         ///< height and width within the square
  std::array<float, 4> scale_factor{};  ///< content / original: width, height, width, height
};
DetectionImage detection_image(const formats::Image& image, int image_size);

/// All images of an index, in its order.
class DetectionTestDataset {
 public:
  DetectionTestDataset(std::shared_ptr<const AnnotationIndex> index, std::filesystem::path image_root, int image_size,
                       bool apply_exif_orientation = true);
  std::int64_t size() const { return static_cast<std::int64_t>(index_->images.size()); }
  /// Throws Error when the image cannot be read.
  DetectionImage get(std::int64_t index) const;
  const AnnotationIndex& index() const { return *index_; }

 private:
  std::shared_ptr<const AnnotationIndex> index_;
  std::filesystem::path image_root_;
  int image_size_;
  bool apply_exif_orientation_;
};

}  // namespace clipself::datasets
