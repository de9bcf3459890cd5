// The detector's geometry: anchors, box coding, assignment, non-maximum suppression, features of boxes.
#include <algorithm>

#include "cli/verify_detector.h"
#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/ops/nms.h"
#include "clipself/ops/roi_align.h"

namespace clipself::cli::verify {
namespace {

using nlohmann::ordered_json;

std::array<double, 4> stds_of(const ordered_json& list, const std::string& where) {
  if (!list.is_array() || list.size() != 4) wrong_type("stds", where, list.type_name());
  return list.get<std::array<double, 4>>();
}

/// (N, 5) rows of image, x0, y0, x1, y1 -> a list of boxes an image, and where in it each row went.
std::vector<at::Tensor> boxes_by_image(const at::Tensor& rois, std::int64_t images, at::Tensor& order) {
  std::vector<at::Tensor> lists, places;
  for (std::int64_t i = 0; i < images; ++i) {
    places.push_back((rois.select(1, 0) == i).nonzero().squeeze(1));
    lists.push_back(rois.index_select(0, places.back()).slice(1, 1, 5).contiguous());
  }
  order = std::get<1>(at::cat(places).sort());
  return lists;
}

void check_multiclass(Case& c, const formats::TensorDict& inputs, const std::string& name, const ordered_json& config,
                      const std::string& where) {
  if (!config.contains(name)) return;
  detection::DetectionSelection selection;
  const auto& settings = member(config, name, where);
  selection.score_threshold = value<double>(settings, "score_thr", where);
  selection.iou_threshold = value<double>(settings, "iou_threshold", where);
  selection.most = value<int>(settings, "max_per_img", where);
  const auto [found, places] = detection::select_detections(tensor(inputs, name + ".boxes", where, {-1, 4}),
                                                            tensor(inputs, name + ".scores", where), selection);
  c.check(name + ".dets", at::cat({found.boxes, found.scores.unsqueeze(1)}, 1), Tolerance::bits());
  c.check(name + ".labels", found.labels, Tolerance::exact());
  c.check(name + ".inds", places, Tolerance::exact());
}

}  // namespace

void verify_anchors(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  for (const auto& [variant, settings] : config.items()) {
    const auto strides = tensor(inputs, variant + ".strides", where, {-1}).to(at::kDouble);
    const auto maps = tensor(inputs, variant + ".featmap_sizes", where, {strides.size(0), 2});
    const auto pictures = tensor(inputs, variant + ".pad_shapes", where, {-1, 2});
    const auto ratios = value<std::vector<double>>(settings, "ratios", where);
    const auto scale = value<std::vector<double>>(settings, "scales", where).at(0);
    const auto extent = [](const at::Tensor& row) {
      return detection::Extent{row[0].item<std::int64_t>(), row[1].item<std::int64_t>()};
    };
    std::vector<std::vector<at::Tensor>> valid(static_cast<std::size_t>(pictures.size(0)));
    for (std::int64_t level = 0; level < strides.size(0); ++level) {
      const auto stride = strides[level].item<double>();
      const auto base = detection::base_anchors(stride, scale, ratios);
      c.check(variant + ".base." + std::to_string(level), base, Tolerance::abs(1e-5), "base.*");
      c.check(variant + ".anchors." + std::to_string(level), detection::grid_anchors(base, stride, extent(maps[level])),
              Tolerance::abs(1e-5), "anchors.*");
      for (std::int64_t i = 0; i < pictures.size(0); ++i) {
        auto& list = valid[static_cast<std::size_t>(i)];
        list.push_back(detection::valid_anchors(stride, extent(maps[level]), extent(pictures[i]), base.size(0)));
        c.check(variant + ".valid." + std::to_string(i) + "." + std::to_string(level), list.back(), Tolerance::exact(),
                "valid.*");
      }
    }
    for (std::size_t i = 0; i < valid.size(); ++i)
      c.check(variant + ".inside." + std::to_string(i), at::cat(valid[i]), Tolerance::exact(), "inside.*");
  }
}

void verify_box_coder(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  const auto proposals = tensor(inputs, "proposals", where, {-1, 4}), objects = tensor(inputs, "gts", where, {-1, 4});
  const auto limits = value<std::vector<std::int64_t>>(config, "max_shape", where);
  const detection::Extent picture{limits.at(0), limits.at(1)};
  constexpr Tolerance kBox{.absolute = 1e-4, .relative = 1e-5};
  for (const std::string variant : {"rpn", "rcnn"}) {
    const auto stds = stds_of(member(config, variant + "_stds", where), where);
    c.check(variant + ".encode", detection::encode_boxes(proposals, objects, stds), kBox);
    const auto& deltas = tensor(inputs, "deltas", where);
    c.check(variant + ".decode_clip", detection::decode_boxes(proposals, deltas, stds, picture), kBox);
    c.check(variant + ".decode_noclip", detection::decode_boxes(proposals, deltas, stds, std::nullopt), kBox);
    c.check(variant + ".decode_multi_clip",
            detection::decode_boxes(proposals, tensor(inputs, "deltas_multi", where), stds, picture), kBox);
  }
}

void verify_assigner(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  const auto anchors = tensor(inputs, "anchors", where, {-1, 4});
  const auto proposals = tensor(inputs, "proposals", where).slice(1, 0, 4).contiguous();
  const auto objects = tensor(inputs, "gts", where, {-1, 4}), labels = tensor(inputs, "gt_labels", where, {-1});
  c.check("overlaps_rpn", detection::box_iou(objects, anchors), Tolerance::abs(1e-6));
  c.check("overlaps_rcnn", detection::box_iou(objects, proposals), Tolerance::abs(1e-6));
  const auto names = c.expected_names();
  for (const auto& name : names) {
    constexpr std::string_view kAssigned = ".gt_inds";
    if (!name.ends_with(kAssigned)) continue;
    const auto setting = name.substr(0, name.size() - kAssigned.size());
    const bool none = setting.ends_with("_nogt"), roi = setting.starts_with("rcnn");
    // "rpn_ignore" and "rpn_nogt" are the settings of "rpn" on other objects.
    auto settings_name = setting;
    while (!member(config, "assigner", where).contains(settings_name) && settings_name.find('_') != std::string::npos)
      settings_name = settings_name.substr(0, settings_name.rfind('_'));
    const auto options = assign_options(member(member(config, "assigner", where), settings_name, where), where);
    const auto& sampler = member(member(config, "sampler", where), settings_name, where);
    const auto own = none ? objects.slice(0, 0, 0) : objects;
    const auto& boxes = roi ? proposals : anchors;
    auto found = detection::assign(boxes, own, options);
    const auto at_positive = [&](const at::Tensor& values) { return at::where(found.object > 0, values, -1); };
    c.check(name, found.object, Tolerance::exact());
    c.check(setting + ".max_overlaps", found.overlap, Tolerance::abs(1e-6));
    c.check(
        setting + ".labels",
        none ? at::full_like(found.object, -1) : at_positive(labels.index_select(0, (found.object - 1).clamp_min(0))),
        Tolerance::exact());
    auto candidates = boxes;
    auto object = found.object;
    if (roi) {
      object = at::cat({at::arange(1, own.size(0) + 1, at::kLong), object});
      candidates = at::cat({own, boxes});
      c.check(setting + ".gt_inds_with_gt", object, Tolerance::exact());
    }
    // The draw itself depends on the generator; what must hold of it does not.
    const auto positive = c.input_among_expected(setting + ".pos_inds").to(at::kLong);
    const auto negative = c.input_among_expected(setting + ".neg_inds").to(at::kLong);
    Rng rng(0);
    const auto drawn = detection::draw(object, sample_options(sampler, where), rng);
    c.check_that(setting + ": how many are drawn",
                 drawn.positive.numel() == positive.numel() && drawn.negative.numel() == negative.numel(),
                 c10::str(drawn.positive.numel(), " and ", drawn.negative.numel()));
    c.check_that(setting + ": what is drawn",
                 (object.index_select(0, drawn.positive) > 0).all().item<bool>() &&
                     (object.index_select(0, drawn.negative) == 0).all().item<bool>(),
                 "boxes that are not what they are drawn as");
    const auto assigned = object.index_select(0, positive) - 1;
    c.check(setting + ".pos_bboxes", candidates.index_select(0, positive), Tolerance::exact());
    c.check(setting + ".neg_bboxes", candidates.index_select(0, negative), Tolerance::exact());
    c.check(setting + ".pos_assigned_gt_inds", assigned, Tolerance::exact());
    c.check(setting + ".pos_is_gt", (positive < (roi ? own.size(0) : 0)).to(at::kByte), Tolerance::exact());
    c.check(setting + ".pos_gt_bboxes", assigned.numel() > 0 ? own.index_select(0, assigned) : own.slice(0, 0, 0),
            Tolerance::exact());
    c.check(setting + ".pos_gt_labels", assigned.numel() > 0 ? labels.index_select(0, assigned) : labels.slice(0, 0, 0),
            Tolerance::exact());
  }
}

void verify_roi_extract(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  constexpr Tolerance kPooled{.absolute = 1e-5, .relative = 1e-5};
  const auto strides = value<std::vector<double>>(config, "strides", where);
  std::vector<at::Tensor> levels;
  for (std::size_t i = 0; i < strides.size(); ++i)
    levels.push_back(tensor(inputs, "feat." + std::to_string(i), where).to(at::kFloat).clone().set_requires_grad(true));
  const auto rois = tensor(inputs, "rois", where, {-1, 5});
  at::Tensor order;
  const auto boxes = boxes_by_image(rois, levels[0].size(0), order);
  const auto pooled = [&](const char* size) {
    return detection::extract_rois(levels, strides, boxes, value<int>(config, size, where)).index_select(0, order);
  };
  const auto out = pooled("box_output");
  c.check("levels", detection::roi_levels(rois.slice(1, 1, 5), std::ssize(strides)), Tolerance::exact());
  c.check("box.out", out, kPooled);
  c.check("mask.out", pooled("mask_output"), kPooled);
  (out * tensor(inputs, "box.w", where)).sum().backward();
  for (std::size_t i = 0; i < levels.size(); ++i)
    c.check("box.grad." + std::to_string(i), levels[i].grad(), kPooled, "box.grad.*");
  const auto dense = tensor(inputs, "vlm", where).to(at::kFloat);
  auto places = boxes_by_image(tensor(inputs, "vlm_rois", where, {-1, 5}), dense.size(0), order);
  for (auto& list : places) list = list * (1.0 / value<double>(config, "vlm_stride", where));
  c.check("vlm.out", ops::roi_align(dense, places).flatten(1).index_select(0, order), kPooled);
}

void verify_batched_nms(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  const auto boxes = tensor(inputs, "plain.boxes", where, {-1, 4}),
             scores = tensor(inputs, "plain.scores", where, {-1});
  for (const auto& name : std::vector(c.expected_names())) {
    constexpr std::string_view kPrefix = "plain.keep_";
    if (!name.starts_with(kPrefix)) continue;
    const double threshold = std::stod("0." + name.substr(kPrefix.size()));
    c.check(name, ops::nms(boxes, scores, threshold), Tolerance::exact());
  }
  constexpr double kProposals = 0.7;
  const auto kept = ops::batched_nms(boxes, scores, tensor(inputs, "rpn.idxs", where, {-1}), kProposals);
  c.check("rpn.keep", kept, Tolerance::exact());
  c.check("rpn.dets", at::cat({boxes.index_select(0, kept), scores.index_select(0, kept).unsqueeze(1)}, 1),
          Tolerance::bits());
  for (const auto& [name, settings] : config.items()) check_multiclass(c, inputs, name, config, where);
}

}  // namespace clipself::cli::verify
