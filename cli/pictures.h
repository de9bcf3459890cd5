// Pictures given on the command line, and where results about them go.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "clipself/formats/image.h"
#include "clipself/models/clip_model.h"

namespace clipself::cli {

/// The files themselves, and every JPEG and PNG below the folders among `arguments`. Throws Error when one is missing
/// or a folder has none.
std::vector<std::filesystem::path> find_pictures(const std::vector<std::string>& arguments);
/// Throws Error naming the first that is no readable picture: before the first result is written, not after hours.
void require_pictures(const std::vector<std::filesystem::path>& files);
/// In RGB; turned as its EXIF tag says when asked for.
formats::Image read_rgb(const std::filesystem::path& file, bool exif_orientation = false);
/// Pictures of a few pixels a whole number of times larger: at least 320 pixels at the longer side, for drawing on.
formats::Image enlarged_to_see(const formats::Image& picture);
/// Throws Error unless `image_size` is a multiple of the model's patch size.
void require_whole_patches(int image_size, const models::ClipModel& model);

/// Names of result files: a picture's own name without its suffix, never one twice.
class ResultNames {
 public:
  std::string of(const std::filesystem::path& picture);

 private:
  std::set<std::string> taken_;
};

}  // namespace clipself::cli
