// Boxes: anchors, their coding as offsets, overlaps, and which of them are whose. All boxes are x0 y0 x1 y1 in pixels,
// of float32. Definitions are MMDetection's (AnchorGenerator, DeltaXYWHBBoxCoder, MaxIoUAssigner, RandomSampler), which
// the published detectors were trained with.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"
#include "clipself/detection/config.h"

namespace clipself::detection {

/// Height and width of a picture or of a feature map.
using Extent = std::array<std::int64_t, 2>;

/// (A, 4): anchors about the origin, one a ratio (height / width): area (stride * scale)^2.
at::Tensor base_anchors(double stride, double scale, const std::vector<double>& ratios);
/// (h * w * A, 4): the base anchors at every place of a map, row by row.
at::Tensor grid_anchors(const at::Tensor& base, double stride, const Extent& map);
/// bool (h * w * A): whether the place lies within the padded picture.
at::Tensor valid_anchors(double stride, const Extent& map, const Extent& picture, std::int64_t anchors_a_place);

/// Offsets (N, 4) that take `boxes` to `targets`: centre differences by size, logarithms of size ratios, over `stds`
/// (R-CNN, Girshick et al. 2014).
at::Tensor encode_boxes(const at::Tensor& boxes, const at::Tensor& targets, const std::array<double, 4>& stds);
/// The inverse; sizes change at most by 1000/16. deltas (N, 4 k) for k classes. Clipped to `picture` when given.
at::Tensor decode_boxes(const at::Tensor& boxes, const at::Tensor& deltas, const std::array<double, 4>& stds,
                        const std::optional<Extent>& picture);

/// (N, M) intersection over union.
at::Tensor box_iou(const at::Tensor& boxes, const at::Tensor& others);

struct Assignment {
  at::Tensor object;   ///< int64 (N): -1 neither, 0 background, k > 0 object k - 1
  at::Tensor overlap;  ///< float (N): the best IoU with any object
};
/// Of equal objects the first has a box; of objects that both claim a box by low quality, the last.
Assignment assign(const at::Tensor& boxes, const at::Tensor& objects, const AssignOptions& options);

/// Indices of positive and negative boxes, each rising.
struct Drawn {
  at::Tensor positive, negative;
};
Drawn draw(const at::Tensor& object, const SampleOptions& options, Rng& rng);

}  // namespace clipself::detection
