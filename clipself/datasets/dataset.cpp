#include "clipself/datasets/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"

namespace clipself::datasets {
namespace {

// The original takes anything smaller for a broken picture.
constexpr int kMinSide = 10;

void require(bool holds, const char* what, const std::string& found, const char* expected) {
  if (!holds) throw Error({.doing = "setting up the data set", .where = what, .found = found, .expected = expected});
}

void check(const DistillOptions& options) {
  const auto positive = [](int value, const char* what) {
    require(value >= 1, what, std::to_string(value), "at least 1");
  };
  positive(options.image_size, "image size");
  positive(options.crop_size, "crop size");
  positive(options.max_split, "max split");
  positive(options.proposals.max_boxes, "max boxes");
  require(options.train_ratio > 0 && options.train_ratio <= 1, "train ratio", std::to_string(options.train_ratio),
          "a number above 0, up to 1");
  require(options.proposals.crop_scale > 0, "crop scale", std::to_string(options.proposals.crop_scale),
          "a positive number");
}

void check_annotations(const AnnotationIndex& index, bool labelled) {
  for (std::size_t i = 0; i < index.images.size(); ++i) {
    for (const Annotation& annotation : index.annotations_of(i)) {
      if (!annotation.has_bbox()) {
        throw Error({.doing = "setting up the data set",
                     .where = index.source,
                     .found = "annotation " + std::to_string(annotation.id) + " of image " +
                              std::to_string(index.images[i].id) + " without a bbox",
                     .expected = "boxes to take regions from"});
      }
      if (labelled) index.label_of(annotation.category_id);
    }
  }
}

/// One behind the other along the first dimension (`joined`) or along a new one.
at::Tensor stack_bytes(const std::vector<at::Tensor>& parts, bool joined) {
  auto shape = parts.front().sizes().vec();
  if (joined) shape.erase(shape.begin());
  std::int64_t count = joined ? 0 : static_cast<std::int64_t>(parts.size());
  for (const auto& part : parts) {
    TORCH_CHECK(at::IntArrayRef(shape) == part.sizes().slice(joined ? 1 : 0),
                "samples of different sizes: ", part.sizes(), " and ", parts.front().sizes());
    if (joined) count += part.size(0);
  }
  shape.insert(shape.begin(), count);
  at::Tensor out = at::empty(shape, at::kByte);
  auto* to = out.mutable_data_ptr<std::uint8_t>();
  for (const auto& part : parts) {
    if (part.numel() == 0) continue;
    std::memcpy(to, part.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(part.numel()));
    to += part.numel();
  }
  return out;
}

/// Boxes (n, 4) and labels (n), undefined without a column of them, of a table's valid rows.
std::pair<at::Tensor, at::Tensor> valid_rows(const at::Tensor& table) {
  const std::int64_t columns = table.size(1);
  const bool labelled = columns > 5;
  const auto* rows = table.const_data_ptr<float>();
  std::vector<float> boxes;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < table.size(0); ++i, rows += columns) {
    if (rows[columns - 1] <= 0.5F) continue;
    boxes.insert(boxes.end(), rows, rows + 4);
    if (labelled) labels.push_back(static_cast<std::int64_t>(rows[4]));
  }
  const auto count = static_cast<std::int64_t>(boxes.size() / 4);
  at::Tensor valid = at::empty({count, 4}, at::kFloat);
  std::copy(boxes.begin(), boxes.end(), valid.mutable_data_ptr<float>());
  if (!labelled) return {valid, {}};
  at::Tensor classes = at::empty({count}, at::kLong);
  std::copy(labels.begin(), labels.end(), classes.mutable_data_ptr<std::int64_t>());
  return {valid, classes};
}

}  // namespace

Batch collate(std::vector<Sample> samples) {
  TORCH_CHECK(!samples.empty(), "a batch of no samples");
  Batch batch;
  std::vector<at::Tensor> images;
  std::vector<at::Tensor> crops;
  for (const Sample& sample : samples) {
    batch.image_ids.push_back(sample.image_id);
    batch.content.push_back(sample.content);
    batch.masks.push_back(sample.masks);
    images.push_back(sample.image);
    if (sample.crops.defined()) crops.push_back(sample.crops);
    const bool is_table = !sample.labels.defined();
    auto [boxes, labels] = is_table ? valid_rows(sample.boxes) : std::pair(sample.boxes, sample.labels);
    batch.boxes.push_back(std::move(boxes));
    batch.labels.push_back(std::move(labels));
  }
  TORCH_CHECK(crops.empty() || crops.size() == samples.size(), "a batch of samples with and without crops");
  batch.images = stack_bytes(images, /*joined=*/false);
  batch.crops = crops.empty() ? at::empty({0, 3, 0, 0}, at::kByte) : stack_bytes(crops, /*joined=*/true);
  return batch;
}

std::string fingerprint_of(const AnnotationIndex& index, std::span<const std::size_t> images) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  const auto add = [&hash](const std::string& text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  };
  for (const std::size_t position : images)
    add(fmt::format("{}:{}\n", index.images[position].file_name, index.annotations_of(position).size()));
  return fmt::format("{} images, {:016x}", images.size(), hash);
}

std::string fingerprint_of(const AnnotationIndex& index) {
  std::vector<std::size_t> all(index.images.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return fingerprint_of(index, all);
}

Sample make_sample(const formats::Image& image, std::span<const Region> regions, int max_boxes, int image_size,
                   int crop_size, bool labelled, bool crops_of_labelled) {
  Sample sample;
  sample.image = to_tensor(resize_longest(image, image_size));
  const double scale = longest_scale(image.width, image.height, image_size);
  const std::int64_t columns = labelled ? 6 : 5;
  const bool with_crops = !labelled || crops_of_labelled;
  const std::int64_t crop_count = with_crops ? static_cast<std::int64_t>(regions.size()) : 0;
  sample.boxes = at::zeros({max_boxes, columns}, at::kFloat);
  sample.crops = at::empty({crop_count, 3, crop_size, crop_size}, at::kByte);
  auto* rows = sample.boxes.mutable_data_ptr<float>();
  auto* crops = sample.crops.mutable_data_ptr<std::uint8_t>();
  for (const Region& region : regions) {
    TORCH_CHECK(region.row >= 0 && region.row < max_boxes, "region row ", region.row, " of ", max_boxes);
    float* row = rows + region.row * columns;
    const auto box = normalized_box(region.box, scale, image_size);
    std::copy(box.begin(), box.end(), row);
    if (labelled) row[4] = static_cast<float>(region.label);
    row[columns - 1] = 1.0F;
    if (!with_crops) continue;
    write_planes(crop_and_resize(image, region.crop, crop_size), crops);
    crops += std::int64_t{3} * crop_size * crop_size;
  }
  return sample;
}

DistillDataset::DistillDataset(AnnotationIndex index, std::filesystem::path image_root, DistillOptions options)
    : index_(std::move(index)), image_root_(std::move(image_root)), options_(options) {
  check(options_);
  choices_ = grid_choices(options_.max_split);
  const bool labelled = options_.regions == RegionKind::kLabelled;
  if (options_.regions != RegionKind::kGrid) check_annotations(index_, labelled);
  for (std::size_t i = 0; i < index_.images.size(); ++i) {
    if (!labelled || !index_.annotations_of(i).empty()) chosen_.push_back(i);
  }
  require(!chosen_.empty(), "images", labelled ? "none with annotations" : "none", "at least one");
  if (options_.train_ratio < 1) {
    Rng rng(options_.seed);
    rng.shuffle(std::span(chosen_));
    const auto kept = static_cast<std::size_t>(static_cast<double>(chosen_.size()) * options_.train_ratio);
    chosen_.resize(std::max<std::size_t>(kept, 1));
    std::sort(chosen_.begin(), chosen_.end());
  }
}

std::string DistillDataset::fingerprint() const {
  return fingerprint_of(index_, chosen_);
}

std::int64_t DistillDataset::size() const {
  return static_cast<std::int64_t>(chosen_.size());
}

Sample DistillDataset::get(std::int64_t index, Rng& rng) const {
  const std::size_t position = chosen_.at(static_cast<std::size_t>(index));
  const ImageRecord& record = index_.images[position];
  const auto path = resolve_below(image_root_, record.file_name);
  const formats::Image image = formats::read_image(path, {.apply_exif_orientation = options_.apply_exif_orientation});
  if (image.width < kMinSide || image.height < kMinSide) {
    throw Error({.doing = "reading image",
                 .where = path.string(),
                 .found = std::to_string(image.width) + " x " + std::to_string(image.height) + " pixels",
                 .expected = "at least 10 x 10"});
  }
  const int max_boxes = options_.proposals.max_boxes;
  std::vector<Region> regions;
  switch (options_.regions) {
    case RegionKind::kGrid: {
      const GridChoice choice = choices_[rng.below(choices_.size())];
      const auto order = random_order(choice.rows * choice.columns, rng);
      regions = grid_regions(image.width, image.height, choice, options_.grid_crop_scale, max_boxes, order);
      break;
    }
    case RegionKind::kProposals: {
      const auto annotations = index_.annotations_of(position);
      const auto order = random_order(static_cast<int>(annotations.size()), rng);
      regions = proposal_regions(image.width, image.height, annotations, options_.proposals, order);
      break;
    }
    case RegionKind::kLabelled:
      regions = labelled_regions(index_, position, max_boxes);
      for (Region& region : regions)
        region.crop = enlarged_crop(region.box, options_.proposals.crop_scale, image.width, image.height);
      break;
  }
  Sample sample = make_sample(image, regions, max_boxes, options_.image_size, options_.crop_size,
                              options_.regions == RegionKind::kLabelled, options_.crops_of_labelled);
  sample.image_id = record.id;
  return sample;
}

}  // namespace clipself::datasets
