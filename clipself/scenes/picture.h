// What a model's dense map says, as a picture: the class of every pixel, in the classes' colours, with names.
#pragma once

#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/image.h"
#include "clipself/models/clip_model.h"
#include "clipself/scenes/coco_writer.h"
#include "clipself/scenes/render.h"

namespace clipself::scenes {

/// The best class of each of width * height pixels, row by row: the dense map of `photo` (longer side brought to
/// `image_size`), bilinearly enlarged, against `embeddings` (classes, D) of unit length.
std::vector<int> dense_classes(models::ClipModel& model, const formats::Image& photo, int image_size,
                               const at::Tensor& embeddings, int width, int height);
/// How many of `segments` (boxes in pixels of `photo`) the feature pooled in their box of the dense map names right.
int boxes_named_right(models::ClipModel& model, const formats::Image& photo, int image_size,
                      const at::Tensor& embeddings, const std::vector<Segment>& segments);
/// The true class of each pixel of a rendering.
std::vector<int> true_classes(const Scene& scene, const Rendering& rendering);

/// A scene with maps of its size, one under each heading.
struct PictureRow {
  std::string title;
  formats::Image scene;
  std::vector<std::vector<int>> maps;  ///< class of each pixel of `scene`
  std::vector<std::string> notes;      ///< one line below each map
};
/// `headings`: one for the scene, then one for each map.
formats::Image compose_picture(const std::string& title, const std::string& subtitle,
                               const std::vector<std::string>& headings, const std::vector<PictureRow>& rows);

}  // namespace clipself::scenes
