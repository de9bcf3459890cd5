// COCO captions: sentences about images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clipself::datasets {

struct CaptionedImage {
  std::int64_t id = 0;
  std::string file_name;              ///< relative to the image root
  std::vector<std::string> captions;  ///< in file order, at least one
};

/// The images that have captions, in file order. Throws Error naming the entry for broken JSON, a missing key, or a
/// caption of no image, and when there is no caption at all.
std::vector<CaptionedImage> read_coco_captions(const std::filesystem::path& path);

}  // namespace clipself::datasets
