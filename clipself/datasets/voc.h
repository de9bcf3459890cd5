// Pascal VOC's XML annotations as an annotation file of COCO's form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace clipself::datasets {

struct VocCounts {
  std::int64_t images = 0, objects = 0, difficult = 0;
};

/// Reads the images that ImageSets/Main/<split>.txt of `root` (VOCdevkit/VOC2007) names and writes them to `out`: file
/// names below `root` (JPEGImages/000001.jpg), the 20 classes of the list "voc" as categories 1 to 20, difficult
/// objects as `ignore`. Corners lose their fraction and begin at 0 instead of 1, as MMDetection reads them, so that a
/// box spans from its first to its last pixel: width = xmax - xmin. Ids of images are their numbers, or places in the
/// split where names are no numbers. Other classes than the 20 are left out. Throws Error naming the file for a missing
/// or broken one.
VocCounts voc_to_coco(const std::filesystem::path& root, const std::string& split, const std::filesystem::path& out);

}  // namespace clipself::datasets
