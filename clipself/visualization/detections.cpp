#include "clipself/visualization/detections.h"

#include <fmt/format.h>

#include <map>

#include "clipself/base/error.h"
#include "clipself/visualization/overlays.h"
#include "clipself/visualization/sheet.h"

namespace clipself::visualization {
namespace {

/// The picture under a veil of each pixel's best mask.
formats::Image veiled(const formats::Image& picture, const at::Tensor& masks, const std::vector<Colour>& colours) {
  const std::int64_t height = masks.size(1), width = masks.size(2);
  const std::int64_t factor = width > 0 ? picture.width / width : 0;
  if (factor < 1 || width * factor != picture.width || height * factor != picture.height)
    throw Error({.doing = "drawing masks",
                 .found = fmt::format("{} x {} pixels", width, height),
                 .expected = fmt::format("those of the picture, {} x {}", picture.width, picture.height)});
  std::vector<int> labels(static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height), -1);
  const auto flat = masks.to(at::kBool).contiguous();
  for (std::int64_t i = masks.size(0) - 1; i >= 0; --i) {  // the best last, on top
    const bool* mask = flat.const_data_ptr<bool>() + i * height * width;
    for (std::int64_t y = 0; y < picture.height; ++y)
      for (std::int64_t x = 0; x < picture.width; ++x)
        if (mask[y / factor * width + x / factor])
          labels[static_cast<std::size_t>(y * picture.width + x)] = static_cast<int>(i);
  }
  return class_overlay(picture, labels, colours, {.opacity = 0.45, .grey = false});
}

}  // namespace

formats::Image draw_detections(const formats::Image& picture, const DrawnDetections& found) {
  const std::int64_t count = found.boxes.size(0);
  const auto boxes = found.boxes.to(at::kFloat).contiguous();
  const auto corners = boxes.accessor<float, 2>();
  std::map<std::int64_t, int> number_of;
  std::vector<Colour> colours;
  std::vector<LabelledBox> drawn;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = found.labels[i].item<std::int64_t>();
    const int number = number_of.emplace(label, static_cast<int>(number_of.size())).first->second;
    colours.push_back(distinct_colours(number + 1).back());
    drawn.push_back(
        {.box = {corners[i][0], corners[i][1], corners[i][2], corners[i][3]},
         .text = found.names.at(static_cast<std::size_t>(label)) +
                 (found.scores.defined() ? fmt::format(" {:.0f} %", 100 * found.scores[i].item<double>()) : ""),
         .colour = colours.back()});
  }
  const bool masks = found.masks.defined() && count > 0;
  const SheetStyle style(std::max(picture.width, picture.height));
  Canvas canvas(masks ? veiled(picture, found.masks, colours) : picture);
  draw_boxes(canvas, drawn, style.text, 2 * style.unit);
  return canvas.image();
}

}  // namespace clipself::visualization
