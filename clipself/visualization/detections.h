// Detections drawn on their picture.
#pragma once

#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/image.h"

namespace clipself::visualization {

struct DrawnDetections {
  at::Tensor boxes;   ///< float (N, 4): x0 y0 x1 y1 in pixels of the picture
  at::Tensor scores;  ///< float (N), falling; undefined for objects that are known to be there
  at::Tensor labels;  ///< int64 (N)
  at::Tensor masks;   ///< bool (N, H, W); undefined for none; of the picture's size, or a whole number of times smaller
  std::vector<std::string> names;  ///< by label
};
/// Frames with name and score, a colour a class in order of appearance, better ones on top; masks as a veil. Throws
/// Error when a mask's size does not go with the picture's.
formats::Image draw_detections(const formats::Image& picture, const DrawnDetections& found);

}  // namespace clipself::visualization
