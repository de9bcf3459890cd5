#include "clipself/scenes/picture.h"

#include <algorithm>
#include <cmath>

#include "clipself/datasets/regions.h"
#include "clipself/datasets/transforms.h"
#include "clipself/visualization/canvas.h"
#include "clipself/visualization/dense_view.h"
#include "clipself/visualization/overlays.h"

namespace clipself::scenes {

namespace {

using visualization::Canvas;
using visualization::text_font;
using visualization::title_font;

constexpr Colour kPaper{250, 250, 248};
constexpr Colour kInk{32, 38, 50};
constexpr Colour kFaint{112, 120, 134};
constexpr int kMargin = 28;
constexpr int kGap = 16;

// Class colours over a faint trace of the scene, dark lines between classes, names on the larger regions: first on
// things, which are small, while a surface has room for its name elsewhere or can do without.
void draw_map(Canvas& canvas, int left, int top, const formats::Image& scene, const std::vector<int>& map) {
  std::vector<Colour> colours;
  std::vector<int> rank;
  for (int label = 0; label < static_cast<int>(class_names().size()); ++label) {
    colours.push_back(class_colour(label));
    rank.push_back(is_thing_class(label) ? 0 : 1);
  }
  canvas.paste(visualization::class_overlay(scene, map, colours, {.opacity = 0.82}), left, top);
  visualization::write_names(canvas, left, top, map, scene.width, scene.height, class_names(), text_font(), rank);
}

void draw_legend(Canvas& canvas, int y) {
  int x = kMargin;
  const auto entry = [&](int label, const std::string& text) {
    canvas.fill(x, y, 22, 14, {90, 96, 108});
    canvas.fill(x + 1, y + 1, 20, 12, class_colour(label));
    canvas.write(text, x + 28, y, text_font(), kInk);
    x += 28 + Canvas::width_of(text, text_font()) + 20;
  };
  for (int stuff = 0; stuff < kStuff; ++stuff) entry(kThings + stuff, stuff_names()[static_cast<std::size_t>(stuff)]);
  x += 24;
  for (int colour = 0; colour < kColours; ++colour)
    entry(colour, colour_names()[static_cast<std::size_t>(colour)] + " things");
}

}  // namespace

int boxes_named_right(models::ClipModel& model, const formats::Image& photo, int image_size,
                      const at::Tensor& embeddings, const std::vector<Segment>& segments) {
  const at::NoGradGuard no_grad;
  const double scale = datasets::longest_scale(photo.width, photo.height, image_size);
  at::Tensor boxes = at::empty({static_cast<std::int64_t>(segments.size()), 4});
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const auto [x, y, w, h] = segments[i].box;
    const auto row = datasets::normalized_box({double(x), double(y), double(x + w), double(y + h)}, scale, image_size);
    boxes[static_cast<std::int64_t>(i)] = at::tensor(at::ArrayRef<float>(row));
  }
  const at::Tensor features = models::pool_boxes(visualization::dense_square(model, photo, image_size), {boxes});
  const at::Tensor best = features.matmul(embeddings.t()).argmax(1);
  int right = 0;
  for (std::size_t i = 0; i < segments.size(); ++i)
    right += best[static_cast<std::int64_t>(i)].item<std::int64_t>() == segments[i].label ? 1 : 0;
  return right;
}

std::vector<int> dense_classes(models::ClipModel& model, const formats::Image& photo, int image_size,
                               const at::Tensor& embeddings, int width, int height) {
  const visualization::DenseView view = visualization::dense_view(model, photo, image_size);
  return visualization::best_of(view, visualization::similarities(view, embeddings), width, height);
}

std::vector<int> true_classes(const Scene& scene, const Rendering& rendering) {
  std::vector<int> classes;
  classes.reserve(rendering.owners.size());
  for (const int owner : rendering.owners) {
    const auto at = static_cast<std::size_t>(owner);
    classes.push_back(at < scene.things.size() ? scene.things[at].look.label()
                                               : kThings + scene.surfaces[at - scene.things.size()].stuff);
  }
  return classes;
}

formats::Image compose_picture(const std::string& title, const std::string& subtitle,
                               const std::vector<std::string>& headings, const std::vector<PictureRow>& rows) {
  int panel_width = 0, height = kMargin + 68;
  for (const PictureRow& row : rows) {
    panel_width = std::max(panel_width, row.scene.width);
    height += 36 + row.scene.height + 44;
  }
  const int columns = static_cast<int>(headings.size());
  const int width = 2 * kMargin + columns * panel_width + (columns - 1) * kGap;
  Canvas canvas(width, height + 14 + kMargin, kPaper);
  canvas.write(title, kMargin, kMargin - 4, title_font(), kInk);
  canvas.write(subtitle, kMargin, kMargin + 24, text_font(), kFaint);
  int y = kMargin + 68;
  for (const PictureRow& row : rows) {
    canvas.write(row.title, kMargin, y - 4, text_font(), kFaint);
    const int top = y + 36;
    for (int column = 0; column < columns; ++column) {
      const int left = kMargin + column * (panel_width + kGap);
      canvas.write(headings[static_cast<std::size_t>(column)], left, y + 13, title_font(), kInk);
      canvas.fill(left - 1, top - 1, row.scene.width + 2, row.scene.height + 2, kInk);
      if (column == 0) {
        canvas.paste(row.scene, left, top);
        continue;
      }
      const auto map = static_cast<std::size_t>(column - 1);
      draw_map(canvas, left, top, row.scene, row.maps[map]);
      if (map < row.notes.size()) canvas.write(row.notes[map], left, top + row.scene.height + 6, text_font(), kFaint);
    }
    y = top + row.scene.height + 44;
  }
  draw_legend(canvas, y);
  return canvas.image();
}

}  // namespace clipself::scenes
