// Kinds i_resize, i_dataset, i_test_pipeline and i_train_pipeline_*: a detector's images, boxes and masks from the file
// to the batch.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/datasets/detection.h"
#include "clipself/datasets/transforms.h"
#include "clipself/formats/image.h"
#include "clipself/ops/image_resize.h"

namespace clipself::cli::verify {
namespace {

using nlohmann::ordered_json;

constexpr auto kBoxes = Tolerance::abs(1e-3);
constexpr const char* kDatasetFolder = "../i_dataset";

formats::Image image_of(const at::Tensor& pixels) {
  const at::Tensor packed = pixels.contiguous();
  auto image = formats::blank_image(formats::ImageMode::kRGB, static_cast<int>(packed.size(1)),
                                    static_cast<int>(packed.size(0)));
  std::copy_n(packed.const_data_ptr<std::uint8_t>(), image.pixels.size(), image.pixels.begin());
  return image;
}

/// uint8 (H, W, 3).
at::Tensor pixels_of(const formats::Image& image) {
  return at::tensor(at::ArrayRef<std::uint8_t>(image.pixels), at::kByte).view({image.height, image.width, 3});
}

at::Tensor reversed_channels(const at::Tensor& pixels) {
  return pixels.flip({-1});
}

/// Another libjpeg may differ by a step of 1.
bool is_jpeg(const std::string& name) {
  return name.ends_with(".jpg") || name.ends_with(".jpeg");
}

/// (x - mean) / std of the picture, 0 in the padding.
at::Tensor normalized(const at::Tensor& square, std::array<int, 2> content, const ordered_json& config,
                      const std::string& where) {
  const auto channel_values = [&](const char* key) {
    const auto values = value<std::array<double, 3>>(config, key, where);
    return at::tensor(at::ArrayRef<double>(values), at::kFloat).view({3, 1, 1});
  };
  const auto mean = channel_values("mean"), deviation = channel_values("std");
  at::Tensor out = at::zeros(square.sizes(), at::kFloat);
  const auto inside = [&](const at::Tensor& t) { return t.slice(1, 0, content[0]).slice(2, 0, content[1]); };
  inside(out).copy_((inside(square).to(at::kFloat) - mean) / deviation);
  return out;
}

int square_size(const ordered_json& config) {
  const int size = value<int>(config, "image_size", "config.json");
  if (size >= 1 && size <= 8192) return size;
  throw Error({.doing = "reading", .where = "config.json", .found = "image_size " + std::to_string(size)});
}

/// The scale factor as the original stores it: (w, h, w, h) in float32.
std::vector<float> scale_factor_of(std::array<int, 2> from, std::array<int, 2> to) {
  const auto across = static_cast<float>(static_cast<double>(to[0]) / from[0]);
  const auto down = static_cast<float>(static_cast<double>(to[1]) / from[1]);
  return {across, down, across, down};
}

void check_floats(Case& c, const std::string& what, const std::vector<float>& actual, const ordered_json& facts,
                  const std::string& key, const std::string& where) {
  c.check_value(what, at::tensor(at::ArrayRef<float>(actual), at::kFloat),
                at::tensor(at::ArrayRef<float>(value<std::vector<float>>(facts, key, where)), at::kFloat),
                Tolerance::abs(1e-7), key);
}

/// Pictures and annotations of the case beside a pipeline's, or of the case itself.
class DetectionFolder {
 public:
  DetectionFolder(const Case& c, const std::string& relative)
      : folder_(c.file(relative + "/gt.json").parent_path()),
        index_(datasets::read_coco(folder_ / "gt.json", {.segmentations = true})) {
    const auto config = c.json(relative + "/config.json");
    names_ = value<std::vector<std::string>>(config, "class_names_80", "config.json");
  }
  const datasets::AnnotationIndex& index() const { return index_; }
  const std::vector<std::string>& names() const { return names_; }
  const datasets::ImageRecord& record(std::size_t i) const {
    if (i < index_.images.size()) return index_.images[i];
    throw Error({.doing = "looking up image " + std::to_string(i), .where = (folder_ / "gt.json").string()});
  }
  bool has_picture(std::size_t i) const {
    std::error_code ignored;
    return std::filesystem::exists(folder_ / record(i).file_name, ignored);
  }
  formats::Image picture(std::size_t i) const {
    return formats::to_rgb(formats::read_image(datasets::resolve_below(folder_, record(i).file_name)));
  }

 private:
  std::filesystem::path folder_;
  datasets::AnnotationIndex index_;
  std::vector<std::string> names_;
};

/// Those of the parsed things that a sample uses.
datasets::DetectionObjects chosen(const datasets::DetectionObjects& all, const std::vector<std::int64_t>& which,
                                  const std::string& where) {
  for (const std::int64_t i : which) {
    if (i >= 0 && i < all.labels.numel()) continue;
    throw Error(
        {.doing = "reading", .where = where, .found = fmt::format("annotation {} of {}", i, all.labels.numel())});
  }
  const auto rows = at::tensor(at::ArrayRef<std::int64_t>(which), at::kLong);
  datasets::DetectionObjects some{all.boxes.index_select(0, rows), all.labels.index_select(0, rows), all.crowds};
  if (all.mask)
    some.mask = [mask = all.mask, which](std::int64_t i) { return mask(which.at(static_cast<std::size_t>(i))); };
  return some;
}

void check_sample(Case& c, std::size_t k, const ordered_json& facts, const ordered_json& config,
                  const DetectionFolder& data, bool with_masks) {
  const auto where = fmt::format("config.json, samples[{}]", k);
  const auto image_number = value<std::size_t>(facts, "image", where);
  const int size = square_size(config);
  const auto picture = data.picture(image_number);
  const datasets::CategoryLabels classes(data.index(), data.names());
  const auto objects = chosen(datasets::detection_objects(data.index(), image_number, classes, with_masks),
                              value<std::vector<std::int64_t>>(facts, "annotations", where), where);
  const auto offset = value<std::array<int, 2>>(facts, "crop_offset_yx", where);
  const datasets::Augmentation augmentation{.ratio = value<double>(facts, "ratio", where),
                                            .crop_x = offset[1],
                                            .crop_y = offset[0],
                                            .flip = facts.contains("flip") && value<bool>(facts, "flip", where)};

  const std::array<int, 2> from{picture.width, picture.height};
  const auto to = datasets::augmented_size(picture.width, picture.height, size, augmentation.ratio);
  const ops::Window window{offset[1], offset[0], std::min(to[0], size), std::min(to[1], size)};
  c.check_json(fmt::format("new_hw.{}", k), {to[1], to[0]}, member(facts, "new_hw", where), "new_hw");
  c.check_json(fmt::format("crop_hw.{}", k), {window.height, window.width}, member(facts, "crop_hw", where), "crop_hw");
  check_floats(c, fmt::format("scale_factor.{}", k), scale_factor_of(from, to), facts, "scale_factor", where);
  const auto named = [k](const char* name) { return fmt::format("{}.{}", name, k); };
  c.check(named("boxes_resized"), datasets::resize_boxes(objects.boxes, from, to), kBoxes, "boxes_resized.*");
  const auto pixels = is_jpeg(data.record(image_number).file_name) ? Tolerance::abs(1) : Tolerance::exact();
  if (c.expects(named("img_resized"))) {
    const auto resized = pixels_of(ops::resize_bilinear_opencv(picture, to[0], to[1]));
    c.check(named("img_resized"), reversed_channels(resized), pixels, "img_resized.*");
  }
  const auto cropped = datasets::crop_objects(objects, from, to, window);
  c.check(named("boxes_cropped"), cropped.boxes, kBoxes, "boxes_cropped.*");
  c.check(named("labels_cropped"), cropped.labels, Tolerance::exact(), "labels_cropped.*");

  const auto sample = datasets::augment(picture, objects, augmentation, size);
  c.check_json(named("dropped"), !sample.has_value(), member(facts, "dropped", where), "dropped");
  if (!sample) return;
  const auto [height, width] = sample->content;
  c.check_json(named("img_shape"), {height, width, 3}, member(facts, "img_shape", where), "img_shape");
  c.check_json(named("pad_shape"), {sample->image.size(1), sample->image.size(2), 3}, member(facts, "pad_shape", where),
               "pad_shape");
  c.check_json(named("num_gt"), sample->labels.numel(), member(facts, "num_gt", where), "num_gt");
  const auto values = is_jpeg(data.record(image_number).file_name) ? Tolerance::abs(0.02) : Tolerance::abs(1e-5);
  c.check(named("img"), normalized(sample->image, sample->content, config, "config.json"), values, "img.*");
  c.check(named("gt_bboxes"), sample->boxes, kBoxes, "gt_bboxes.*");
  c.check(named("gt_labels"), sample->labels, Tolerance::exact(), "gt_labels.*");
  if (with_masks) c.check(named("gt_masks"), sample->masks, Tolerance::exact(), "gt_masks.*");
}

void check_pipeline(Case& c, bool with_masks) {
  c.load_expected("expected.safetensors");
  const auto config = c.json("config.json");
  const DetectionFolder data(c, kDatasetFolder);
  const auto& samples = member(config, "samples", "config.json");
  for (std::size_t k = 0; k < samples.size(); ++k) check_sample(c, k, samples[k], config, data, with_masks);
}

}  // namespace

void verify_detection_resize(Case& c) {
  c.load_expected("expected.safetensors");
  const auto inputs = c.tensors("inputs.safetensors");
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto& cases = member(config, "cases", "config.json");
  for (std::size_t k = 0; k < cases.size(); ++k) {
    const auto place = fmt::format("config.json, cases[{}]", k);
    const auto source = tensor(inputs, fmt::format("src.{}", k), where, {-1, -1, 3});
    const auto scale = value<std::array<int, 2>>(cases[k], "scale", place);
    const std::array<int, 2> from{static_cast<int>(source.size(1)), static_cast<int>(source.size(0))};
    const auto to = ops::rescale_size(from[0], from[1], scale[0], scale[1]);
    c.check_json(fmt::format("new_hw.{}", k), {to[1], to[0]}, member(cases[k], "new_hw", place), "new_hw");
    check_floats(c, fmt::format("scale_factor.{}", k), scale_factor_of(from, to), cases[k], "scale_factor", place);
    c.check(fmt::format("bilinear.{}", k), pixels_of(ops::resize_bilinear_opencv(image_of(source), to[0], to[1])),
            Tolerance::exact(), "bilinear.*");
    const auto mask_name = fmt::format("mask.{}", k);
    if (inputs.find(mask_name) == nullptr) continue;
    const auto mask = tensor(inputs, mask_name, where, {source.size(0), source.size(1)});
    c.check(fmt::format("nearest.{}", k),
            ops::resize_masks_opencv(mask.unsqueeze(0), to[0], to[1], {0, 0, to[0], to[1]})[0], Tolerance::exact(),
            "nearest.*");
  }
  if (c.expects("bilinear.free")) {
    const auto shape = c.expected_shape("bilinear.free");
    const auto source = image_of(tensor(inputs, "src.free", where, {-1, -1, 3}));
    if (shape.size() == 3)
      c.check("bilinear.free",
              pixels_of(ops::resize_bilinear_opencv(source, static_cast<int>(shape[1]), static_cast<int>(shape[0]))),
              Tolerance::exact());
  }
  const auto sizes = tensor(inputs, "size.hw", where, {-1, 2}).to(at::kLong).contiguous();
  const auto scales = tensor(inputs, "size.scale", where, {sizes.size(0)}).to(at::kInt).contiguous();
  at::Tensor rescaled = at::empty(sizes.sizes(), at::kLong);
  for (std::int64_t i = 0; i < sizes.size(0); ++i) {
    const int scale = scales[i].item<int>();
    const auto [width, height] = ops::rescale_size(sizes[i][1].item<int>(), sizes[i][0].item<int>(), scale, scale);
    rescaled[i][0] = height;
    rescaled[i][1] = width;
  }
  c.check("size.new_hw", rescaled, Tolerance::exact());
}

void verify_detection_dataset(Case& c) {
  c.load_expected("expected.safetensors");
  const DetectionFolder data(c, ".");
  const auto& index = data.index();
  const datasets::DetectionDataset dataset(index, c.folder(), {.masks = true, .class_names = data.names()});
  const auto& classes = dataset.classes();

  std::vector<std::int64_t> category_ids, kept, groups, all;
  ordered_json labels = ordered_json::object();
  for (const auto& category : classes.categories()) {
    labels[std::to_string(category.id)] = category_ids.size();
    category_ids.push_back(category.id);
  }
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    kept.push_back(index.images[dataset.position(i)].id);
    groups.push_back(dataset.group(i));
  }
  for (const auto& image : index.images) all.push_back(image.id);
  const auto check_list = [&c](const char* name, const std::vector<std::int64_t>& values) {
    c.check(name, at::tensor(at::ArrayRef<std::int64_t>(values), at::kLong), Tolerance::exact());
  };
  check_list("cat_ids", category_ids);
  check_list("kept_train", kept);
  check_list("img_ids_test", all);
  check_list("group_flag", groups);
  c.check_json("cat2label", labels, member(c.json("config.json"), "cat2label", "config.json"));

  for (std::size_t i = 0; i < index.images.size(); ++i) {
    const auto named = [i](const char* name) { return fmt::format("{}.{}", name, i); };
    const auto objects = datasets::detection_objects(index, i, classes, /*with_masks=*/true);
    c.check(named("bboxes"), objects.boxes, Tolerance::exact(), "bboxes.*");
    c.check(named("labels"), objects.labels, Tolerance::exact(), "labels.*");
    c.check(named("bboxes_ignore"), objects.crowds, Tolerance::exact(), "bboxes_ignore.*");
    if (data.has_picture(i)) {
      const auto pixels = is_jpeg(data.record(i).file_name) ? Tolerance::abs(1) : Tolerance::exact();
      c.check(named("img"), reversed_channels(pixels_of(data.picture(i))), pixels, "img.*");
    }
    if (!c.expects(named("masks"))) continue;
    std::vector<at::Tensor> masks;
    for (std::int64_t k = 0; k < objects.labels.numel(); ++k) masks.push_back(objects.mask(k));
    const auto& record = index.images[i];
    c.check(named("masks"), masks.empty() ? at::empty({0, record.height, record.width}, at::kByte) : at::stack(masks),
            Tolerance::exact(), "masks.*");
  }
}

void verify_detection_test_pipeline(Case& c) {
  c.load_expected("expected.safetensors");
  const auto config = c.json("config.json");
  const int size = square_size(config);
  const DetectionFolder data(c, kDatasetFolder);
  // The original's ImageNet statistics, which this kind's configuration leaves unsaid.
  ordered_json statistics{{"mean", {123.675, 116.28, 103.53}}, {"std", {58.395, 57.12, 57.375}}};
  for (const char* key : {"mean", "std"})
    if (config.contains(key)) statistics[key] = config[key];
  const auto& meta = member(config, "meta", "config.json");
  for (std::size_t i = 0; i < meta.size(); ++i) {
    const auto where = fmt::format("config.json, meta[{}]", i);
    const auto made = datasets::detection_image(data.picture(i), size);
    const auto named = [i](const char* name) { return fmt::format("{}.{}", name, i); };
    c.check_json(named("ori_shape"), {made.original[0], made.original[1], 3}, member(meta[i], "ori_shape", where),
                 "ori_shape");
    c.check_json(named("img_shape"), {made.content[0], made.content[1], 3}, member(meta[i], "img_shape", where),
                 "img_shape");
    c.check_json(named("pad_shape"), {made.image.size(1), made.image.size(2), 3}, member(meta[i], "pad_shape", where),
                 "pad_shape");
    check_floats(c, named("scale_factor"), {made.scale_factor.begin(), made.scale_factor.end()}, meta[i],
                 "scale_factor", where);
    const auto values = is_jpeg(data.record(i).file_name) ? Tolerance::abs(0.02) : Tolerance::abs(1e-5);
    c.check(named("img"), normalized(made.image, made.content, statistics, "config.json"), values, "img.*");
  }
}

void verify_detection_pipeline_boxes(Case& c) {
  check_pipeline(c, /*with_masks=*/false);
}

void verify_detection_pipeline_masks(Case& c) {
  check_pipeline(c, /*with_masks=*/true);
}

}  // namespace clipself::cli::verify
