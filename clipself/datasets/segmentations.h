// The outlines and masks of many annotations in little memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "clipself/formats/rle.h"

namespace clipself::datasets {

/// Names one annotation's segmentation in a SegmentationStore.
using SegmentationHandle = std::int64_t;
inline constexpr SegmentationHandle kNoSegmentation = -1;

/// x0 y0 x1 y1 … in pixels.
using Polygon = std::vector<double>;

/// Polygons and run-length masks, as bytes: the hundredths of a pixel that published files give take about two bytes a
/// coordinate, other coordinates nine. What comes out is what went in, to the bit.
class SegmentationStore {
 public:
  SegmentationHandle add(std::span<const Polygon> polygons);
  SegmentationHandle add(const formats::Rle& rle);

  bool is_polygons(SegmentationHandle handle) const;
  std::vector<Polygon> polygons(SegmentationHandle handle) const;
  formats::Rle rle(SegmentationHandle handle) const;
  /// Either as a mask of an image of that size, as COCO's tools make it: the union of the polygons; when the first of
  /// them has four numbers, all are boxes x, y, width, height. Throws formats::RleError when run lengths are of another
  /// size.
  formats::Rle mask(SegmentationHandle handle, std::int64_t height, std::int64_t width) const;
  std::size_t bytes() const { return bytes_.size(); }

 private:
  void put(std::uint64_t number);
  std::uint64_t take(std::size_t& at) const;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace clipself::datasets
