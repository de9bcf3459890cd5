#include "clipself/datasets/labelled_images.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/annotations.h"

namespace clipself::datasets {
namespace {

namespace fs = std::filesystem;

void add_class(LabelledImages& images, std::map<std::string, std::int64_t>& label_of, const std::string& folder,
               const std::string& name) {
  label_of.emplace(folder, static_cast<std::int64_t>(images.folders.size()));
  images.folders.push_back(folder);
  images.names.push_back(name);
}

void read_names(const fs::path& path, LabelledImages& images, std::map<std::string, std::int64_t>& label_of) {
  std::istringstream lines(read_text(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!line.empty() && is_blank(line.back())) line.pop_back();
    if (line.empty()) continue;
    const std::size_t end = line.find_first_of(" \t");
    const std::size_t begin = end == std::string::npos ? end : line.find_first_not_of(" \t", end);
    const std::string folder = line.substr(0, end);
    const bool repeated = label_of.contains(folder);
    if (begin == std::string::npos || repeated)
      throw Error(
          {.doing = "reading class names",
           .where = path.string(),
           .found = (repeated ? "'" + folder + "' a second time" : "no name") + " in line " + std::to_string(number),
           .expected = "lines of a folder, a blank and its class's name"});
    add_class(images, label_of, folder, line.substr(begin));
  }
  if (images.folders.empty())
    throw Error(
        {.doing = "reading class names", .where = path.string(), .found = "no line", .expected = "at least one"});
}

}  // namespace

LabelledImages read_labelled_folders(const fs::path& root, const fs::path& names_file) {
  LabelledImages images;
  std::map<std::string, std::int64_t> label_of;
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_directory()) folders.push_back(entry.path().filename().string());
  std::sort(folders.begin(), folders.end());
  if (!names_file.empty()) {
    read_names(names_file, images, label_of);
  } else {
    for (const std::string& folder : folders) {
      std::string name = folder;
      std::replace(name.begin(), name.end(), '_', ' ');
      add_class(images, label_of, folder, name);
    }
  }
  for (const std::string& folder : folders)
    if (!label_of.contains(folder))
      throw Error({.doing = "reading labelled images",
                   .where = (root / folder).string(),
                   .found = "no line for this folder in " + names_file.string(),
                   .expected = "a name for every folder"});
  std::vector<std::vector<fs::path>> files(images.folders.size());
  // Sorted by path; what lies beside the folders has no class. A root without any image is refused here.
  for (const ImageRecord& image : read_image_folder(root).images) {
    const fs::path path(image.file_name);
    const auto found = label_of.find(path.begin()->string());
    if (std::next(path.begin()) == path.end() || found == label_of.end()) continue;
    files[static_cast<std::size_t>(found->second)].push_back(root / path);
  }
  for (std::size_t label = 0; label < files.size(); ++label)
    for (fs::path& file : files[label]) {
      images.files.push_back(std::move(file));
      images.labels.push_back(static_cast<std::int64_t>(label));
    }
  if (images.files.empty())
    throw Error({.doing = "reading labelled images",
                 .where = root.string(),
                 .found = "images, but none in a folder of a class",
                 .expected = "a folder for each class with its images"});
  return images;
}

}  // namespace clipself::datasets
