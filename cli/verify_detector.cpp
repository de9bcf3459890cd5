// The detector's parts and the whole of it at test time.
#include "cli/verify_detector.h"

#include <algorithm>
#include <limits>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "clipself/base/error.h"
#include "clipself/formats/state_dict.h"
#include "clipself/models/backbone.h"
#include "clipself/models/eva_vision_tower.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::cli::verify {

using nlohmann::ordered_json;

detection::AssignOptions assign_options(const ordered_json& in, const std::string& where) {
  return {.positive = value<double>(in, "pos_iou_thr", where),
          .negative = value<double>(in, "neg_iou_thr", where),
          .least = value<double>(in, "min_pos_iou", where),
          .low_quality = value<bool>(in, "match_low_quality", where)};
}

detection::SampleOptions sample_options(const ordered_json& in, const std::string& where) {
  return {.count = value<int>(in, "num", where), .positive_part = value<double>(in, "pos_fraction", where)};
}

detection::ProposalSelection proposal_selection(const ordered_json& in, const std::string& where) {
  return {.before_nms = value<int>(in, "nms_pre", where),
          .count = value<int>(in, "max_per_img", where),
          .iou_threshold = in.contains("nms_iou") ? value<double>(in, "nms_iou", where)
                                                  : value<double>(member(in, "nms", where), "iou_threshold", where)};
}

detection::DetectionSelection detection_selection(const ordered_json& in, const std::string& where) {
  detection::DetectionSelection selection{
      .score_threshold = value<double>(in, "score_thr", where),
      .iou_threshold = value<double>(member(in, "nms", where), "iou_threshold", where),
      .most = value<int>(in, "max_per_img", where)};
  if (in.contains("mask_thr_binary")) selection.mask_threshold = value<double>(in, "mask_thr_binary", where);
  return selection;
}

detection::Extent extent_of(const ordered_json& shape, const std::string& where) {
  if (!shape.is_array() || shape.size() < 2 || !shape[0].is_number() || !shape[1].is_number())
    wrong_type("a shape", where, shape.dump());
  return {shape[0].get<std::int64_t>(), shape[1].get<std::int64_t>()};
}

detection::Picture picture_of(const ordered_json& meta, const std::string& where) {
  detection::Picture picture;
  picture.size.content = extent_of(member(meta, "img_shape", where), where);
  picture.size.padded = extent_of(member(meta, "pad_shape", where), where);
  picture.original = meta.contains("ori_shape") ? extent_of(meta["ori_shape"], where) : picture.size.content;
  if (meta.contains("scale_factor")) picture.scale = value<std::array<float, 4>>(meta, "scale_factor", where);
  return picture;
}

void read_box_head(const ordered_json& in, const std::string& where, detection::DetectorConfig& config) {
  config.channels = value<int>(in, "in_channels", where);
  config.fc_width = value<int>(in, "fc_out_channels", where);
  config.shared_convs = value<int>(in, "num_shared_convs", where);
  config.shared_fcs = value<int>(in, "num_shared_fcs", where);
  config.class_fcs = value<int>(in, "num_cls_fcs", where);
  config.box_fcs = value<int>(in, "num_reg_fcs", where);
  config.box_stds = value<std::array<double, 4>>(member(in, "bbox_coder", where), "target_stds", where);
  config.fixed_temperature = value<std::string>(in, "type", where) == "FViTTransferBBoxHead";
  config.temperature = value<double>(in, config.fixed_temperature ? "fixed_temperature" : "learned_temperature", where);
  config.fusion.dense_temperature = value<double>(in, "vlm_temperature", where);
  config.fusion.alpha = value<double>(in, "alpha", where);
  config.fusion.beta = value<double>(in, "beta", where);
  const auto& loss = member(in, "loss_cls", where);
  config.background_weight = loss.contains("bg_weight")
                                 ? value<double>(loss, "bg_weight", where)
                                 : value<std::vector<double>>(loss, "class_weight", where).back();
}

detection::DetectionClasses read_classes(const Case& c, bool transfer) {
  const auto path = c.file("class_embed.pt");
  const auto names = c.json("all_classes.json").get<std::vector<std::string>>();
  const auto base = transfer ? std::vector<std::string>{} : c.json("seen_classes.json").get<std::vector<std::string>>();
  return detection::make_classes(models::read_class_embeddings(path), names, base, path.string());
}

std::shared_ptr<detection::Detector> build_detector(const Case& c, const ordered_json& document) {
  const auto where = c.file("config.json").string();
  const auto clip = models::parse_config(member(document, "clip", where).dump(), where);
  const auto& model = member(document, "model", where);
  const auto& rpn = member(model, "rpn_head", where);
  const auto& roi = member(model, "roi_head", where);
  const auto& train = member(model, "train_cfg", where);
  const auto& test = member(model, "test_cfg", where);
  detection::DetectorConfig config;
  read_box_head(member(roi, "bbox_head", where), where, config);
  config.taps = value<std::vector<int>>(member(model, "backbone", where), "out_indices", where);
  config.rpn_convs = value<int>(rpn, "num_convs", where);
  config.rpn_norm = rpn.contains("norm_cfg");
  const auto& anchors = member(rpn, "anchor_generator", where);
  config.anchor_scale = value<std::vector<double>>(anchors, "scales", where).at(0);
  config.anchor_ratios = value<std::vector<double>>(anchors, "ratios", where);
  config.masks = roi.contains("mask_head") && !roi["mask_head"].is_null();
  if (config.masks) config.mask_convs = value<int>(roi["mask_head"], "num_convs", where);
  config.rpn_assign = assign_options(member(member(train, "rpn", where), "assigner", where), where);
  config.rpn_sample = sample_options(member(member(train, "rpn", where), "sampler", where), where);
  config.roi_assign = assign_options(member(member(train, "rcnn", where), "assigner", where), where);
  config.roi_sample = sample_options(member(member(train, "rcnn", where), "sampler", where), where);
  config.proposals = proposal_selection(member(test, "rpn", where), where);
  config.selection = detection_selection(member(test, "rcnn", where), where);
  return std::make_shared<detection::Detector>(clip, config, read_classes(c, config.fixed_temperature));
}

void load_part(torch::nn::Module& module, const formats::TensorDict& tensors, const std::string& prefix,
               const std::string& where) {
  const at::NoGradGuard no_grad;
  const auto copy = [&](const auto& items) {
    for (const auto& item : items)
      if (item.key().find("rope.") == std::string::npos)
        item.value().detach().copy_(tensor(tensors, prefix + item.key(), where, item.value().sizes().vec()));
  };
  copy(module.named_parameters());
  copy(module.named_buffers());
}

void check_scored_boxes(Case& c, const std::string& name, const at::Tensor& boxes, const at::Tensor& scores,
                        double box_tolerance, double score_tolerance) {
  const auto table = at::cat({boxes, scores.unsqueeze(1)}, 1);
  c.check_columns(name, table, {0, 1, 2, 3}, Tolerance::abs(box_tolerance));
  c.check_columns(name, table, {4}, Tolerance::abs(score_tolerance));
}

namespace {

formats::TensorDict state_of(const Case& c, const std::string& file = "state.pth") {
  return formats::read_state_dict(c.file(file)).tensors;
}

/// The same weights, where a case has them twice, must have been read the same.
void check_second_state(Case& c, const formats::TensorDict& tensors) {
  std::error_code ignored;
  if (!std::filesystem::exists(c.file("state.safetensors"), ignored)) return;
  for (const auto& item : c.tensors("state.safetensors")) {
    const auto* found = tensors.find(item.key());
    c.check_value("state.pth " + item.key(), found == nullptr ? at::Tensor() : *found, item.value(), Tolerance::bits(),
                  "state.pth *");
  }
}

std::string numbered(const std::string& name, std::size_t i) {
  return name + "." + std::to_string(i);
}

void check_maps(Case& c, const std::string& name, const std::vector<at::Tensor>& maps) {
  for (std::size_t i = 0; i < maps.size(); ++i) c.check(numbered(name, i), maps[i], kDetector, name + ".*");
}

/// "PREFIXname" of every buffer and "PREFIXname" of every gradient that is expected.
void check_buffers(Case& c, const std::string& prefix, torch::nn::Module& module, const std::string& path) {
  for (const auto& item : module.named_buffers())
    c.check(prefix + path + item.key(), item.value(), {.absolute = 1e-5, .relative = 1e-5}, prefix + "*");
}
void check_gradients(Case& c, torch::nn::Module& module, const std::string& path) {
  for (const auto& item : module.named_parameters())
    if (c.expects("grad." + path + item.key()))
      c.check("grad." + path + item.key(), item.value().grad(), kGradient, "grad.*");
}

}  // namespace

void verify_pyramid(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto clip = models::parse_config(member(config, "clip", where).dump(), where);
  const auto images = tensor(c.tensors("inputs.safetensors"), "img", where, {-1, 3, -1, -1}).to(at::kFloat);
  const auto tensors = state_of(c);
  c.load_expected("expected.safetensors");
  const auto tower = models::backbone(clip.vision.backbone).make(clip);
  detection::Backbone backbone(tower, value<std::vector<int>>(config, "out_indices", where), clip.vision.width);
  detection::PyramidNetwork neck(clip.vision.width, value<int>(member(config, "fpn", where), "out_channels", where));
  load_part(backbone, tensors, "backbone.", where);
  load_part(neck, tensors, "neck.", where);
  check_second_state(c, tensors);

  backbone.train(false);
  neck.train(false);
  auto features = backbone.forward(images);
  check_maps(c, "eval.feat", features.levels);
  c.check("eval.vlm", features.dense, kDetector);
  check_maps(c, "eval.fpn", neck.forward(features.levels));
  {
    const at::NoGradGuard no_grad;
    auto* eva = dynamic_cast<models::EvaVisionTower*>(tower.get());
    if (eva == nullptr) throw Error({.doing = "reading", .where = where, .found = "a tower that is no EVA tower"});
    const std::int64_t h = images.size(2) / clip.vision.patch_size, w = images.size(3) / clip.vision.patch_size;
    const auto& rotary = eva->rotary(h, w);
    c.check("eval.patch_embed", eva->patches(images), kDetector);
    c.check("eval.pos_embed", eva->position_embedding(h, w), kDetector);
    c.check("eval.rope_cos", rotary.cos, Tolerance::abs(1e-6));
    c.check("eval.rope_sin", rotary.sin, Tolerance::abs(1e-6));
    auto tokens = eva->input_tokens(images);
    for (int i = 0; i + 1 < clip.vision.layers; ++i) {
      tokens = eva->block(i).forward(tokens, rotary);
      if (i == 0) c.check("eval.block.0", tokens, kDetector);
    }
    c.check("eval.block.last_attn", tokens, kDetector);
    c.check("eval.final_tokens", eva->block(clip.vision.layers - 1).forward_without_attention(tokens.slice(1, 1)),
            kDetector);
  }
  backbone.train(true);
  neck.train(true);
  features = backbone.forward(images);
  c.check("train.feat.0", features.levels[0], kDetector);
  check_maps(c, "train.fpn", neck.forward(features.levels));
  c.check_that("no dense map in training", !features.dense.defined(), "there is one");
  check_buffers(c, "train.stats.", backbone, "backbone.");
  check_buffers(c, "train.stats.", neck, "neck.");
}

void verify_rpn(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  const auto tensors = state_of(c);
  c.load_expected("expected.safetensors");
  const auto& head = member(config, "head", where);
  const auto& anchor_settings = member(head, "anchor_generator", where);
  const auto strides = value<std::vector<double>>(anchor_settings, "strides", where);
  const auto& train = member(config, "train_cfg_rpn", where);
  detection::DetectorConfig settings;
  settings.channels = value<int>(head, "in_channels", where);
  settings.rpn_convs = value<int>(head, "num_convs", where);
  settings.rpn_norm = head.contains("norm_cfg");
  settings.anchor_scale = value<std::vector<double>>(anchor_settings, "scales", where).at(0);
  settings.anchor_ratios = value<std::vector<double>>(anchor_settings, "ratios", where);
  settings.rpn_assign = assign_options(member(train, "assigner", where), where);
  const auto selection = proposal_selection(member(config, "test_cfg", where), where);
  detection::ProposalNetwork rpn(settings, strides);
  load_part(rpn, tensors, "rpn_head.", where);
  check_second_state(c, tensors);
  std::vector<at::Tensor> levels;
  for (std::size_t i = 0; i < strides.size(); ++i)
    levels.push_back(tensor(inputs, numbered("feat", i), where).to(at::kFloat).clone().set_requires_grad(true));
  std::vector<detection::PictureSize> pictures;
  for (const auto& meta : member(config, "img_metas", where)) pictures.push_back(picture_of(meta, where).size);

  rpn.train(false);
  auto output = rpn.forward(levels);
  check_maps(c, "eval.cls", output.scores);
  check_maps(c, "eval.reg", output.deltas);
  const auto check_proposals = [&](const std::string& name, const detection::ProposalSelection& chosen) {
    const auto found = rpn.select(output, pictures, chosen);
    for (std::size_t i = 0; i < found.size(); ++i)
      check_scored_boxes(c, numbered(name, i), found[i].boxes, found[i].scores, 1e-2, 1e-4);
  };
  check_proposals("proposals", selection);
  if (config.contains("proposals_alt"))
    check_proposals("proposals_alt", proposal_selection(config["proposals_alt"], where));

  rpn.train(true);
  output = rpn.forward(levels);
  check_maps(c, "train.cls", output.scores);
  check_maps(c, "train.reg", output.deltas);
  const auto extents = detection::ProposalNetwork::extents(levels);
  std::vector<detection::ProposalNetwork::Anchors> anchors;
  std::vector<at::Tensor> objects;
  std::vector<detection::Assignment> assigned;
  std::vector<detection::Drawn> drawn;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    objects.push_back(tensor(inputs, numbered("gt_bboxes", i), where, {-1, 4}));
    anchors.push_back(rpn.anchors(extents, pictures[i]));
    assigned.push_back(rpn.assign_anchors(anchors.back(), objects.back()));
    c.check(numbered("gt_inds", i), assigned.back().object, Tolerance::exact());
    drawn.push_back({tensor(inputs, numbered("pos_inds", i), where), tensor(inputs, numbered("neg_inds", i), where)});
  }
  const auto targets = rpn.targets(anchors, objects, assigned, drawn);
  c.check("target.labels", targets.labels, Tolerance::exact());
  c.check("target.label_weights", targets.label_weights, Tolerance::exact());
  c.check("target.bbox_targets", targets.deltas, kDetector);
  c.check("target.bbox_weights", targets.delta_weights, Tolerance::exact());
  c.check_number("normaliser", static_cast<double>(targets.normaliser),
                 value<double>(config, "num_total_pos", where) + value<double>(config, "num_total_neg", where),
                 Tolerance::exact());
  const auto losses = rpn.losses(output, targets);
  c.check("loss_rpn_cls", losses.scores, kDetector);
  c.check("loss_rpn_bbox", losses.deltas, kDetector);
  (losses.scores.sum() + losses.deltas.sum()).backward();
  check_gradients(c, rpn, "rpn_head.");
  for (std::size_t i = 0; i < levels.size(); ++i)
    c.check(numbered("grad.feat", i), levels[i].grad(), kGradient, "grad.feat.*");
  check_buffers(c, "stats.", rpn, "rpn_head.");
}

void verify_box_head(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  const auto tensors = state_of(c);
  c.load_expected("expected.safetensors");
  detection::DetectorConfig settings;
  read_box_head(member(config, "bbox_head", where), where, settings);
  auto classes = read_classes(c, settings.fixed_temperature);
  const std::int64_t background = classes.count();
  detection::BoxHead head(settings, std::move(classes));
  load_part(head, tensors, "roi_head.bbox_head.", where);
  check_second_state(c, tensors);
  if (config.contains("class_weight"))
    c.check_value("class_weight", head.class_weights(),
                  at::tensor(value<std::vector<float>>(config, "class_weight", where)), Tolerance::abs(1e-7));
  if (config.contains("detect_temperature_at_load"))
    c.check_number("temperature", head.temperature().item<double>(),
                   value<double>(config, "detect_temperature_at_load", where), Tolerance::abs(1e-4));

  head.train(false);
  const auto rois = tensor(inputs, "rois", where, {-1, 5}).slice(1, 1, 5).contiguous();
  auto output = head.forward(tensor(inputs, "roi_feats", where));
  c.check("eval.logits", output.logits, kDetector);
  c.check("eval.bbox_pred", output.deltas, kDetector);
  const auto scores = head.fuse(output.logits, tensor(inputs, "vlm_feats", where));
  c.check("eval.score", scores, kDetector);
  const auto boxes = detection::decode_boxes(rois, output.deltas, settings.box_stds,
                                             extent_of(member(config, "img_shape", where), where));
  const auto scale = at::tensor(value<std::vector<float>>(config, "scale_factor", where));
  c.check("eval.boxes_net", boxes, Tolerance::abs(1e-2));
  c.check("eval.boxes_ori", boxes / scale, Tolerance::abs(1e-2));
  for (const std::string variant : {"", "alt_"}) {
    const auto selection = detection_selection(member(config, variant + "test_cfg", where), where);
    const auto found = detection::select_detections(boxes / scale, scores, selection).first;
    check_scored_boxes(c, "eval." + variant + "det_bboxes", found.boxes, found.scores, 1e-2, 1e-4);
    c.check("eval." + variant + "det_labels", found.labels, Tolerance::exact());
    if (variant.empty()) c.check("eval.result_counts", at::bincount(found.labels, {}, background), Tolerance::exact());
  }

  head.train(true);
  const auto features = tensor(inputs, "train.roi_feats", where).to(at::kFloat).clone().set_requires_grad(true);
  const auto objects = tensor(inputs, "train.gt_bboxes", where, {-1, 4});
  const auto proposals = tensor(inputs, "train.proposals", where).slice(1, 0, 4).contiguous();
  auto assignment = detection::assign(
      proposals, objects, assign_options(member(member(config, "train_cfg", where), "assigner", where), where));
  assignment.object = at::cat({at::arange(1, objects.size(0) + 1, at::kLong), assignment.object});
  const auto targets = detection::roi_targets(
      at::cat({objects, proposals}),
      {.boxes = objects, .labels = tensor(inputs, "train.gt_labels", where, {-1}), .masks = {}}, assignment,
      {tensor(inputs, "train.pos_inds", where, {-1}), tensor(inputs, "train.neg_inds", where, {-1})}, background,
      settings.box_stds);
  const auto rows = targets.boxes.size(0), positives = targets.positive_boxes.size(0);
  c.check("train.rois", at::cat({at::zeros({rows, 1}), targets.boxes}, 1), Tolerance::exact());
  c.check("train.labels", targets.labels, Tolerance::exact());
  c.check("train.label_weights", at::ones({rows}), Tolerance::exact());
  c.check("train.bbox_targets", targets.deltas, kDetector);
  c.check("train.bbox_weights", (at::arange(rows) < positives).to(at::kFloat).unsqueeze(1).expand({rows, 4}),
          Tolerance::exact());
  output = head.forward(features);
  c.check("train.cls_score", output.logits, kDetector);
  c.check("train.bbox_pred", output.deltas, kDetector);
  c.check("train.cls_score_masked", head.trained_logits(output.logits), kDetector);
  const auto losses = head.losses(output, targets.labels, targets.deltas);
  c.check("loss_cls", losses.classes.unsqueeze(0), kDetector);
  c.check("loss_bbox", losses.boxes.unsqueeze(0), kDetector);
  c.check("acc", losses.accuracy.unsqueeze(0), kDetector);
  (losses.classes + losses.boxes).backward();
  check_gradients(c, head, "roi_head.bbox_head.");
  c.check("grad.roi_feats", features.grad(), kGradient);
  check_buffers(c, "stats.", head, "roi_head.bbox_head.");

  if (!c.expects("loss_only.loss")) return;
  // All rows weigh 1 in the detector; here some weigh nothing.
  const auto logits = tensor(inputs, "loss_only.logits", where).to(at::kFloat).clone().set_requires_grad(true);
  const auto labels = tensor(inputs, "loss_only.labels", where, {-1});
  const auto weights = tensor(inputs, "loss_only.label_weights", where, {-1});
  const auto loss = head.class_loss(logits, labels, weights);
  loss.backward();
  c.check("loss_only.loss", loss.unsqueeze(0), kDetector);
  c.check("loss_only.grad", logits.grad(), kGradient);
}

void verify_mask_head(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  const auto tensors = state_of(c);
  c.load_expected("expected.safetensors");
  detection::DetectorConfig settings;
  settings.channels = value<int>(member(config, "mask_head", where), "in_channels", where);
  settings.mask_convs = value<int>(member(config, "mask_head", where), "num_convs", where);
  settings.mask_size = value<int>(config, "mask_size", where);
  const auto threshold = value<double>(config, "mask_thr_binary", where);
  detection::MaskHead head(settings);
  load_part(head, tensors, "roi_head.mask_head.", where);

  head.train(false);
  const auto logits = head.forward(tensor(inputs, "mask_feats", where));
  c.check("eval.mask_pred", logits, kDetector);
  const auto boxes = tensor(inputs, "det_bboxes", where, {-1, 4});
  const auto labels = tensor(inputs, "det_labels", where, {-1});
  const auto order = std::get<1>(labels.sort(/*stable=*/true, 0, /*descending=*/false));
  const auto scale = value<std::vector<float>>(config, "scale_factor", where);
  const auto original = extent_of(member(config, "ori_shape", where), where);
  const detection::Extent scaled{std::llround(static_cast<double>(original[0]) * static_cast<double>(scale.at(1))),
                                 std::llround(static_cast<double>(original[1]) * static_cast<double>(scale.at(0)))};
  for (const std::string name : {"paste", "paste2"}) {
    const bool first = name == "paste";
    const auto masks =
        detection::paste_masks(logits, first ? boxes / at::tensor(scale) : boxes, first ? original : scaled, threshold);
    const auto by_class = masks.index_select(0, order);
    c.check(name + ".order", order, Tolerance::exact());
    check_masks(c, name + ".masks", by_class, name + ".rle.json");
  }

  head.train(true);
  const auto positive = tensor(inputs, "train.pos_bboxes", where, {-1, 4});
  const auto soft =
      detection::mask_parts(tensor(inputs, "train.gt_masks", where), positive,
                            tensor(inputs, "train.pos_assigned_gt_inds", where, {-1}), settings.mask_size);
  const auto targets = (soft >= 0.5).to(at::kFloat);
  c.check("train.mask_targets_soft", soft, kDetector);
  c.check("train.mask_targets", targets, Tolerance::exact());
  const auto features = tensor(inputs, "train.mask_feats", where).to(at::kFloat).clone().set_requires_grad(true);
  const auto trained = head.forward(features);
  c.check("train.mask_pred", trained, kDetector);
  const auto loss = detection::MaskHead::loss(trained, targets);
  c.check("loss_mask", loss.unsqueeze(0), kDetector);
  loss.backward();
  check_gradients(c, head, "roi_head.mask_head.");
  c.check("grad.mask_feats", features.grad(), kGradient);
  check_buffers(c, "stats.", head, "roi_head.mask_head.");
}

void verify_detector(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto images = tensor(c.tensors("inputs.safetensors"), "img", where, {-1, 3, -1, -1}).to(at::kFloat);
  c.load_expected("expected.safetensors");
  const auto detector = build_detector(c, config);
  const bool transfer = detector->config().fixed_temperature;
  const auto file = config.contains("checkpoint") ? value<std::string>(config, "checkpoint", where) : "state.pth";
  const auto report = detection::load_detector(*detector, state_of(c, file), file, transfer);
  if (transfer) {
    const auto after = c.tensors("state_after_load.safetensors");
    const auto own = detector->state();
    for (const auto& item : after) {
      if (item.key().find(".rope.") != std::string::npos || item.key().find(".fc_cls.") != std::string::npos) continue;
      const auto* found = own.find(item.key());
      c.check_value(item.key(), found == nullptr ? at::Tensor() : *found, item.value(), Tolerance::abs(1e-7),
                    "state after loading *");
    }
    auto left_out = report.left_out;
    std::sort(left_out.begin(), left_out.end());
    c.check_json("load_unexpected_keys", left_out, member(config, "load_unexpected_keys", where));
  }
  const at::NoGradGuard no_grad;
  std::size_t i = 0;
  for (const auto& meta : member(config, "img_metas", where)) {
    const auto picture = picture_of(meta, where);
    const auto image = images.narrow(0, static_cast<std::int64_t>(i), 1);
    const auto features = detector->features(image);
    const auto proposals = detector->propose(features, {picture.size}).at(0);
    check_scored_boxes(c, numbered("proposals", i), proposals.boxes, proposals.scores, 2e-2, 1e-3);
    const auto scored = detector->score(features, {proposals.boxes});
    c.check(numbered("cls_score", i), scored.scores, Tolerance::abs(1e-3));
    c.check(numbered("bbox_pred", i), scored.deltas, Tolerance::abs(1e-3));
    const auto found = detector->detect(image, {picture}).at(0);
    check_scored_boxes(c, numbered("det_bboxes", i), found.boxes, found.scores, 2e-2, 1e-3);
    c.check(numbered("det_labels", i), found.labels, Tolerance::exact());
    c.check(numbered("result_counts", i), at::bincount(found.labels, {}, detector->box_head().classes().count()),
            Tolerance::exact());
    if (detector->has_masks()) {
      const auto boxes = found.boxes * at::tensor(at::ArrayRef<float>(picture.scale));
      c.check(numbered("mask_rois", i), at::cat({at::zeros({boxes.size(0), 1}), boxes}, 1), Tolerance::abs(2e-2));
      c.check(numbered("mask_pred", i), detector->mask_logits(features, {boxes}), Tolerance::abs(1e-2));
      check_masks(c, numbered("masks", i), found.masks, numbered("masks", i) + ".rle.json");
    }
    ++i;
  }
}

}  // namespace clipself::cli::verify
