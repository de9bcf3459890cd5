// Sentences with a place for a class's name.
#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::models {
namespace {

// The original puts "This is " before prompts that start with "a" or "the"; here it stands where it comes to stand.
constexpr const char* kSingle = "This is a photo of {article} {}.";

// The 63 of ViLD (Gu et al., ICLR 2022), which CLIPSelf's class embeddings are made with.
constexpr const char* kVild = R"(
There is {article} {} in the scene.
There is the {} in the scene.
This is a photo of {article} {} in the scene.
This is a photo of the {} in the scene.
This is a photo of one {} in the scene.
itap of {article} {}.
itap of my {}.
itap of the {}.
This is a photo of {article} {}.
This is a photo of my {}.
This is a photo of the {}.
This is a photo of one {}.
This is a photo of many {}.
This is a good photo of {article} {}.
This is a good photo of the {}.
This is a bad photo of {article} {}.
This is a bad photo of the {}.
This is a photo of a nice {}.
This is a photo of the nice {}.
This is a photo of a cool {}.
This is a photo of the cool {}.
This is a photo of a weird {}.
This is a photo of the weird {}.
This is a photo of a small {}.
This is a photo of the small {}.
This is a photo of a large {}.
This is a photo of the large {}.
This is a photo of a clean {}.
This is a photo of the clean {}.
This is a photo of a dirty {}.
This is a photo of the dirty {}.
This is a bright photo of {article} {}.
This is a bright photo of the {}.
This is a dark photo of {article} {}.
This is a dark photo of the {}.
This is a photo of a hard to see {}.
This is a photo of the hard to see {}.
This is a low resolution photo of {article} {}.
This is a low resolution photo of the {}.
This is a cropped photo of {article} {}.
This is a cropped photo of the {}.
This is a close-up photo of {article} {}.
This is a close-up photo of the {}.
This is a jpeg corrupted photo of {article} {}.
This is a jpeg corrupted photo of the {}.
This is a blurry photo of {article} {}.
This is a blurry photo of the {}.
This is a pixelated photo of {article} {}.
This is a pixelated photo of the {}.
This is a black and white photo of the {}.
This is a black and white photo of {article} {}.
This is a plastic {}.
This is the plastic {}.
This is a toy {}.
This is the toy {}.
This is a plushie {}.
This is the plushie {}.
This is a cartoon {}.
This is the cartoon {}.
This is an embroidered {}.
This is the embroidered {}.
This is a painting of the {}.
This is a painting of a {}.
)";

// The 80 of OpenAI's CLIP for ImageNet (github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb).
constexpr const char* kOpenAi = R"(
a bad photo of a {}.
a photo of many {}.
a sculpture of a {}.
a photo of the hard to see {}.
a low resolution photo of the {}.
a rendering of a {}.
graffiti of a {}.
a bad photo of the {}.
a cropped photo of the {}.
a tattoo of a {}.
the embroidered {}.
a photo of a hard to see {}.
a bright photo of a {}.
a photo of a clean {}.
a photo of a dirty {}.
a dark photo of the {}.
a drawing of a {}.
a photo of my {}.
the plastic {}.
a photo of the cool {}.
a close-up photo of a {}.
a black and white photo of the {}.
a painting of the {}.
a painting of a {}.
a pixelated photo of the {}.
a sculpture of the {}.
a bright photo of the {}.
a cropped photo of a {}.
a plastic {}.
a photo of the dirty {}.
a jpeg corrupted photo of a {}.
a blurry photo of the {}.
a photo of the {}.
a good photo of the {}.
a rendering of the {}.
a {} in a video game.
a photo of one {}.
a doodle of a {}.
a close-up photo of the {}.
a photo of a {}.
the origami {}.
the {} in a video game.
a sketch of a {}.
a doodle of the {}.
a origami {}.
a low resolution photo of a {}.
the toy {}.
a rendition of the {}.
a photo of the clean {}.
a photo of a large {}.
a rendition of a {}.
a photo of a nice {}.
a photo of a weird {}.
a blurry photo of a {}.
a cartoon {}.
art of a {}.
a sketch of the {}.
a embroidered {}.
a pixelated photo of a {}.
itap of the {}.
a jpeg corrupted photo of the {}.
a good photo of a {}.
a plushie {}.
a photo of the nice {}.
a photo of the small {}.
a photo of the weird {}.
the cartoon {}.
art of the {}.
a drawing of the {}.
a photo of the large {}.
a black and white photo of a {}.
the plushie {}.
a dark photo of a {}.
itap of a {}.
graffiti of the {}.
a toy {}.
itap of my {}.
a photo of a cool {}.
a photo of a small {}.
a tattoo of the {}.
)";

constexpr std::size_t kMostTemplates = 4096;
constexpr std::size_t kLongestTemplate = 4096;  // each "{}" of it is as long as a name
constexpr std::size_t kLargestTemplateFile = std::size_t{1} << 20;

std::vector<std::string> template_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != line.npos) lines.emplace_back(line);
  }
  return lines;
}

std::vector<std::string> template_file(const std::string& path) {
  const auto fail = [&](const std::string& found, const std::string& expected) {
    throw Error({.doing = "reading templates", .where = path, .found = found, .expected = expected});
  };
  const MappedFile file(path);
  if (file.size() > kLargestTemplateFile)
    fail(std::to_string(file.size()) + " bytes", "a line a template, 1 MiB at most");
  auto lines = template_lines(file.text());
  if (lines.empty() || lines.size() > kMostTemplates)
    fail(std::to_string(lines.size()) + " lines", "1 to " + std::to_string(kMostTemplates));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find("{}") == std::string::npos)
      fail("'" + lines[i].substr(0, 80) + "'", "\"{}\" in each line, for the name");
    if (lines[i].size() > kLongestTemplate)
      fail("a line of " + std::to_string(lines[i].size()) + " bytes", std::to_string(kLongestTemplate) + " at most");
  }
  return lines;
}

}  // namespace

std::vector<std::string> prompt_templates(const std::string& name_or_file) {
  if (name_or_file == "single") return {kSingle};
  if (name_or_file == "vild") return template_lines(kVild);
  if (name_or_file == "openai") return template_lines(kOpenAi);
  std::error_code ignored;
  if (std::filesystem::is_regular_file(name_or_file, ignored)) return template_file(name_or_file);
  throw Error({.doing = "--templates",
               .where = name_or_file,
               .found = "neither a known set nor a file",
               .expected = "single, vild, openai, or a file with a template a line"});
}

}  // namespace clipself::models
