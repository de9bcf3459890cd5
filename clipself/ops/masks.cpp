#include "clipself/ops/masks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

using formats::Rle;

/// Goes through a mask run by run.
class RunReader {
 public:
  explicit RunReader(const Rle& rle) : counts_(rle.counts), left_(counts_.empty() ? 0 : counts_[0]) {}
  bool inside() const { return inside_; }
  std::uint32_t left() const { return left_; }  ///< of the current run
  /// Takes pixels of the current run, at most `left()`; at its end the next run that is not empty begins.
  void take(std::uint32_t pixels) {
    left_ -= pixels;
    while (left_ == 0 && next_ < counts_.size()) {
      left_ = counts_[next_++];
      inside_ = !inside_;
    }
  }

 private:
  std::span<const std::uint32_t> counts_;
  std::uint32_t left_;
  std::size_t next_ = 1;
  bool inside_ = false;
};

void check_sizes(const Rle& a, const Rle& b, const char* doing) {
  if (a.height == b.height && a.width == b.width) return;
  throw Error({.doing = doing,
               .found = c10::str("sizes ", a.height, " x ", a.width, " and ", b.height, " x ", b.width),
               .expected = "masks of one size"});
}

Rle merge_two(const Rle& a, const Rle& b, MaskMerge how) {
  Rle merged{.height = a.height, .width = a.width};
  RunReader of_a(a), of_b(b);
  bool inside = false;
  std::uint32_t run = 0;
  bool more = true;
  while (more) {
    const std::uint32_t step = std::min(of_a.left(), of_b.left());
    run += step;
    of_a.take(step);
    of_b.take(step);
    more = of_a.left() > 0 && of_b.left() > 0;
    const bool now = how == MaskMerge::kUnion ? of_a.inside() || of_b.inside() : of_a.inside() && of_b.inside();
    if (now != inside || !more) {
      merged.counts.push_back(run);
      run = 0;
      inside = now;
    }
  }
  return merged;
}

// A polygon is walked on a grid five times finer than the pixels. Wherever the walk steps from one side of a pixel
// column's centre line to the other, the column's pixels below that point change from outside to inside or back.
constexpr double kFiner = 5;

class BoundaryWalk {
 public:
  BoundaryWalk(std::int64_t height, std::int64_t width) : height_(height), width_(width) {}

  void edge(std::int64_t x0, std::int64_t y0, std::int64_t x1, std::int64_t y1) {
    const std::int64_t dx = std::abs(x1 - x0), dy = std::abs(y1 - y0);
    const bool flat = dx >= dy;
    // Each edge is drawn in the direction of growing x (or y, if steep), so that two polygons that share it share its
    // pixels, and visited in its own.
    const bool backwards = flat ? x0 > x1 : y0 > y1;
    if (backwards) {
      std::swap(x0, x1);
      std::swap(y0, y1);
    }
    const std::int64_t steps = flat ? dx : dy;
    const double rise = steps == 0 ? 0 : static_cast<double>(flat ? y1 - y0 : x1 - x0) / static_cast<double>(steps);
    const std::int64_t along = flat ? x0 : y0;
    const auto across = static_cast<double>(flat ? y0 : x0);
    for (std::int64_t i = 0; i <= steps; ++i) {
      const std::int64_t step = backwards ? steps - i : i;
      const auto rounded = static_cast<std::int64_t>(across + rise * static_cast<double>(step) + .5);
      flat ? point(along + step, rounded) : point(rounded, along + step);
    }
  }

  /// Column-major positions where inside and outside change, in the order they were met.
  std::vector<std::int64_t>& changes() { return changes_; }

 private:
  void point(std::int64_t u, std::int64_t v) {
    if (begun_ && u != u_) {
      const double x = (static_cast<double>(u < u_ ? u : u - 1) + .5) / kFiner - .5;
      if (x == std::floor(x) && x >= 0 && x <= static_cast<double>(width_ - 1)) {
        const double y = (static_cast<double>(std::min(v, v_)) + .5) / kFiner - .5;
        const double row = std::ceil(std::clamp(y, 0., static_cast<double>(height_)));
        changes_.push_back(static_cast<std::int64_t>(x) * height_ + static_cast<std::int64_t>(row));
      }
    }
    begun_ = true;
    u_ = u;
    v_ = v;
  }

  std::int64_t height_, width_;
  std::int64_t u_ = 0, v_ = 0;
  bool begun_ = false;
  std::vector<std::int64_t> changes_;
};

}  // namespace

Rle encode_mask(const at::Tensor& mask) {
  if (mask.dim() != 2 || !mask.device().is_cpu() ||
      (mask.scalar_type() != at::kBool && mask.scalar_type() != at::kByte))
    throw Error({.doing = "encoding a mask",
                 .found = c10::str(mask.scalar_type(), " ", mask.sizes(), " on ", mask.device()),
                 .expected = "bool or uint8 (height, width) on the CPU"});
  const auto columns = mask.t().contiguous();
  const auto* pixel = static_cast<const std::uint8_t*>(columns.const_data_ptr());
  const auto* const end = pixel + columns.numel();
  Rle rle{.height = mask.size(0), .width = mask.size(1)};
  bool inside = false;
  while (true) {
    const auto* const run = pixel;
    while (pixel != end && (*pixel != 0) == inside) ++pixel;
    rle.counts.push_back(static_cast<std::uint32_t>(pixel - run));
    if (pixel == end) return rle;
    inside = !inside;
  }
}

at::Tensor decode_mask(const Rle& rle) {
  auto columns = at::zeros({rle.width, rle.height}, at::kByte);
  auto* pixel = columns.mutable_data_ptr<std::uint8_t>();
  std::int64_t left = columns.numel();
  bool inside = false;
  for (const std::uint32_t count : rle.counts) {
    if (count > left)
      throw Error({.doing = "decoding a mask",
                   .found = "runs of more pixels than its size",
                   .expected = c10::str(rle.height, " x ", rle.width)});
    if (inside) std::memset(pixel, 1, count);
    pixel += count;
    left -= count;
    inside = !inside;
  }
  return columns.t().contiguous();
}

std::int64_t mask_area(const Rle& rle) {
  std::int64_t area = 0;
  for (std::size_t i = 1; i < rle.counts.size(); i += 2) area += rle.counts[i];
  return area;
}

BoxXywh mask_box(const Rle& rle) {
  std::int64_t left = rle.width, top = rle.height, right = -1, bottom = -1;
  std::int64_t position = 0;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    const std::int64_t first = position;
    position += rle.counts[i];
    if (i % 2 == 0 || position == first) continue;
    const std::int64_t first_column = first / rle.height, last_column = (position - 1) / rle.height;
    left = std::min(left, first_column);
    right = std::max(right, last_column);
    if (first_column < last_column) {
      top = 0;
      bottom = rle.height - 1;
    } else {
      top = std::min(top, first % rle.height);
      bottom = std::max(bottom, (position - 1) % rle.height);
    }
  }
  if (right < 0) return {0, 0, 0, 0};
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

Rle polygon_mask(std::span<const double> polygon, std::int64_t height, std::int64_t width) {
  constexpr double kFarthest = 1e7;
  constexpr std::int64_t kMostOutline = 1'000'000, kMostSteps = static_cast<std::int64_t>(kFiner) * kMostOutline;
  constexpr std::int64_t kMostPixels = (std::int64_t{1} << 32) - 1;
  if (height < 1 || width < 1 || height > kMostPixels / width)
    throw Error({.doing = "drawing a polygon",
                 .found = c10::str("an image of ", width, " x ", height, " pixels"),
                 .expected = "sizes above 0"});
  std::vector<std::int64_t> corners;
  corners.reserve(polygon.size() + 2);
  for (const double coordinate : polygon) {
    if (!(std::abs(coordinate) <= kFarthest))
      throw Error({.doing = "drawing a polygon",
                   .found = c10::str("a corner at ", coordinate),
                   .expected = "pixels at most 10^7 away"});
    corners.push_back(static_cast<std::int64_t>(kFiner * coordinate + .5));
  }
  BoundaryWalk walk(height, width);
  const std::size_t count = corners.size() / 2;
  std::int64_t steps = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t next = i + 1 == count ? 0 : i + 1;
    const std::int64_t x0 = corners[2 * i], y0 = corners[2 * i + 1];
    const std::int64_t x1 = corners[2 * next], y1 = corners[2 * next + 1];
    steps += std::max(std::abs(x1 - x0), std::abs(y1 - y0));
    // Walked step by step, whatever the few numbers that say it.
    if (steps > kMostSteps)
      throw Error({.doing = "drawing a polygon",
                   .found = c10::str("an outline longer than ", kMostOutline, " pixels"),
                   .expected = "one of an object in a picture"});
    walk.edge(x0, y0, x1, y1);
  }
  auto& changes = walk.changes();
  std::sort(changes.begin(), changes.end());
  changes.push_back(height * width);
  Rle rle{.height = height, .width = width};
  std::int64_t from = 0;
  bool empty_run = false;  // two changes at one place cancel: the run after them goes on with the one before
  for (const std::int64_t change : changes) {
    const auto run = static_cast<std::uint32_t>(change - from);
    from = change;
    if (empty_run) {
      rle.counts.back() += run;
      empty_run = false;
    } else if (run > 0 || rle.counts.empty()) {
      rle.counts.push_back(run);
    } else {
      empty_run = true;
    }
  }
  return rle;
}

Rle box_mask(const BoxXywh& box, std::int64_t height, std::int64_t width) {
  const double x0 = box[0], y0 = box[1], x1 = x0 + box[2], y1 = y0 + box[3];
  return polygon_mask(std::array{x0, y0, x0, y1, x1, y1, x1, y0}, height, width);
}

Rle merge_masks(std::span<const Rle> masks, MaskMerge how) {
  if (masks.empty()) throw Error({.doing = "merging masks", .found = "none"});
  Rle merged = masks[0];
  for (const Rle& mask : masks.subspan(1)) {
    check_sizes(merged, mask, "merging masks");
    merged = merge_two(merged, mask, how);
  }
  return merged;
}

double box_iou(const BoxXywh& detection, const BoxXywh& truth, bool is_crowd) {
  const double width = std::min(detection[2] + detection[0], truth[2] + truth[0]) - std::max(detection[0], truth[0]);
  if (!(width > 0)) return 0;
  const double height = std::min(detection[3] + detection[1], truth[3] + truth[1]) - std::max(detection[1], truth[1]);
  if (!(height > 0)) return 0;
  const double both = width * height;
  const double own = detection[2] * detection[3];
  return both / (is_crowd ? own : own + truth[2] * truth[3] - both);
}

double mask_iou(const Rle& detection, const Rle& truth, bool is_crowd) {
  check_sizes(detection, truth, "comparing masks");
  RunReader of_detection(detection), of_truth(truth);
  std::int64_t both = 0, either = 0, own = 0;
  do {
    const std::uint32_t step = std::min(of_detection.left(), of_truth.left());
    both += of_detection.inside() && of_truth.inside() ? step : 0;
    either += of_detection.inside() || of_truth.inside() ? step : 0;
    own += of_detection.inside() ? step : 0;
    of_detection.take(step);
    of_truth.take(step);
  } while (of_detection.left() > 0 && of_truth.left() > 0);
  if (both == 0) return 0;
  return static_cast<double>(both) / static_cast<double>(is_crowd ? own : either);
}

}  // namespace clipself::ops
