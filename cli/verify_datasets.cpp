// Kind datasets: grid boxes, proposal boxes, region-text boxes, whole training items.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <regex>

#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/dataset.h"
#include "clipself/datasets/regions.h"
#include "clipself/datasets/transforms.h"
#include "clipself/formats/image.h"

namespace clipself::cli::verify {
namespace {

constexpr auto kRelative = Tolerance::abs(1e-6);
constexpr auto kPixels = Tolerance::abs(1e-4);

/// The case's pictures and settings.
class Data {
 public:
  explicit Data(const Case& c)
      : info(c.json("info.json")),
        where(c.file("info.json").string()),
        instances(datasets::read_coco(c.file("instances.json"))),
        image_size(value<int>(info, "det_image_size", where)),
        crop_size(value<int>(info, "crop_size", where)),
        root_(c.file("images")) {
    if (image_size < 1 || image_size > 8192 || crop_size < 1 || crop_size > 8192)
      throw Error({.doing = "reading", .where = where, .found = "an unusable image or crop size"});
  }

  const formats::Image& image(const datasets::AnnotationIndex& index, std::size_t i) {
    if (i >= index.images.size())
      throw Error({.doing = "looking for image " + std::to_string(i), .where = where, .found = "fewer images"});
    const auto& file = index.images[i].file_name;
    auto it = images_.find(file);
    if (it == images_.end())
      it = images_.emplace(file, formats::read_image(datasets::resolve_below(root_, file))).first;
    return it->second;
  }

  /// The item of image `i` with these regions.
  datasets::Sample item(std::size_t i, std::span<const datasets::Region> regions, std::int64_t rows) {
    return datasets::make_sample(image(instances, i), regions, static_cast<int>(rows), image_size, crop_size);
  }

  nlohmann::ordered_json info;
  std::string where;
  datasets::AnnotationIndex instances;
  int image_size;
  int crop_size;

 private:
  std::filesystem::path root_;
  std::map<std::string, formats::Image> images_;
};

at::Tensor normalized(const at::Tensor& pixels) {
  return datasets::normalize(pixels, {});
}

/// 0, 1, ..., n-1, or the other way round: the cases switch shuffling off, or replace it by a reversal.
std::vector<int> fixed_order(std::size_t n, bool reversed) {
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  if (reversed) std::reverse(order.begin(), order.end());
  return order;
}

std::vector<int> order_of(const datasets::GridChoice& choice, bool reversed) {
  return fixed_order(static_cast<std::size_t>(choice.rows) * static_cast<std::size_t>(choice.columns), reversed);
}

/// Numbers in a tensor's name are small; anything else is no name of ours.
int small_number(const std::string& digits) {
  return digits.size() <= 4 ? std::stoi(digits) : 0;
}

int total_cells(int split) {
  int cells = 0;
  for (const auto& choice : datasets::grid_choices(split)) cells += choice.rows * choice.columns;
  return cells;
}

void check_split(Case& c, const Data& data, int split) {
  const auto choices = datasets::grid_choices(split);
  std::vector<std::int64_t> pairs, offsets{0};
  std::vector<at::Tensor> boxes;
  for (const auto& choice : choices) {
    pairs.insert(pairs.end(), {choice.rows, choice.columns});
    boxes.push_back(datasets::grid_boxes(choice));
    offsets.push_back(offsets.back() + boxes.back().size(0));
  }
  const auto name = fmt::format("grid.split{}", split);
  c.check(name + ".choices", at::tensor(pairs, at::kLong).view({-1, 2}), Tolerance::exact());
  c.check(name + ".boxes", at::cat(boxes), kRelative);
  c.check(name + ".offsets", at::tensor(offsets, at::kLong), Tolerance::exact());
  if (const auto key = name + ".num_choices"; data.info.contains(key))
    c.check_number(key, static_cast<double>(choices.size()), value<double>(data.info, key, data.where),
                   Tolerance::exact());
}

/// Crop and pixel boxes of image 0 for every choice of a split, one after the other.
void check_crop_boxes(Case& c, Data& data, const std::vector<int>& splits, const std::string& scale_text) {
  const auto crop_name = "grid.crop_boxes.scale" + scale_text, pixel_name = "grid.pixel_boxes.scale" + scale_text;
  const auto shape = c.expected_shape(c.expects(crop_name) ? crop_name : pixel_name);
  // Which of the case's splits the table is of shows in its number of rows.
  int split = splits.empty() ? 6 : splits.front();
  for (const int candidate : splits)
    if (!shape.empty() && total_cells(candidate) == shape[0]) split = candidate;
  const auto& image = data.image(data.instances, 0);
  std::vector<double> crops, boxes;
  for (const auto& choice : datasets::grid_choices(split)) {
    const auto order = order_of(choice, false);
    for (const auto& region : datasets::grid_regions(image.width, image.height, choice, std::stod(scale_text),
                                                     static_cast<int>(order.size()), order)) {
      crops.insert(crops.end(), {region.crop.x0, region.crop.y0, region.crop.x1, region.crop.y1});
      boxes.insert(boxes.end(), {region.box.x0, region.box.y0, region.box.x1, region.box.y1});
    }
  }
  const auto table = [](std::vector<double>& rows) { return at::tensor(rows, at::kDouble).view({-1, 4}); };
  c.check(crop_name, table(crops), kPixels);
  c.check(pixel_name, table(boxes), kPixels);
  // Pixels are cut at the corners rounded half to even, and there nothing may differ.
  c.check_rounded(crop_name, table(crops));
}

void check_item(Case& c, const std::string& name, const datasets::Sample& sample) {
  c.check(name + ".boxes", sample.boxes, kRelative);
  if (c.expects(name + ".valid_crops")) c.check(name + ".valid_crops", normalized(sample.crops), kRelative);
}

std::int64_t rows_of(const Case& c, const std::string& table, std::int64_t otherwise) {
  const auto shape = c.expected_shape(table);
  return shape.empty() || shape[0] < 1 || shape[0] > 10000 ? otherwise : shape[0];
}

constexpr std::int64_t kMaxBoxes = 20;

// grid.item.3x4.scale1.0[.reversed].image0
void check_grid_item(Case& c, Data& data, const std::string& name, const std::smatch& part) {
  const datasets::GridChoice choice{small_number(part[1]), small_number(part[2])};
  if (choice.rows < 1 || choice.columns < 1 || choice.rows > 100 || choice.columns > 100) return;
  const auto i = static_cast<std::size_t>(small_number(part[5]));
  const auto& image = data.image(data.instances, i);
  const auto rows = rows_of(c, name + ".boxes", kMaxBoxes);
  const auto regions = datasets::grid_regions(image.width, image.height, choice, std::stod(part[3]),
                                              static_cast<int>(rows), order_of(choice, part[4].matched));
  check_item(c, name, data.item(i, regions, rows));
}

// proposals[.min20max40].image0[.reversed]
void check_proposal_item(Case& c, Data& data, const std::string& name, const std::smatch& part) {
  const auto i = static_cast<std::size_t>(small_number(part[3]));
  const auto& image = data.image(data.instances, i);
  datasets::ProposalOptions options;
  options.max_boxes = data.info.contains("proposals.max_anns") ? value<int>(data.info, "proposals.max_anns", data.where)
                                                               : static_cast<int>(kMaxBoxes);
  if (part[1].matched) {
    options.min_size = small_number(part[1]);
    options.max_size = small_number(part[2]);
  }
  const auto annotations = data.instances.annotations_of(i);
  const auto regions = datasets::proposal_regions(image.width, image.height, annotations, options,
                                                  fixed_order(annotations.size(), part[4].matched));
  const auto sample = data.item(i, regions, options.max_boxes);
  check_item(c, name, sample);
  c.check(name + ".image", normalized(sample.image), kRelative);
}

/// Boxes with label and valid flag: the items of region-text training.
void check_region_text(Case& c, Data& data) {
  const auto index = datasets::read_coco(c.file("region_text.json"));
  if (data.info.contains("regionclip.cat_id2label")) {
    nlohmann::ordered_json labels = nlohmann::ordered_json::object();
    for (const auto& category : index.categories_by_label())
      labels[std::to_string(category.id)] = index.label_of(category.id);
    c.check_json("regionclip.cat_id2label", labels, data.info["regionclip.cat_id2label"]);
  }
  const auto ids = value<std::vector<std::int64_t>>(data.info, "regionclip.image_ids", data.where);
  const int rows = value<int>(data.info, "regionclip.max_anns", data.where);
  if (rows < 1 || rows > 10000)
    throw Error({.doing = "reading", .where = data.where, .found = "an unusable regionclip.max_anns"});
  for (std::size_t item = 0; item < ids.size(); ++item) {
    const auto found = std::find_if(index.images.begin(), index.images.end(),
                                    [&](const auto& image) { return image.id == ids[item]; });
    if (found == index.images.end())
      throw Error({.doing = "looking for image " + std::to_string(ids[item]),
                   .where = c.file("region_text.json").string(),
                   .found = "none"});
    const auto i = static_cast<std::size_t>(found - index.images.begin());
    const auto sample = datasets::make_sample(data.image(index, i), datasets::labelled_regions(index, i, rows), rows,
                                              data.image_size, data.crop_size, /*labelled=*/true);
    c.check(fmt::format("regionclip.item{}.boxes", item), sample.boxes, kRelative);
  }
}

}  // namespace

void verify_datasets(Case& c) {
  static const std::regex split_name(R"(grid\.split(\d+)\..*)"),
      scale_name(R"(grid\.(?:crop|pixel)_boxes\.scale(\d{1,3}\.\d{1,6}))"), image_name(R"(grid\.image(\d+))"),
      grid_name(R"(grid\.item\.(\d+)x(\d+)\.scale(\d{1,3}\.\d{1,6})(\.reversed)?\.image(\d+))"),
      proposal_name(R"(proposals(?:\.min(\d+)max(\d+))?\.image(\d+)(\.reversed)?)");
  Data data(c);
  c.load_expected("expected.safetensors");

  // What to compute is said by the expected names alone: "<item>.boxes", "<item>.valid_crops" and the like.
  std::set<int> splits;
  std::set<std::string> scales, items;
  bool region_text = false;
  for (const auto& name : c.expected_names()) {
    std::smatch part;
    if (std::regex_match(name, part, split_name))
      splits.insert(small_number(part[1]));
    else if (std::regex_match(name, part, scale_name))
      scales.insert(part[1]);
    else if (name.starts_with("regionclip."))
      region_text = true;
    else if (std::regex_match(name, part, image_name))
      items.insert(name);
    else
      items.insert(name.substr(0, name.rfind('.')));
  }
  for (const int split : splits)
    if (split >= 1 && split <= 64) check_split(c, data, split);
  for (const auto& scale : scales) check_crop_boxes(c, data, {splits.begin(), splits.end()}, scale);
  for (const auto& item : items) {
    std::smatch part;
    if (std::regex_match(item, part, image_name))
      c.check(item, normalized(data.item(static_cast<std::size_t>(small_number(part[1])), {}, 1).image), kRelative);
    else if (std::regex_match(item, part, grid_name))
      check_grid_item(c, data, item, part);
    else if (std::regex_match(item, part, proposal_name))
      check_proposal_item(c, data, item, part);
  }
  if (region_text) check_region_text(c, data);
}

}  // namespace clipself::cli::verify
