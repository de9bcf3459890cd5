// Run-length masks computed with: from and to bitmaps, from polygons and boxes, areas, boxes, overlaps, unions.
//
// The definitions are those of COCO's mask API (cocodataset/cocoapi, common/maskApi.c), whose rounding decides which
// pixels a polygon covers; results are the same to the bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "clipself/base/torch.h"
#include "clipself/formats/rle.h"

namespace clipself::ops {

/// x, y, width, height in pixels.
using BoxXywh = std::array<double, 4>;

/// Of a mask (H, W), bool or uint8 on the CPU: pixels other than 0 are inside. Throws Error for another shape or type.
formats::Rle encode_mask(const at::Tensor& mask);
/// uint8 (H, W) of 0 and 1.
at::Tensor decode_mask(const formats::Rle& rle);

/// Pixels inside.
std::int64_t mask_area(const formats::Rle& rle);
/// The smallest box around the pixels inside; all 0 for a mask without any.
BoxXywh mask_box(const formats::Rle& rle);

/// The pixels of a closed polygon x0 y0 x1 y1 …, drawn five times finer than the pixels. Corners may lie outside.
/// Throws Error for a coordinate that is not finite or farther than 10^7 pixels away, for an outline longer than 10^6
/// pixels (the farther of its two directions counts), and for a size below 1.
formats::Rle polygon_mask(std::span<const double> polygon, std::int64_t height, std::int64_t width);
/// The same of a box's four corners.
formats::Rle box_mask(const BoxXywh& box, std::int64_t height, std::int64_t width);

enum class MaskMerge { kUnion, kIntersection };
/// Throws Error when there are no masks or their sizes differ.
formats::Rle merge_masks(std::span<const formats::Rle> masks, MaskMerge how);

/// Intersection over union; of a crowd region, intersection over the detection's own area. 0 when they do not touch.
double box_iou(const BoxXywh& detection, const BoxXywh& truth, bool is_crowd);
/// The same of masks. Throws Error when their sizes differ.
double mask_iou(const formats::Rle& detection, const formats::Rle& truth, bool is_crowd);

}  // namespace clipself::ops
