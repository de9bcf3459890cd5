// Evaluation data: COCO panoptic segments as boxes, crops and masks (the original's COCOPanopticDataset).
#pragma once

#include <filesystem>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/transforms.h"

namespace clipself::datasets {

struct PanopticOptions {
  int image_size = 1024;
  int crop_size = 224;
  int downsample_factor = 16;  ///< mask grid = image_size / downsample_factor
  int max_segments = 100;      ///< an image's segments beyond these are not looked at
  double min_size = 8;         ///< segments with w*h outside [min_size^2, max_size^2] are left out
  double max_size = 1024;
  double thing_crop_scale = 1.5;
  MaskRule mask_rule = MaskRule::kBicubic;
  bool masked_crops = false;  ///< also make the crops with everything outside the segment set to 114
};

/// One image with the n segments that count, in file order.
struct PanopticSample {
  std::int64_t image_id = 0;
  at::Tensor image;         ///< uint8 (3, S, S)
  at::Tensor boxes;         ///< float (n, 4): x0 y0 x1 y1 in 0..1 of the padded square
  at::Tensor labels;        ///< int64 (n)
  at::Tensor sizes;         ///< float (n): w * h in pixels of the original image
  at::Tensor is_thing;      ///< bool (n)
  at::Tensor masks;         ///< bool (n, S/f, S/f)
  at::Tensor crops;         ///< uint8 (n, 3, c, c)
  at::Tensor masked_crops;  ///< the same, undefined unless asked for
  std::vector<int> rows;    ///< position of each among the image's segments (the original's row)
};

class PanopticDataset {
 public:
  PanopticDataset(AnnotationIndex index, std::filesystem::path image_root, std::filesystem::path segmentation_root,
                  PanopticOptions options);
  std::int64_t size() const;
  PanopticSample get(std::int64_t index) const;
  const AnnotationIndex& index() const { return index_; }
  const PanopticOptions& options() const { return options_; }

 private:
  AnnotationIndex index_;
  std::filesystem::path image_root_;
  std::filesystem::path segmentation_root_;
  PanopticOptions options_;
};

}  // namespace clipself::datasets
