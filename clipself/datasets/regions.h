// Which parts of an image are trained on: a grid of patches, proposals, or labelled boxes.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "clipself/base/random.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/ops/image_resize.h"

namespace clipself::datasets {

/// One region of one image, in pixels of that image. Coordinates carry the float32 rounding of the original.
struct Region {
  int row = 0;      ///< its row in the original's fixed-size box table (a filtered proposal leaves its row empty)
  ops::Box box{};   ///< pooled from the student's dense map
  ops::Box crop{};  ///< shown to the teacher
  int label = 0;    ///< labelled boxes only
};

struct GridChoice {
  int rows = 1;
  int columns = 1;
};

/// All (m, n) with 1 <= m <= max_split and ceil(m/2) <= n <= min(2m, max_split), in the original's order.
std::vector<GridChoice> grid_choices(int max_split);
/// (rows*columns, 4) float32 x0 y0 x1 y1 in 0..1, row by row.
at::Tensor grid_boxes(const GridChoice& choice);

/// The cells order[0], order[1], ... (at most max_boxes) of the grid; crops enlarged by crop_scale about their centre
/// and clipped when crop_scale > 1.
std::vector<Region> grid_regions(int width, int height, const GridChoice& choice, double crop_scale, int max_boxes,
                                 std::span<const int> order);

struct ProposalOptions {
  int max_boxes = 20;
  double min_size = 8;  ///< regions with w*h outside [min_size^2, max_size^2] are left out
  double max_size = 1024;
  double crop_scale = 1.5;  ///< the teacher's crop is the box enlarged by this about its centre, and clipped
};
/// The annotations order[0], order[1], ... (at most max_boxes looked at). A box whose enlarged crop lies outside the
/// image is left out like one of the wrong size (the original raises).
std::vector<Region> passing_proposals(int width, int height, std::span<const Annotation> annotations,
                                      const ProposalOptions& options, std::span<const int> order);
/// The same for training, which needs a region: when none passes, the top-left quarter.
std::vector<Region> proposal_regions(int width, int height, std::span<const Annotation> annotations,
                                     const ProposalOptions& options, std::span<const int> order);

/// The image's first max_boxes annotations (boxes of any size) with their labels; `crop` is the box.
std::vector<Region> labelled_regions(const AnnotationIndex& index, std::size_t image, int max_boxes);

/// A box of that centre and size, enlarged by `scale` and clipped to the image.
ops::Box enlarged_about(double cx, double cy, double width, double height, double scale, int image_width,
                        int image_height);
/// The teacher's view of a box: enlarged by `scale` about its centre and clipped to the image. (Of a box outside the
/// image nothing is left; crop_and_resize then shows the nearest pixels.)
ops::Box enlarged_crop(const ops::Box& box, double scale, int width, int height);

/// A box in 0..1 of the padded square: float32(corner) * float32(scale) / float32(image_size), as the original rounds.
std::array<float, 4> normalized_box(const ops::Box& box, double scale, int image_size);

/// 0, 1, ..., n-1 shuffled.
std::vector<int> random_order(int n, Rng& rng);

}  // namespace clipself::datasets
