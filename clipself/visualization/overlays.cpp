#include "clipself/visualization/overlays.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "clipself/base/error.h"

namespace clipself::visualization {

namespace {

std::size_t pixel_index(int x, int y, int width) {
  return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
}

void require_same_size(const formats::Image& picture, std::int64_t numbers, const char* what) {
  if (picture.mode == formats::ImageMode::kRGB && numbers == std::int64_t{picture.width} * picture.height) return;
  throw Error({.doing = std::string("drawing ") + what + " over a picture",
               .found = c10::str(numbers, " numbers for ", picture.width, " x ", picture.height, " pixels, mode ",
                                 formats::name(picture.mode)),
               .expected = "one for each pixel of an RGB picture"});
}

Colour colour_at(const formats::Image& picture, std::size_t pixel) {
  const std::uint8_t* bytes = picture.pixels.data() + 3 * pixel;
  return {bytes[0], bytes[1], bytes[2]};
}

Colour in_grey(const Colour& colour) {
  const std::uint8_t grey = grey_of(colour);
  return {grey, grey, grey};
}

void set_colour(formats::Image& picture, std::size_t pixel, const Colour& colour) {
  std::copy(colour.begin(), colour.end(), picture.pixels.begin() + static_cast<std::ptrdiff_t>(3 * pixel));
}

// Pixels of one label that touch each other.
struct PixelRegion {
  int label = 0;
  std::vector<std::size_t> pixels;
};

std::vector<PixelRegion> regions_of(std::span<const int> labels, int width, int height, std::size_t least) {
  std::vector<PixelRegion> regions;
  std::vector<bool> seen(labels.size());
  for (std::size_t start = 0; start < labels.size(); ++start) {
    if (seen[start]) continue;
    PixelRegion region{labels[start], {start}};
    seen[start] = true;
    for (std::size_t next = 0; next < region.pixels.size(); ++next) {
      const int x = static_cast<int>(region.pixels[next] % static_cast<std::size_t>(width));
      const int y = static_cast<int>(region.pixels[next] / static_cast<std::size_t>(width));
      const auto visit = [&](int nx, int ny) {
        if (nx < 0 || ny < 0 || nx >= width || ny >= height) return;
        const std::size_t neighbour = pixel_index(nx, ny, width);
        if (seen[neighbour] || labels[neighbour] != region.label) return;
        seen[neighbour] = true;
        region.pixels.push_back(neighbour);
      };
      visit(x - 1, y);
      visit(x + 1, y);
      visit(x, y - 1);
      visit(x, y + 1);
    }
    if (region.label >= 0 && region.pixels.size() >= least) regions.push_back(std::move(region));
  }
  return regions;
}

// The region's pixel nearest to its centre of mass, so that a name stands on what it names.
std::pair<int, int> anchor_of(const PixelRegion& region, int width) {
  const auto x_of = [&](std::size_t at) { return static_cast<double>(at % static_cast<std::size_t>(width)); };
  const auto y_of = [&](std::size_t at) { return static_cast<double>(at / static_cast<std::size_t>(width)); };
  double sum_x = 0, sum_y = 0;
  for (const std::size_t at : region.pixels) {
    sum_x += x_of(at);
    sum_y += y_of(at);
  }
  const auto count = static_cast<double>(region.pixels.size());
  const auto nearest = std::min_element(region.pixels.begin(), region.pixels.end(), [&](std::size_t a, std::size_t b) {
    const auto distance = [&](std::size_t at) {
      return std::hypot(x_of(at) - sum_x / count, y_of(at) - sum_y / count);
    };
    return distance(a) < distance(b);
  });
  return {static_cast<int>(x_of(*nearest)), static_cast<int>(y_of(*nearest))};
}

struct Plate {
  int x0, y0, x1, y1;
  bool touches(const Plate& other) const { return x0 < other.x1 && x1 > other.x0 && y0 < other.y1 && y1 > other.y0; }
};

bool is_free(const Plate& plate, const std::vector<Plate>& taken) {
  return std::none_of(taken.begin(), taken.end(), [&](const Plate& other) { return plate.touches(other); });
}

}  // namespace

formats::Image heat_overlay(const formats::Image& picture, const at::Tensor& values, double low, double high,
                            double opacity) {
  require_same_size(picture, values.numel(), "values");
  const at::Tensor numbers = values.to(at::kFloat).contiguous();
  const float* number = numbers.const_data_ptr<float>();
  std::array<Colour, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = viridis(static_cast<double>(i) / 255);
  formats::Image result = picture;
  for (std::size_t i = 0; i < static_cast<std::size_t>(numbers.numel()); ++i) {
    const double value = high > low ? std::clamp((number[i] - low) / (high - low), 0.0, 1.0) : 0.5;
    const auto step = static_cast<std::size_t>(std::isnan(value) ? 0 : std::lround(value * 255));
    set_colour(result, i, mix(in_grey(colour_at(picture, i)), table[step], opacity));
  }
  return result;
}

formats::Image class_overlay(const formats::Image& picture, std::span<const int> labels,
                             std::span<const Colour> colours, const ClassStyle& style) {
  require_same_size(picture, static_cast<std::int64_t>(labels.size()), "classes");
  formats::Image result = picture;
  for (int y = 0; y < picture.height; ++y)
    for (int x = 0; x < picture.width; ++x) {
      const std::size_t at = pixel_index(x, y, picture.width);
      if (labels[at] < 0) continue;
      if (labels[at] >= static_cast<int>(colours.size()))
        throw Error({.doing = "drawing classes over a picture",
                     .found = "class " + std::to_string(labels[at]),
                     .expected = "one below " + std::to_string(colours.size())});
      const Colour& colour = colours[static_cast<std::size_t>(labels[at])];
      bool border = false;  // within `line` pixels to the left of or above another class
      for (int step = 1; step <= style.line && !border; ++step)
        border = (x + step < picture.width && labels[pixel_index(x + step, y, picture.width)] != labels[at]) ||
                 (y + step < picture.height && labels[pixel_index(x, y + step, picture.width)] != labels[at]);
      const Colour under = style.grey ? in_grey(colour_at(picture, at)) : colour_at(picture, at);
      set_colour(result, at, border ? mix({0, 0, 0}, colour, 0.25) : mix(under, colour, style.opacity));
    }
  return result;
}

formats::Image colour_image(const at::Tensor& channels) {
  formats::Image result = formats::blank_image(formats::ImageMode::kRGB, static_cast<int>(channels.size(2)),
                                               static_cast<int>(channels.size(1)));
  const at::Tensor bytes = channels.clamp(0, 1).mul(255).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  const auto* first = bytes.const_data_ptr<std::uint8_t>();
  std::copy(first, first + bytes.numel(), result.pixels.begin());
  return result;
}

void write_names(Canvas& canvas, int left, int top, std::span<const int> labels, int width, int height,
                 std::span<const std::string> names, const Font& font, std::span<const int> rank, double least_share) {
  const auto least = static_cast<std::size_t>(std::ceil(least_share * static_cast<double>(labels.size())));
  std::vector<PixelRegion> regions = regions_of(labels, width, height, least);
  const auto rank_of = [&](int label) { return rank.empty() ? 0 : rank[static_cast<std::size_t>(label)]; };
  std::stable_sort(regions.begin(), regions.end(), [&](const PixelRegion& a, const PixelRegion& b) {
    if (rank_of(a.label) != rank_of(b.label)) return rank_of(a.label) < rank_of(b.label);
    return a.pixels.size() > b.pixels.size();
  });
  const int edge = 2 * font.scale;
  std::vector<Plate> taken;
  for (const PixelRegion& region : regions) {
    const std::string name = Canvas::fitted(names[static_cast<std::size_t>(region.label)], font, width - 2 * edge);
    const int w = Canvas::width_of(name, font), h = font.height;
    const auto [x, y] = anchor_of(region, width);
    const int text_x = std::clamp(x - w / 2, edge, std::max(edge, width - w - edge));
    const int text_y = std::clamp(y - h / 2, edge, std::max(edge, height - h - edge));
    if (!is_free({text_x, text_y, text_x + w, text_y + h}, taken)) continue;
    taken.push_back({text_x - 3, text_y - 1, text_x + w + 3, text_y + h + 1});
    canvas.write(name, left + text_x, top + text_y, font, {255, 255, 255}, /*halo=*/true);
  }
}

void draw_boxes(Canvas& canvas, std::span<const LabelledBox> boxes, const Font& font, int line) {
  const int width = canvas.image().width, height = canvas.image().height;
  const auto bounds = [&](const ops::Box& box) {
    const auto clipped = [](double value, int limit) { return std::clamp(ops::round_half_even(value), 0, limit); };
    return Plate{clipped(box.x0, width), clipped(box.y0, height), clipped(box.x1, width), clipped(box.y1, height)};
  };
  for (const LabelledBox& box : boxes) {
    const auto [x0, y0, x1, y1] = bounds(box.box);
    canvas.frame(x0 - 1, y0 - 1, x1 - x0 + 2, y1 - y0 + 2, line + 2, {16, 20, 28});
    canvas.frame(x0, y0, x1 - x0, y1 - y0, line, box.colour);
  }
  const int margin = 3 * font.scale;
  const int plate_height = font.height + font.scale;
  std::vector<Plate> taken;
  for (const LabelledBox& box : boxes) {
    const auto [x0, y0, x1, y1] = bounds(box.box);
    const std::string text = Canvas::fitted(box.text, font, width - 2 * margin);
    const int w = Canvas::width_of(text, font) + 2 * margin;
    const auto place = [&, y0 = y0, y1 = y1](int x, int y) {
      x = std::clamp(x, 0, std::max(0, width - w));
      y = std::clamp(y, 0, std::max(0, height - plate_height));
      return Plate{x, y, x + w, y + plate_height};
    };
    // Above the box, inside its top, below it, inside its bottom; at its left, then at its right.
    std::vector<Plate> places;
    for (const int x : {x0, x1 - w})
      for (const int y : {y0 - plate_height, y0, y1, y1 - plate_height}) places.push_back(place(x, y));
    // In a crowd: the next free place further down or up.
    for (int step = 1; step * plate_height < height; ++step)
      for (const int y : {y0 + step * plate_height, y0 - (step + 1) * plate_height})
        for (const int x : {x0, x1 - w}) places.push_back(place(x, y));
    const auto found = std::find_if(places.begin(), places.end(), [&](const Plate& p) { return is_free(p, taken); });
    const Plate plate = found == places.end() ? places.front() : *found;
    taken.push_back(plate);
    canvas.fill(plate.x0, plate.y0, w, plate_height, box.colour);
    const bool dark_letters = lightness(box.colour) > 62;
    canvas.write(text, plate.x0 + margin, plate.y0, font, dark_letters ? Colour{16, 20, 28} : Colour{255, 255, 255});
  }
}

}  // namespace clipself::visualization
