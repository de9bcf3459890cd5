// Training data: index -> sample -> batch.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/regions.h"
#include "clipself/formats/image.h"

namespace clipself::datasets {

/// One training image with its regions.
struct Sample {
  std::int64_t image_id = 0;
  at::Tensor image;  ///< uint8 (3, S, S): the whole picture, longer side S, padded right and bottom
  at::Tensor
      boxes;  ///< float (max_boxes, 4 + k + 1): x0 y0 x1 y1 in 0..1 of the padded square, k labels, valid (0 or 1)
  at::Tensor crops;  ///< uint8 (n_valid, 3, c, c): the teacher's views of the valid rows, in row order; (0, 3, c, c) of
                     ///< labelled boxes unless asked for
};

/// Several samples together.
struct Batch {
  std::vector<std::int64_t> image_ids;
  at::Tensor images;               ///< uint8 (B, 3, S, S)
  std::vector<at::Tensor> boxes;   ///< per image float (n_i, 4) of the valid rows
  std::vector<at::Tensor> labels;  ///< per image int64 (n_i), undefined when the data has none
  at::Tensor crops;                ///< uint8 (sum n_i, 3, c, c)
};
Batch collate(std::vector<Sample> samples);

/// A sample depends on (seed, epoch, index) alone, all three inside `rng`. get() is called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  /// Throws Error when the image cannot be read; the loader decides what then.
  virtual Sample get(std::int64_t index, Rng& rng) const = 0;
};

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
  /// Tells this set of images, in this order and with this many annotations, from another: "4800 images,
  /// 0123456789abcdef".
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
