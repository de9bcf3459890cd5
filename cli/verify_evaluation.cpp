// Kind evaluation: zero-shot classification of boxes, crops and masks on a small panoptic set.
#include "cli/verify_evaluation.h"

#include <fmt/format.h>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "clipself/base/error.h"
#include "clipself/formats/npy.h"

namespace clipself::cli::verify {

datasets::PanopticDataset panoptic_data(const Case& c, const std::string& folder, int image_size, int crop_size,
                                        int downsample_factor) {
  if (image_size < 1 || image_size > 8192 || crop_size < 1 || crop_size > 8192 || downsample_factor < 1 ||
      downsample_factor > image_size)
    throw Error({.doing = "reading reference case", .where = c.folder().string(), .found = "unusable image sizes"});
  datasets::PanopticOptions options;
  options.image_size = image_size;
  options.crop_size = crop_size;
  options.downsample_factor = downsample_factor;
  options.masked_crops = true;
  return datasets::PanopticDataset(datasets::read_coco_panoptic(c.file(folder + "/panoptic.json")),
                                   c.file(folder + "/images"), c.file(folder + "/panoptic"), options);
}

at::Tensor class_embeddings(const Case& c, const std::string& folder) {
  return formats::read_npy(c.file(folder + "/embeddings.npy"));
}

namespace {

/// A table with the original's fixed number of rows, zero where a segment does not count.
at::Tensor table(const at::Tensor& values, const std::vector<int>& rows, std::int64_t height) {
  auto shape = values.sizes().vec();
  shape[0] = height;
  auto full = at::zeros(shape, values.options());
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] < height) full[rows[i]].copy_(values[static_cast<std::int64_t>(i)]);
  return full;
}

void check_item(Case& c, const datasets::PanopticSample& sample, const std::string& item, std::int64_t rows) {
  const auto count = static_cast<std::int64_t>(sample.rows.size());
  const auto as_column = [](const at::Tensor& values) { return values.to(at::kFloat).unsqueeze(1); };
  const auto columns = at::cat({sample.boxes.to(at::kFloat), as_column(sample.labels), at::ones({count, 1}),
                                as_column(sample.sizes), as_column(sample.is_thing)},
                               1);
  // x0 y0 x1 y1 label valid size is_thing; the size, in square pixels, is asked for less exactly than the rest.
  c.check_columns(item + ".boxes", table(columns, sample.rows, rows), {0, 1, 2, 3, 4, 5, 7}, Tolerance::abs(1e-6));
  c.check_columns(item + ".boxes", table(columns, sample.rows, rows), {6}, Tolerance::abs(1e-3));
  c.check(item + ".masks", table(sample.masks, sample.rows, rows), Tolerance::exact());
  c.check(item + ".image", datasets::normalize(sample.image, {}), Tolerance::abs(1e-6));
  // The first rows only; their number is the expected tensor's. A row that does not count is zero after normalisation.
  const auto first = [&](const char* what, const at::Tensor& crops) {
    const auto shape = c.expected_shape(fmt::format("{}.{}", item, what));
    if (shape.empty() || shape[0] > rows) return;
    c.check(fmt::format("{}.{}", item, what),
            table(datasets::normalize(crops, {}), sample.rows, rows).slice(0, 0, shape[0]), Tolerance::abs(1e-6));
  };
  first("crops", sample.crops);
  first("masked_crops", sample.masked_crops);
}

void check_scores(Case& c, const evaluation::ZeroShotResult& result, const std::string& prefix) {
  constexpr const char* kWhy = "their masks hold no token, where the original's ranking is arbitrary";
  for (const auto& [kind, scores] : result.features) {
    const auto rows = kind == "maskpool" ? result.empty_masks.logical_not() : at::ones_like(result.empty_masks);
    c.check(prefix + "features_" + kind, scores.features, kFeature);
    c.check(prefix + "logits_" + kind, scores.logits, kFeature);
    c.check(prefix + "similarity_" + kind, scores.similarity, kFeature);
    c.check_rows(prefix + "top5_" + kind, scores.top5, rows, Tolerance::exact(), kWhy);
    c.check_rows(prefix + "correct_" + kind, scores.correct, rows, Tolerance::exact(), kWhy);
  }
  c.check(prefix + "box_sizes", result.sizes, Tolerance::abs(1e-3));
  c.check(prefix + "is_thing", result.is_thing, Tolerance::exact());
  c.check(prefix + "cls_labels", result.labels, Tolerance::exact());
}

}  // namespace

void check_metrics(Case& c, const evaluation::ZeroShotResult& result, const nlohmann::ordered_json& expected,
                   const std::string& name, const std::string& where,
                   const std::function<Tolerance(const std::string&)>& tolerance) {
  const bool empty = result.empty_masks.any().item<bool>();
  for (const auto& [key, number] : expected.items()) {
    if (empty && key.starts_with("maskpool.")) {
      c.skip(name + "." + key, "empty masks, left out here, rank arbitrarily in the original");
      continue;
    }
    const auto found = result.metrics.find(key);
    if (found == result.metrics.end())
      c.check_that(name + "." + key, false, "not computed", name + ".*");
    else
      c.check_number(name + "." + key, found->second, value<double>(expected, key, where), tolerance(key), name + ".*");
  }
}

void verify_evaluation(Case& c) {
  const auto settings = c.json("expected.json");
  const auto where = c.file("expected.json").string();
  const auto model = load_model(c, "../eva_b_like");
  c.load_expected("expected.safetensors");
  const auto data =
      panoptic_data(c, ".", value<int>(settings, "det_image_size", where), value<int>(settings, "crop_size", where),
                    value<int>(settings, "downsample_factor", where));
  const auto embeddings = class_embeddings(c, ".");

  c.check_number("num_images", static_cast<double>(data.size()), value<double>(settings, "num_images", where),
                 Tolerance::exact());
  nlohmann::ordered_json labels = nlohmann::ordered_json::object();
  for (const auto& category : data.index().categories_by_label())
    labels[std::to_string(category.id)] = data.index().label_of(category.id);
  c.check_json("cat_id2label", labels, member(settings, "cat_id2label", where));

  const auto rows = value<std::int64_t>(settings, "max_anns", where);
  if (rows < 1 || rows > 10000) throw Error({.doing = "reading", .where = where, .found = "an unusable max_anns"});
  for (std::int64_t i = 0; i < data.size(); ++i)
    if (c.expects(fmt::format("item{}.boxes", i))) check_item(c, data.get(i), fmt::format("item{}", i), rows);

  const auto exactly = [](const std::string&) { return Tolerance::abs(1e-9); };
  evaluation::ZeroShotOptions options;
  options.half_precision_means = true;  // the original rounds each class's accuracy to float16
  const auto result = evaluation::evaluate_zero_shot(*model, data, embeddings, options);
  check_scores(c, result, "");
  c.check_number("num_instances", static_cast<double>(result.labels.numel()),
                 value<double>(settings, "num_instances", where), Tolerance::exact());
  check_metrics(c, result, member(settings, "metrics", where), "metrics", where, exactly);
  if (settings.contains("metrics_image_ave_pool")) {
    options.image_average_pool = true;
    const auto pooled = evaluation::evaluate_zero_shot(*model, data, embeddings, options);
    check_scores(c, pooled, "image_ave_pool.");
    check_metrics(c, pooled, settings["metrics_image_ave_pool"], "metrics_image_ave_pool", where, exactly);
  }
}

}  // namespace clipself::cli::verify
