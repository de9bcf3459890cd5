// Images with one class each, a folder a class, as ImageNet is usually laid out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clipself::datasets {

struct LabelledImages {
  std::vector<std::string> folders;  ///< by label
  std::vector<std::string> names;    ///< by label: what a class is called
  std::vector<std::filesystem::path> files;
  std::vector<std::int64_t> labels;  ///< one a file
};

/// Every JPEG and PNG below the folders of `root`, by label, then by path. Without `names_file` the folders, sorted,
/// are the classes, their names with "_" as a blank. With it, its lines "folder name of the class" are, in their order;
/// a class may be without a folder or without images, but no folder without a line. Images beside the folders are not
/// looked at. Throws Error when there are no images, and for a line without a name or with a folder named before.
LabelledImages read_labelled_folders(const std::filesystem::path& root, const std::filesystem::path& names_file = {});

}  // namespace clipself::datasets
