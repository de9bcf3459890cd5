// Non-maximum suppression of boxes, as mmcv defines it.
#pragma once

#include <cstdint>

#include "clipself/base/torch.h"

namespace clipself::ops {

/// boxes (N, 4) x0 y0 x1 y1 and scores (N) -> int64 (K): indices of the boxes that stay, by falling score (equal ones
/// in their order). A box goes when its IoU with a better one that stays is above `iou_threshold`; widths are x1 - x0,
/// and all is computed in float32. The best `most` (negative: all). Throws Error when shapes do not fit.
at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold, std::int64_t most = -1);

/// The same within each group (int64 (N): a class, a pyramid level): group * (largest coordinate + 1) is added to the
/// boxes in float32 before, whose rounding is part of the definition; from kSplitBoxes boxes on, group by group.
at::Tensor batched_nms(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor& groups,
                       double iou_threshold, std::int64_t most = -1);
inline constexpr std::int64_t kSplitBoxes = 10000;

}  // namespace clipself::ops
