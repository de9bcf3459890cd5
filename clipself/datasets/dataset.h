// Training data: index -> sample -> batch.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/regions.h"
#include "clipself/formats/image.h"

namespace clipself::datasets {

/// One training image with its regions, of one of two kinds: for distillation (a table of boxes with a column that says
/// which rows are valid, crops) or for detection (boxes in pixels with `labels`, perhaps `masks`).
struct Sample {
  std::int64_t image_id = 0;
  at::Tensor image;  ///< uint8 (3, S, S): the picture at the upper left, padded right and bottom with 0
  /// Distillation: float (max_boxes, 4 + k + 1): x0 y0 x1 y1 in 0..1 of the padded square, k labels, valid (0 or 1).
  /// Detection: float (n, 4), x0 y0 x1 y1 in pixels of the padded square; n may be 0.
  at::Tensor boxes;
  at::Tensor labels;  ///< detection only: int64 (n)
  at::Tensor masks;   ///< detection with masks only: uint8 (n, S, S) of 0 and 1
  /// Distillation only: uint8 (n_valid, 3, c, c), the teacher's views of the valid rows, in row order; (0, 3, c, c) of
  /// labelled boxes unless asked for.
  at::Tensor crops;
  std::array<int, 2> content{};  ///< detection only: height and width of the picture within the square
};

/// Several samples together.
struct Batch {
  std::vector<std::int64_t> image_ids;
  at::Tensor images;               ///< uint8 (B, 3, S, S)
  std::vector<at::Tensor> boxes;   ///< per image float (n_i, 4): the valid rows; in 0..1, for detection in pixels
  std::vector<at::Tensor> labels;  ///< per image int64 (n_i), undefined when the data has none
  std::vector<at::Tensor> masks;   ///< per image uint8 (n_i, S, S), undefined when the data has none
  at::Tensor crops;                ///< uint8 (sum n_i, 3, c, c); (0, 3, 0, 0) for detection
  std::vector<std::array<int, 2>> content;  ///< per image height and width without the padding; 0, 0 when not said
};
/// Samples of one kind and size together.
Batch collate(std::vector<Sample> samples);

/// A sample depends on (seed, epoch, index) alone, all three inside `rng`. get() is called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  /// Throws Error when the image cannot be read; the loader decides what then.
  virtual Sample get(std::int64_t index, Rng& rng) const = 0;
  /// Which samples go together: the loader makes every batch of one group. At least 0.
  virtual int group(std::int64_t /*index*/) const { return 0; }
};

/// Tells a choice of an index's images, in this order and with this many annotations, from another: "4800 images,
/// 0123456789abcdef".
std::string fingerprint_of(const AnnotationIndex& index, std::span<const std::size_t> images);
/// Of all of its images.
std::string fingerprint_of(const AnnotationIndex& index);

/// kLabelled: boxes with their category's label (RegionCLIP); images without annotations are left out.
enum class RegionKind { kGrid, kProposals, kLabelled };

struct DistillOptions {
  RegionKind regions = RegionKind::kGrid;
  int image_size = 1024;  ///< S, --det-image-size
  int crop_size = 224;    ///< c, the model's own image size
  int max_split = 6;
  bool crops_of_labelled = false;  ///< kLabelled: crops too, enlarged as those of proposals
  double grid_crop_scale = 1.0;    ///< --crop-scale
  ProposalOptions proposals{};     ///< proposals.max_boxes is --max-boxes for the grid too
  double train_ratio = 1.0;        ///< a seeded random part of the images
  std::uint64_t seed = 0;          ///< chooses that part
  bool apply_exif_orientation = false;
};

/// The data set of CLIPSelf: images of an index, regions by grid or from its annotations.
class DistillDataset : public Dataset {
 public:
  /// Throws Error for options out of range, and when regions come from annotations that have no bbox or an unknown
  /// category.
  DistillDataset(AnnotationIndex index, std::filesystem::path image_root, DistillOptions options);
  std::int64_t size() const override;
  Sample get(std::int64_t index, Rng& rng) const override;
  const AnnotationIndex& index() const { return index_; }
  /// fingerprint_of its images.
  std::string fingerprint() const;

 private:
  AnnotationIndex index_;
  std::filesystem::path image_root_;
  DistillOptions options_;
  std::vector<std::size_t> chosen_;  ///< positions in index_.images
  std::vector<GridChoice> choices_;
};

/// The sample of an image and its regions: what DistillDataset::get does once it has drawn them. Without labels (k = 0)
/// crops are always made, with labels (k = 1) only for `crops_of_labelled`.
Sample make_sample(const formats::Image& image, std::span<const Region> regions, int max_boxes, int image_size,
                   int crop_size, bool labelled = false, bool crops_of_labelled = false);

}  // namespace clipself::datasets
