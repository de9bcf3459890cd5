#include "clipself/datasets/segmentations.h"

#include <bit>
#include <cmath>

#include "clipself/ops/masks.h"

namespace clipself::datasets {
namespace {

enum class SegmentationKind : std::uint8_t { kPolygons, kRunLengths };

constexpr double kHundredths = 100;
/// Marks a coordinate that is no whole number of hundredths; its 64 bits follow.
constexpr std::uint64_t kRaw = 0;

/// Small numbers of either sign as small numbers: 0 -1 1 -2 2 … as 1 2 3 4 5 …, so that kRaw stays free.
std::uint64_t folded(std::int64_t number) {
  return ((static_cast<std::uint64_t>(number) << 1) ^ static_cast<std::uint64_t>(number >> 63)) + 1;
}
std::int64_t unfolded(std::uint64_t number) {
  --number;
  return static_cast<std::int64_t>(number >> 1) ^ -static_cast<std::int64_t>(number & 1);
}

}  // namespace

void SegmentationStore::put(std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) bytes_.push_back(static_cast<std::uint8_t>(number | 0x80));
  bytes_.push_back(static_cast<std::uint8_t>(number));
}

std::uint64_t SegmentationStore::take(std::size_t& at) const {
  std::uint64_t number = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint8_t byte = bytes_[at++];
    number |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return number;
  }
}

SegmentationHandle SegmentationStore::add(std::span<const Polygon> polygons) {
  const auto handle = static_cast<SegmentationHandle>(bytes_.size());
  bytes_.push_back(static_cast<std::uint8_t>(SegmentationKind::kPolygons));
  put(polygons.size());
  for (const Polygon& polygon : polygons) {
    put(polygon.size());
    std::int64_t last[2] = {0, 0};  // of x and of y, in hundredths
    for (std::size_t i = 0; i < polygon.size(); ++i) {
      constexpr double kFarthest = 1e12;
      const double coordinate = polygon[i];
      const double hundredths = std::round(coordinate * kHundredths);
      const std::int64_t whole = std::abs(hundredths) <= kFarthest ? static_cast<std::int64_t>(hundredths) : 0;
      if (std::bit_cast<std::uint64_t>(static_cast<double>(whole) / kHundredths) ==
          std::bit_cast<std::uint64_t>(coordinate)) {
        put(folded(whole - last[i % 2]));
        last[i % 2] = whole;
        continue;
      }
      put(kRaw);
      const auto bits = std::bit_cast<std::uint64_t>(coordinate);
      for (int shift = 0; shift < 64; shift += 8) bytes_.push_back(static_cast<std::uint8_t>(bits >> shift));
    }
  }
  return handle;
}

SegmentationHandle SegmentationStore::add(const formats::Rle& rle) {
  const auto handle = static_cast<SegmentationHandle>(bytes_.size());
  bytes_.push_back(static_cast<std::uint8_t>(SegmentationKind::kRunLengths));
  put(static_cast<std::uint64_t>(rle.height));
  put(static_cast<std::uint64_t>(rle.width));
  put(rle.counts.size());
  for (const std::uint32_t count : rle.counts) put(count);
  return handle;
}

bool SegmentationStore::is_polygons(SegmentationHandle handle) const {
  return bytes_.at(static_cast<std::size_t>(handle)) == static_cast<std::uint8_t>(SegmentationKind::kPolygons);
}

std::vector<Polygon> SegmentationStore::polygons(SegmentationHandle handle) const {
  std::vector<Polygon> polygons;
  if (!is_polygons(handle)) return polygons;
  auto at = static_cast<std::size_t>(handle) + 1;
  polygons.resize(take(at));
  for (Polygon& polygon : polygons) {
    polygon.resize(take(at));
    std::int64_t last[2] = {0, 0};
    for (std::size_t i = 0; i < polygon.size(); ++i) {
      const std::uint64_t number = take(at);
      if (number == kRaw) {
        std::uint64_t bits = 0;
        for (int shift = 0; shift < 64; shift += 8) bits |= static_cast<std::uint64_t>(bytes_[at++]) << shift;
        polygon[i] = std::bit_cast<double>(bits);
      } else {
        last[i % 2] += unfolded(number);
        polygon[i] = static_cast<double>(last[i % 2]) / kHundredths;
      }
    }
  }
  return polygons;
}

formats::Rle SegmentationStore::rle(SegmentationHandle handle) const {
  formats::Rle rle;
  if (is_polygons(handle)) return rle;
  auto at = static_cast<std::size_t>(handle) + 1;
  rle.height = static_cast<std::int64_t>(take(at));
  rle.width = static_cast<std::int64_t>(take(at));
  rle.counts.resize(take(at));
  for (auto& count : rle.counts) count = static_cast<std::uint32_t>(take(at));
  return rle;
}

formats::Rle SegmentationStore::mask(SegmentationHandle handle, std::int64_t height, std::int64_t width) const {
  if (!is_polygons(handle)) {
    auto whole = rle(handle);
    if (whole.height != height || whole.width != width)
      throw formats::RleError(
          "run lengths of size [" + std::to_string(whole.height) + ", " + std::to_string(whole.width) + "]",
          "the image's, [" + std::to_string(height) + ", " + std::to_string(width) + "]");
    return whole;
  }
  std::vector<formats::Rle> masks;
  const auto all = polygons(handle);
  for (const Polygon& polygon : all) {
    masks.push_back(all.front().size() == 4 && polygon.size() == 4
                        ? ops::box_mask({polygon[0], polygon[1], polygon[2], polygon[3]}, height, width)
                        : ops::polygon_mask(polygon, height, width));
  }
  return ops::merge_masks(masks, ops::MaskMerge::kUnion);
}

}  // namespace clipself::datasets
