#include "cli/pictures.h"

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"
#include "clipself/ops/image_resize.h"

namespace clipself::cli {

namespace fs = std::filesystem;

std::vector<fs::path> find_pictures(const std::vector<std::string>& arguments) {
  std::vector<fs::path> files;
  for (const std::string& argument : arguments) {
    if (fs::is_directory(argument)) {
      for (const auto& image : datasets::read_image_folder(argument).images)
        files.push_back(fs::path(argument) / image.file_name);
    } else {
      require_file(argument, "IMAGE");
      files.emplace_back(argument);
    }
  }
  return files;
}

void require_pictures(const std::vector<fs::path>& files) {
  for (const fs::path& file : files) formats::read_image(file);
}

formats::Image read_rgb(const fs::path& file, bool exif_orientation) {
  return formats::to_rgb(formats::read_image(file, {.apply_exif_orientation = exif_orientation}));
}

formats::Image enlarged_to_see(const formats::Image& picture) {
  constexpr int kLeastSide = 320;
  const int longer = std::max(picture.width, picture.height);
  const int factor = (kLeastSide + longer - 1) / longer;
  return factor > 1 ? ops::resize_bicubic(picture, picture.width * factor, picture.height * factor) : picture;
}

void require_whole_patches(int image_size, const models::ClipModel& model) {
  const int patch = model.config().vision.patch_size;
  if (image_size % patch == 0) return;
  throw Error({.doing = "--det-image-size",
               .where = std::to_string(image_size),
               .found = "no multiple of the patch size",
               .expected = "a multiple of " + std::to_string(patch)});
}

std::string ResultNames::of(const fs::path& picture) {
  const std::string stem = picture.stem().string();
  std::string name = stem;
  for (int number = 2; !taken_.insert(name).second; ++number) name = stem + "-" + std::to_string(number);
  return name;
}

}  // namespace clipself::cli
