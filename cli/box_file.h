// Boxes from a file, for pictures given on the command line.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "clipself/ops/image_resize.h"

namespace clipself::cli {

struct NamedBox {
  ops::Box box;
  std::string category;  ///< empty when the file does not say
};

/// The boxes of each of `pictures` that has any: from a COCO-format file (annotations without a box of any size and
/// crowds are left out), or from {"name": [[x, y, width, height], ...]}. A picture is meant by its path as given, by
/// the end of it, or by its file name. Throws Error naming the entry for anything that is no box within its picture,
/// and when no picture has a box.
std::map<std::filesystem::path, std::vector<NamedBox>> read_boxes(const std::filesystem::path& path,
                                                                  const std::vector<std::filesystem::path>& pictures);

}  // namespace clipself::cli
