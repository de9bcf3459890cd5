#include "clipself/scenes/picture.h"

#include <algorithm>
#include <cmath>

#include "clipself/datasets/regions.h"
#include "clipself/datasets/transforms.h"
#include "clipself/scenes/canvas.h"

namespace clipself::scenes {

namespace {

constexpr Colour kPaper{250, 250, 248};
constexpr Colour kInk{32, 38, 50};
constexpr Colour kFaint{112, 120, 134};
constexpr Colour kLight{255, 255, 255};
constexpr int kMargin = 28;
constexpr int kGap = 16;

const std::string& name_of(int label) {
  return class_names()[static_cast<std::size_t>(label)];
}

// (1, D, h, w) of the photo in its padded square.
at::Tensor dense_map(models::ClipModel& model, const formats::Image& photo, int image_size) {
  const models::PixelStatistics& pixels = model.config().pixels;
  const at::Tensor image = datasets::to_tensor(datasets::resize_longest(photo, image_size));
  return model.encode_dense(datasets::normalize(image.unsqueeze(0), {.mean = pixels.mean, .std = pixels.std}))
      .to(at::kFloat);
}

std::size_t index_of(int x, int y, int width) {
  return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
}

// Pixels of one class that touch each other.
struct Region {
  int label = 0;
  std::vector<std::size_t> pixels;
};

std::vector<Region> regions_of(const std::vector<int>& map, int width, int height) {
  std::vector<Region> regions;
  std::vector<bool> seen(map.size());
  for (std::size_t start = 0; start < map.size(); ++start) {
    if (seen[start]) continue;
    Region region{map[start], {start}};
    seen[start] = true;
    for (std::size_t next = 0; next < region.pixels.size(); ++next) {
      const std::size_t at = region.pixels[next];
      const int x = static_cast<int>(at) % width, y = static_cast<int>(at) / width;
      const auto visit = [&](int nx, int ny) {
        if (nx < 0 || ny < 0 || nx >= width || ny >= height) return;
        const std::size_t neighbour = index_of(nx, ny, width);
        if (seen[neighbour] || map[neighbour] != region.label) return;
        seen[neighbour] = true;
        region.pixels.push_back(neighbour);
      };
      visit(x - 1, y);
      visit(x + 1, y);
      visit(x, y - 1);
      visit(x, y + 1);
    }
    regions.push_back(std::move(region));
  }
  return regions;
}

// The region's pixel nearest to its centre of mass, so that a name stands on what it names.
std::pair<int, int> anchor(const Region& region, int width) {
  double sum_x = 0, sum_y = 0;
  for (const std::size_t at : region.pixels) {
    sum_x += static_cast<double>(at % static_cast<std::size_t>(width));
    sum_y += static_cast<double>(at / static_cast<std::size_t>(width));
  }
  const auto count = static_cast<double>(region.pixels.size());
  std::pair<int, int> best{0, 0};
  double nearest = 1e18;
  for (const std::size_t at : region.pixels) {
    const int x = static_cast<int>(at) % width, y = static_cast<int>(at) / width;
    const double distance = std::hypot(x - sum_x / count, y - sum_y / count);
    if (distance < nearest) {
      nearest = distance;
      best = {x, y};
    }
  }
  return best;
}

// Class colours over a faint trace of the scene, dark lines between classes, names on the larger regions.
void draw_map(Canvas& canvas, int left, int top, const formats::Image& scene, const std::vector<int>& map) {
  const int width = scene.width, height = scene.height;
  formats::Image panel{.mode = formats::ImageMode::kRGB, .width = width, .height = height, .pixels = {}};
  panel.pixels.reserve(map.size() * 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const int label = map[index_of(x, y, width)];
      const bool border = (x + 1 < width && map[index_of(x + 1, y, width)] != label) ||
                          (y + 1 < height && map[index_of(x, y + 1, width)] != label);
      const Colour colour = class_colour(label);
      const std::uint8_t* pixel = scene.row(y) + 3 * x;
      const int grey = (pixel[0] * 77 + pixel[1] * 150 + pixel[2] * 29) / 256;
      for (const std::uint8_t value : colour)
        panel.pixels.push_back(static_cast<std::uint8_t>(border ? value / 4 : (value * 82 + grey * 18) / 100));
    }
  canvas.paste(panel, left, top);
  std::vector<Region> regions = regions_of(map, width, height);
  // Things first: they are small, and a surface has room for its name elsewhere or can do without.
  std::stable_sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) {
    if (is_thing_class(a.label) != is_thing_class(b.label)) return is_thing_class(a.label);
    return a.pixels.size() > b.pixels.size();
  });
  std::vector<std::array<int, 4>> taken;
  for (const Region& region : regions) {
    if (region.pixels.size() * 110 < map.size()) continue;
    const std::string& name = name_of(region.label);
    const int w = Canvas::width_of(name, text_font()), h = text_font().height;
    const auto [x, y] = anchor(region, width);
    const int text_x = std::clamp(x - w / 2, 2, std::max(2, width - w - 2));
    const int text_y = std::clamp(y - h / 2, 2, std::max(2, height - h - 2));
    const bool clash = std::any_of(taken.begin(), taken.end(), [&](const std::array<int, 4>& t) {
      return text_x < t[2] && text_x + w > t[0] && text_y < t[3] && text_y + h > t[1];
    });
    if (clash) continue;
    taken.push_back({text_x - 3, text_y - 1, text_x + w + 3, text_y + h + 1});
    canvas.write(name, left + text_x, top + text_y, text_font(), kLight, /*halo=*/true);
  }
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
  const at::Tensor features = models::pool_boxes(dense_map(model, photo, image_size), {boxes});
  const at::Tensor best = features.matmul(embeddings.t()).argmax(1);
  int right = 0;
  for (std::size_t i = 0; i < segments.size(); ++i)
    right += best[static_cast<std::int64_t>(i)].item<std::int64_t>() == segments[i].label ? 1 : 0;
  return right;
}

std::vector<int> dense_classes(models::ClipModel& model, const formats::Image& photo, int image_size,
                               const at::Tensor& embeddings, int width, int height) {
  const at::NoGradGuard no_grad;
  const at::Tensor dense = dense_map(model, photo, image_size);
  // The padded square at the size where the photo itself measures width x height.
  const double scale = datasets::longest_scale(photo.width, photo.height, image_size);
  const std::int64_t large_w = std::llround(width * image_size / (photo.width * scale));
  const std::int64_t large_h = std::llround(height * image_size / (photo.height * scale));
  const at::Tensor large = at::upsample_bilinear2d(dense, at::IntArrayRef{large_h, large_w}, /*align_corners=*/false)[0]
                               .narrow(1, 0, height)
                               .narrow(2, 0, width);
  const at::Tensor best = embeddings.matmul(large.flatten(1)).argmax(0).contiguous();
  const auto* first = best.const_data_ptr<std::int64_t>();
  std::vector<int> classes;
  for (std::int64_t i = 0; i < best.numel(); ++i) classes.push_back(static_cast<int>(first[i]));
  return classes;
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
