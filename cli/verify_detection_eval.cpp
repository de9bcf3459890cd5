// Kinds j_rle, j_coco_eval, j_lvis_eval, j_voc_eval: run-length masks, and average precision of a detector's results.
#include <fmt/format.h>

#include <cmath>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "clipself/base/error.h"
#include "clipself/datasets/annotations_builder.h"
#include "clipself/evaluation/average_precision.h"
#include "clipself/ops/masks.h"

namespace clipself::cli::verify {
namespace {

using Json = nlohmann::ordered_json;
using evaluation::ApResult;
using evaluation::RegionKind;

const Tolerance kAp = Tolerance::abs(1e-6);
const Tolerance kIou = Tolerance::abs(1e-12);

// --- run-length masks ---

formats::Rle rle_of(const Json& json) {
  return formats::read_rle(json.at("counts").get<std::string>(), json.at("size")[0].get<std::int64_t>(),
                           json.at("size")[1].get<std::int64_t>());
}

Json json_of(const formats::Rle& rle) {
  return {{"size", {rle.height, rle.width}}, {"counts", formats::rle_text(rle)}};
}

at::Tensor mask_ious(const std::vector<formats::Rle>& masks, const std::vector<std::size_t>& found,
                     const std::vector<std::size_t>& truths, const std::vector<int>& crowd) {
  auto ious = at::zeros({std::ssize(found), std::ssize(truths)}, at::kDouble);
  for (std::size_t i = 0; i < found.size(); ++i)
    for (std::size_t j = 0; j < truths.size(); ++j)
      ious[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)] =
          ops::mask_iou(masks.at(found[i]), masks.at(truths[j]), !crowd.empty() && crowd.at(j) != 0);
  return ious;
}

ops::BoxXywh row_box(const at::Tensor& row) {
  const auto values = row.accessor<double, 1>();
  return {values[0], values[1], values[2], values[3]};
}

// --- detector results ---

/// One image's list over classes, each of [x0, y0, x1, y1, score].
void add_results(evaluation::Detections& detections, const Json& boxes, const Json* masks, std::int64_t image_id,
                 const std::vector<std::int64_t>& category_ids) {
  for (std::size_t label = 0; label < boxes.size(); ++label) {
    for (std::size_t i = 0; i < boxes[label].size(); ++i) {
      const auto row = boxes[label][i].get<std::array<double, 5>>();
      evaluation::Detection detection{.image_id = image_id, .category_id = category_ids.at(label), .score = row[4]};
      detection.bbox = {row[0], row[1], row[2] - row[0], row[3] - row[1]};
      if (masks != nullptr) detection.segmentation = detections.segmentations.add(rle_of(masks->at(label).at(i)));
      detections.list.push_back(detection);
    }
  }
}

evaluation::Detections detector_results(const Case& c, const std::vector<std::int64_t>& image_ids,
                                        const std::vector<std::int64_t>& category_ids) {
  evaluation::Detections detections;
  detections.source = c.file("results.json").string();
  const auto results = c.json("results.json");
  for (std::size_t image = 0; image < results.size(); ++image)
    add_results(detections, results[image].at("bbox"), &results[image].at("segm"), image_ids.at(image), category_ids);
  return detections;
}

Json result_entry(const evaluation::Detections& detections, std::size_t at, bool with_mask) {
  const auto& entry = detections.list.at(at);
  Json json = {
      {"image_id", entry.image_id}, {"bbox", entry.bbox}, {"score", entry.score}, {"category_id", entry.category_id}};
  if (with_mask) json["segmentation"] = json_of(detections.segmentations.rle(entry.segmentation));
  return json;
}

at::Tensor metric_values(const ApResult& result, std::size_t first, std::size_t count) {
  std::vector<double> values;
  for (std::size_t i = first; i < first + count; ++i) values.push_back(result.metrics.at(i).value);
  return at::tensor(values, at::kDouble);
}

double rounded(double value) {
  return std::stod(fmt::format("{:.3f}", value));
}

at::Tensor class_ap50(const ApResult& result) {
  std::vector<double> values;
  for (const auto& entry : result.classes) values.push_back(100 * entry.ap50);
  return at::tensor(values, at::kDouble);
}

at::Tensor split_values(const ApResult& result) {
  return at::tensor({100 * result.split->base, 100 * result.split->novel, 100 * result.split->all}, at::kDouble);
}

void check_tables(Case& c, const std::string& prefix, const ApResult& result, bool one_limit) {
  auto precision = result.precision, recall = result.recall;
  c.check(prefix + ".precision_all",
          precision.select(4, -1).select(3, 0).index_select(0, at::tensor({0, 5}, at::kLong)).to(at::kFloat), kAp);
  if (one_limit) {
    precision = precision.squeeze(4);
    recall = recall.squeeze(3);
  }
  c.check(prefix + ".ap", precision.mean(1), kAp);
  c.check(prefix + ".recall", recall, kAp);
}

std::vector<std::string> strings(const Json& json) {
  return json.get<std::vector<std::string>>();
}
std::vector<std::int64_t> numbers(const Json& json) {
  return json.get<std::vector<std::int64_t>>();
}

}  // namespace

void verify_rle(Case& c) {
  const auto where = c.file("inputs.safetensors").string();
  const auto config = c.json("config.json");
  const auto inputs = c.tensors("inputs.safetensors");
  const auto text = c.json("rle.json");
  c.load_expected("expected.safetensors");
  const auto bitmaps = tensor(inputs, "masks", where, {-1, -1, -1});
  std::vector<formats::Rle> masks;
  std::vector<std::int64_t> areas;
  std::vector<at::Tensor> boxes;
  const auto tensor_of = [](const ops::BoxXywh& box) {
    return at::tensor({box[0], box[1], box[2], box[3]}, at::kDouble);
  };
  for (std::int64_t i = 0; i < bitmaps.size(0); ++i) {
    masks.push_back(ops::encode_mask(bitmaps[i]));
    areas.push_back(ops::mask_area(masks.back()));
    boxes.push_back(tensor_of(ops::mask_box(masks.back())));
    const auto at = static_cast<std::size_t>(i);
    auto encoded = json_of(masks.back());
    encoded["uncompressed"] = masks.back().counts;
    c.check_json(fmt::format("encoded[{}]", i), encoded, text.at("encoded").at(at), "encoded");
    c.check_value(fmt::format("decoded[{}]", i), ops::decode_mask(rle_of(text.at("encoded").at(at))), bitmaps[i],
                  Tolerance::exact(), "decoded");
    const auto counts = numbers(text.at("encoded").at(at).at("uncompressed"));
    c.check_that(fmt::format("uncompressed[{}]", i),
                 formats::read_rle(counts, masks.back().height, masks.back().width) == masks.back(), "another mask",
                 "decoded");
  }
  c.check("area", at::tensor(areas, at::kLong), Tolerance::exact());
  c.check("bbox", at::stack(boxes), Tolerance::exact());

  const auto found = config.at("iou_det").get<std::vector<std::size_t>>();
  const auto truths = config.at("iou_gt").get<std::vector<std::size_t>>();
  const auto crowd = config.at("iscrowd").get<std::vector<int>>();
  c.check("iou.crowd0", mask_ious(masks, found, truths, {}), kIou);
  c.check("iou.crowd1", mask_ious(masks, found, truths, crowd), kIou);
  const auto box_found = tensor(inputs, "box_det", where, {-1, 4}),
             box_truth = tensor(inputs, "box_gt", where, {-1, 4});
  auto box_ious = at::zeros({box_found.size(0), box_truth.size(0)}, at::kDouble);
  constexpr std::array kBoxCrowd{false, true, false, false, true};  // the case's README
  for (std::int64_t i = 0; i < box_found.size(0); ++i)
    for (std::int64_t j = 0; j < box_truth.size(0); ++j)
      box_ious[i][j] = ops::box_iou(row_box(box_found[i]), row_box(box_truth[j]),
                                    kBoxCrowd[static_cast<std::size_t>(j) % kBoxCrowd.size()]);
  c.check("box_iou", box_ious, kIou);

  std::vector<at::Tensor> drawn;
  for (std::size_t k = 0; k < text.at("polys").size(); ++k) {
    const auto& entry = text["polys"][k];
    std::vector<formats::Rle> parts;
    Json rles = Json::array();
    for (const auto& polygon : entry.at("polygons")) {
      parts.push_back(ops::polygon_mask(polygon.get<std::vector<double>>(), entry.at("height").get<std::int64_t>(),
                                        entry.at("width").get<std::int64_t>()));
      rles.push_back(json_of(parts.back()));
    }
    const auto whole = ops::merge_masks(parts, ops::MaskMerge::kUnion);
    c.check_json(fmt::format("polys[{}].rles", k), rles, entry.at("rles"), "polygons");
    c.check_json(fmt::format("polys[{}].union", k), json_of(whole), entry.at("union"), "polygons");
    c.check_number(fmt::format("polys[{}].area", k), static_cast<double>(ops::mask_area(whole)),
                   entry.at("area").get<double>(), Tolerance::exact(), "polygons");
    c.check_value(fmt::format("polys[{}].bbox", k), tensor_of(ops::mask_box(whole)),
                  tensor_of(entry.at("bbox").get<ops::BoxXywh>()), Tolerance::exact(), "polygons");
    drawn.push_back(ops::decode_mask(whole));
  }
  c.check("poly_masks", at::stack(drawn), Tolerance::exact());
  for (std::size_t k = 0; k < text.at("bboxes").size(); ++k) {
    const auto& entry = text["bboxes"][k];
    const auto size = numbers(entry.at("rle").at("size"));
    c.check_json(fmt::format("bboxes[{}]", k),
                 json_of(ops::box_mask(entry.at("bbox").get<ops::BoxXywh>(), size.at(0), size.at(1))), entry.at("rle"),
                 "boxes drawn");
  }
  for (std::size_t k = 0; k < text.at("merge").size(); ++k) {
    const auto& entry = text["merge"][k];
    std::vector<formats::Rle> group;
    for (const auto at : entry.at("group").get<std::vector<std::size_t>>()) group.push_back(masks.at(at));
    c.check_json(fmt::format("merge[{}].union", k), json_of(ops::merge_masks(group, ops::MaskMerge::kUnion)),
                 entry.at("union"), "merged");
    c.check_json(fmt::format("merge[{}].intersection", k),
                 json_of(ops::merge_masks(group, ops::MaskMerge::kIntersection)), entry.at("intersection"), "merged");
  }
}

void verify_coco_eval(Case& c) {
  const auto config = c.json("config.json");
  const auto said = c.json("expected.json");
  c.load_expected("expected.safetensors");
  const auto truth = evaluation::read_truth(c.file("gt.json"), RegionKind::kMasks, false);
  const auto detections = detector_results(c, numbers(config.at("results_image_ids")), numbers(config.at("cat_ids")));
  const auto head = c.json("converted_head.json");
  for (const char* type : {"bbox", "segm"})
    for (std::size_t i = 0; i < head.at(type).size(); ++i)
      c.check_json(fmt::format("converted {}[{}]", type, i),
                   result_entry(detections, i, std::string_view(type) == "segm"), head[type][i], "converted results");

  evaluation::ApOptions options{.image_ids = numbers(config.at("img_ids")),
                                .category_ids = numbers(config.at("cat_ids"))};
  const auto usual = options.max_detections;
  for (const auto kind : {RegionKind::kBoxes, RegionKind::kMasks}) {
    const std::string type = evaluation::name(kind);
    options.regions = kind;
    options.max_detections = usual;
    c.check("std." + type + ".stats", metric_values(evaluate_coco(truth, detections, options), 0, 12), kAp);
    options.max_detections = numbers(config.at("max_dets_fvit"));
    auto result = evaluate_coco(truth, detections, options);
    c.check("fvit." + type + ".stats", metric_values(result, 0, 12), kAp);
    check_tables(c, "fvit." + type, result, false);
    Json summary = Json::object();
    if (kind == RegionKind::kBoxes) {
      result.split = split_ap(result, strings(config.at("seen")), strings(config.at("unseen")));
      c.check("fvit.bbox.ap50_per_class", class_ap50(result), kAp);
      c.check("fvit.bbox.base_novel_all_ap50", split_values(result), kAp);
      summary["base_ap50"] = rounded(100 * result.split->base);
      summary["novel_ap50"] = rounded(100 * result.split->novel);
      summary["all_ap50"] = rounded(100 * result.split->all);
    }
    std::string line;
    constexpr std::array kNames{"mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      summary[type + "_" + kNames[i]] = rounded(result.metrics[i].value);
      line += fmt::format("{}{:.3f}", i == 0 ? "" : " ", result.metrics[i].value);
    }
    summary[type + "_mAP_copypaste"] = line;
    c.check_json("expected.json: fvit_" + type, summary, said.at("fvit_" + type));
  }

  options.regions = RegionKind::kBoxes;
  options.by_class = false;
  const auto proposals = evaluate_coco(truth, detections, options);
  c.check("fvit.proposal.stats", metric_values(proposals, 0, 12), kAp);
  Json summary = Json::object();
  const auto& limits = options.max_detections;
  for (std::size_t i = 0; i < limits.size(); ++i)
    summary[fmt::format("AR@{}", limits[i])] = rounded(proposals.metrics.at(6 + i).value);
  for (const char letter : {'s', 'm', 'l'})
    summary[fmt::format("AR_{}@{}", letter, limits.back())] = rounded(proposals.metric(fmt::format("AR{}", letter)));
  c.check_json("expected.json: fvit_proposal", summary, said.at("fvit_proposal"));
}

void verify_lvis_eval(Case& c) {
  const auto config = c.json("config.json");
  const auto said = c.json("expected.json");
  c.load_expected("expected.safetensors");
  const auto truth = evaluation::read_truth(c.file("gt.json"), RegionKind::kMasks, true);
  const auto detections = detector_results(c, numbers(config.at("img_ids")), numbers(config.at("cat_ids")));
  for (const auto kind : {RegionKind::kMasks, RegionKind::kBoxes}) {
    const std::string type = evaluation::name(kind);
    auto result = evaluate_lvis(truth, detections,
                                {.regions = kind,
                                 .max_detections = {config.at("max_dets").get<std::int64_t>()},
                                 .area = evaluation::DetectionArea::kBox});
    constexpr std::size_t kPrecisions = 9;
    c.check(type + ".results", metric_values(result, 0, kPrecisions), kAp);
    Json keys = Json::array();
    for (std::size_t i = kPrecisions; i < result.metrics.size(); ++i) keys.push_back(result.metrics[i].key);
    c.check_json("config.json: ar_keys, " + type, keys, config.at("ar_keys"));
    c.check(type + ".ar", metric_values(result, kPrecisions, result.metrics.size() - kPrecisions), kAp);
    check_tables(c, type, result, true);
    Json summary = Json::object();
    result.split = split_ap(result, strings(config.at("seen")), strings(config.at("unseen")));
    c.check(type + ".ap50_per_class", class_ap50(result), kAp);
    c.check(type + ".base_novel_all_ap50", split_values(result), kAp);
    if (kind == RegionKind::kMasks) {
      summary["base_mask_ap50"] = rounded(100 * result.split->base);
      summary["novel_mask_ap50"] = rounded(100 * result.split->novel);
      summary["all_mask_ap50"] = rounded(100 * result.split->all);
    }
    std::string line;
    for (std::size_t i = 0; i < kPrecisions; ++i) {
      const auto& metric = result.metrics[i];
      summary[type + "_" + metric.key] = rounded(metric.value);
      line += fmt::format("{}{}:{:.3f}", i == 0 ? "" : " ", metric.key, metric.value);
    }
    summary[type + "_mAP_copypaste"] = line;
    c.check_json("expected.json: fvit_" + type, summary, said.at("fvit_" + type));
  }
}

void verify_voc_eval(Case& c) {
  const auto config = c.json("config.json");
  const auto truth_json = c.json("gt.json");
  const auto results = c.json("results.json");
  c.load_expected("expected.safetensors");
  std::vector<std::int64_t> category_ids;
  datasets::AnnotationIndexBuilder builder;
  for (std::int64_t i = 0; i < config.at("num_classes").get<std::int64_t>(); ++i) {
    category_ids.push_back(i);
    builder.add_category({.id = i, .name = std::to_string(i)});
  }
  evaluation::Detections detections;
  for (std::size_t i = 0; i < truth_json.size(); ++i) {
    const auto id = static_cast<std::int64_t>(i);
    builder.add_image({.id = id, .file_name = std::to_string(i), .segmentation_file = {}});
    const auto add = [&](const char* boxes, const char* labels, bool ignore) {
      for (std::size_t k = 0; k < truth_json[i].at(boxes).size(); ++k) {
        const auto corners = truth_json[i][boxes][k].get<std::array<double, 4>>();
        datasets::Annotation annotation{.category_id = truth_json[i].at(labels).at(k).get<std::int64_t>()};
        annotation.bbox = {corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]};
        annotation.ignore = ignore;
        builder.add_annotation(id, annotation);
      }
    };
    add("bboxes", "labels", false);
    add("bboxes_ignore", "labels_ignore", true);
    add_results(detections, results.at(i), nullptr, id, category_ids);
  }
  const auto truth = std::move(builder).finish(c.file("gt.json").string());
  for (const auto& threshold : config.at("iou_thr")) {
    for (const bool eleven : {true, false}) {
      const auto result =
          evaluate_voc(truth, detections, {.iou_threshold = threshold.get<double>(), .eleven_points = eleven});
      const auto prefix = fmt::format("{}.{:.0f}.", eleven ? "voc07" : "area", 100 * threshold.get<double>());
      std::vector<double> ap;
      std::vector<std::int64_t> truths;
      for (const auto& entry : result.classes) {
        ap.push_back(entry.truths == 0 ? 0 : entry.ap);
        truths.push_back(entry.truths);
      }
      c.check(prefix + "map", at::tensor({std::max(0., result.metric("mAP"))}, at::kDouble), kAp);
      c.check(prefix + "ap", at::tensor(ap, at::kDouble), kAp);
      c.check(prefix + "num_gt", at::tensor(truths, at::kLong), Tolerance::exact());
    }
  }
}

}  // namespace clipself::cli::verify
