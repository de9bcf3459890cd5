// The core that COCO's, LVIS's and VOC's average precision share: found regions are matched with true ones, image by
// image; then each category's found regions are gone through by falling score.
//
// Ties are those of the reference implementations. The outcome does not depend on the number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace clipself::evaluation {

struct TruthRegion {
  int image = 0;  ///< position of the image; lists are gone through by rising position
  int category = 0;
  double area = 0;
  bool is_crowd = false;  ///< may be matched by any number of found regions
  bool ignore = false;    ///< what matches it counts neither for nor against
};

struct FoundRegion {
  int image = 0;
  int category = 0;
  double score = 0;
  double area = 0;
  bool unjudged = false;  ///< does not count against, should it match nothing
};

enum class MatchRule {
  /// COCO and LVIS: the best true region that is still free and overlaps enough; of equally good ones the last. One to
  /// ignore only when no other will do. Found regions of equal score keep the order in which they were given, image by
  /// image (stable_order).
  kBestFree,
  /// VOC: the true region of the largest overlap, the first of equal ones; when that is taken, the found region is
  /// wrong. Equal scores as in numpy_order. No limit of found regions.
  kBestOnly,
};

using AreaRange = std::array<double, 2>;  ///< both ends belong to it

struct MatchOptions {
  MatchRule rule = MatchRule::kBestFree;
  std::vector<double> iou_thresholds{};   ///< at most 32, rising
  std::vector<AreaRange> area_ranges{};   ///< true regions outside are ignored, found ones may be
  std::vector<std::int64_t> max_found{};  ///< best found regions of an image and category that count; rising
  int threads = 1;
};

/// How one category fares in one area range, with one number of found regions an image, at one threshold.
struct MatchCurve {
  std::int64_t truths = 0;  ///< not ignored
  /// At each true positive, by falling score: false positives before it.
  std::vector<std::int64_t> false_positives;
  double recall() const { return static_cast<double>(false_positives.size()) / static_cast<double>(truths); }
};

struct MatchCell {
  std::size_t category = 0, area = 0, max_found = 0, threshold = 0;
};

/// Writes the overlap of each found region with each true one, found by found, into the last argument. The numbers are
/// positions in the lists given to match_regions; all are of one image.
using Overlaps =
    std::function<void(std::span<const std::size_t> found, std::span<const std::size_t> truths, std::span<double>)>;

/// Calls `take` once for every cell whose category has true regions that are not ignored in that area range; from
/// several threads, for one category from one at a time. `categories`: how many there are.
void match_regions(std::span<const TruthRegion> truths, std::span<const FoundRegion> found, int categories,
                   const Overlaps& overlaps, const MatchOptions& options,
                   const std::function<void(const MatchCell&, const MatchCurve&)>& take);

/// Precision at given recalls (rising): at each the largest precision of any recall that is at least as large, 0 beyond
/// the largest reached. `slack` is added to the number of found regions, as COCO's tools do against division by 0.
void interpolate_precision(const MatchCurve& curve, std::span<const double> recalls, double slack,
                           std::span<double> precision);
/// The area under that interpolated curve.
double area_under_curve(const MatchCurve& curve);

/// Calls `body(i)` for 0 <= i < count on that many threads, in blocks; rethrows the first exception.
void parallel_over(std::int64_t count, std::int64_t block, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace clipself::evaluation
