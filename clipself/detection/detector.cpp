#include "clipself/detection/detector.h"

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/models/backbone.h"
#include "clipself/ops/roi_align.h"

namespace clipself::detection {
namespace {

constexpr std::size_t kRoiLevels = 4;

void check_pictures(std::size_t pictures, const at::Tensor& images) {
  if (static_cast<std::int64_t>(pictures) == images.size(0)) return;
  throw Error({.doing = "detecting objects",
               .found = c10::str(pictures, " picture sizes for ", images.size(0), " images"),
               .expected = "one each"});
}

bool passed_over(const std::string& name) {
  return name.find(".rope.") != std::string::npos || name.starts_with("roi_head.bbox_head.fc_cls.");
}

constexpr const char* kEmbeddings = "roi_head.bbox_head.all_embeddings";

}  // namespace

Detector::Detector(const models::ClipConfig& clip, const DetectorConfig& config, DetectionClasses classes)
    : config_(config), patch_(clip.vision.patch_size) {
  for (const double part : {0.25, 0.5, 1.0, 2.0, 4.0}) strides_.push_back(part * patch_);
  roi_strides_.assign(strides_.begin(), strides_.begin() + kRoiLevels);
  auto tower = models::backbone(clip.vision.backbone).make(clip);
  if (classes.embeddings.defined() && classes.embeddings.dim() == 2 && classes.embeddings.size(1) != clip.embed_dim) {
    throw Error({.doing = "building a detector",
                 .found = c10::str("class embeddings of width ", classes.embeddings.size(1)),
                 .expected = c10::str(clip.embed_dim, ", the width of ", clip.name)});
  }
  backbone_ = register_module("backbone", std::make_shared<Backbone>(tower, config.taps, clip.vision.width));
  neck_ = register_module("neck", std::make_shared<PyramidNetwork>(clip.vision.width, config.channels));
  rpn_ = register_module("rpn_head", std::make_shared<ProposalNetwork>(config, strides_));
  roi_head_ = register_module("roi_head", std::make_shared<torch::nn::Module>());
  box_head_ = roi_head_->register_module("bbox_head", std::make_shared<BoxHead>(config, std::move(classes)));
  if (config.masks) mask_head_ = roi_head_->register_module("mask_head", std::make_shared<MaskHead>(config));
  train(false);
}

training::LossTerms TrainingPass::terms() const {
  const auto anchors_drawn = static_cast<double>(normaliser), boxes_drawn = static_cast<double>(labels.size(0));
  training::LossTerms terms{{"loss_rpn_cls", proposal_losses.scores.sum(), anchors_drawn},
                            {"loss_rpn_bbox", proposal_losses.deltas.sum(), anchors_drawn},
                            {"loss_cls", box_losses.classes, boxes_drawn},
                            {"loss_bbox", box_losses.boxes, boxes_drawn}};
  if (mask_loss.defined()) terms.push_back({"loss_mask", mask_loss, static_cast<double>(mask_targets.size(0))});
  terms.push_back({"acc", box_losses.accuracy, boxes_drawn});
  return terms;
}

void Detector::synchronize_norms(const std::shared_ptr<distributed::Processes>& processes) {
  apply([&](torch::nn::Module& module) {
    if (auto* norm = dynamic_cast<BatchNorm*>(&module)) norm->synchronize(processes);
  });
}

MaskHead& Detector::mask_head() {
  if (!mask_head_) throw Error({.doing = "detecting masks", .found = "a detector without a mask head"});
  return *mask_head_;
}

Features Detector::features(const at::Tensor& images) {
  auto features = backbone_->forward(images);
  features.levels = neck_->forward(features.levels);
  return features;
}

TrainingPass Detector::train_pass(const at::Tensor& images, const std::vector<PictureSize>& pictures,
                                  const std::vector<Objects>& objects, std::span<Rng> randomness) {
  TORCH_CHECK(randomness.size() == pictures.size(), "a stream of random numbers for each picture");
  return train_pass(
      images, pictures, objects,
      [&](std::size_t i, const Assignment& found) { return draw(found.object, config_.rpn_sample, randomness[i]); },
      [&](std::size_t i, const Assignment& found) { return draw(found.object, config_.roi_sample, randomness[i]); });
}

TrainingPass Detector::train_pass(const at::Tensor& images, const std::vector<PictureSize>& pictures,
                                  const std::vector<Objects>& objects, const Draw& draw_anchors,
                                  const Draw& draw_rois) {
  check_pictures(pictures.size(), images);
  check_pictures(objects.size(), images);
  TrainingPass pass;
  const auto levels = features(images).levels;
  const auto output = rpn_->forward(levels);
  const auto extents = ProposalNetwork::extents(levels);
  std::vector<ProposalNetwork::Anchors> anchors;
  std::vector<at::Tensor> boxes;
  std::vector<Drawn> drawn;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    anchors.push_back(rpn_->anchors(extents, pictures[i]));
    boxes.push_back(objects[i].boxes);
    pass.anchors.push_back(rpn_->assign_anchors(anchors.back(), objects[i].boxes));
    drawn.push_back(draw_anchors(i, pass.anchors.back()));
  }
  const auto anchor_targets = rpn_->targets(anchors, boxes, pass.anchors, drawn);
  pass.normaliser = anchor_targets.normaliser;
  pass.proposal_losses = rpn_->losses(output, anchor_targets);
  pass.proposals = rpn_->select(output, pictures, config_.proposals);

  const std::int64_t background = box_head_->classes().count();
  std::vector<at::Tensor> rois, labels, deltas, positive_boxes, mask_targets;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::int64_t count = objects[i].boxes.size(0);
    auto assignment = assign(pass.proposals[i].boxes, objects[i].boxes, config_.roi_assign);
    // The objects' own boxes come first, each its own.
    assignment.object = at::cat({at::arange(1, count + 1, assignment.object.options()), std::move(assignment.object)});
    assignment.overlap = at::cat({at::ones({count}, assignment.overlap.options()), std::move(assignment.overlap)});
    const auto candidates = at::cat({objects[i].boxes, pass.proposals[i].boxes});
    const auto targets =
        roi_targets(candidates, objects[i], assignment, draw_rois(i, assignment), background, config_.box_stds);
    pass.rois.push_back(std::move(assignment));
    rois.push_back(targets.boxes);
    labels.push_back(targets.labels);
    deltas.push_back(targets.deltas);
    if (mask_head_ == nullptr) continue;
    positive_boxes.push_back(targets.positive_boxes);
    mask_targets.push_back(
        (mask_parts(objects[i].masks, targets.positive_boxes, targets.positive_objects, config_.mask_size) >= 0.5)
            .to(at::kFloat));
  }
  pass.labels = at::cat(labels);
  pass.targets = at::cat(deltas);
  const auto pooled = extract_rois(levels, roi_strides_, rois, kBoxBins);
  pass.box_losses = box_head_->losses(box_head_->forward(pooled), pass.labels, pass.targets);
  if (mask_head_ != nullptr) {
    pass.mask_targets = at::cat(mask_targets);
    const auto parts = extract_rois(levels, roi_strides_, positive_boxes, config_.mask_size / 2);
    pass.mask_loss = MaskHead::loss(mask_head_->forward(parts), pass.mask_targets);
  }
  return pass;
}

std::vector<Proposals> Detector::propose(const Features& features, const std::vector<PictureSize>& pictures) {
  return rpn_->select(rpn_->forward(features.levels), pictures, config_.proposals);
}

Detector::Scored Detector::score(const Features& features, const std::vector<at::Tensor>& boxes) {
  const auto output = box_head_->forward(extract_rois(features.levels, roi_strides_, boxes, kBoxBins));
  std::vector<at::Tensor> places;
  for (const auto& list : boxes) places.push_back(list * (1.0 / patch_));
  const auto dense = ops::roi_align(features.dense.to(at::kFloat), places).flatten(1);
  return {box_head_->fuse(output.logits, dense), output.deltas};
}

Detections Detector::finish(const Picture& picture, const at::Tensor& boxes, const Scored& scored) const {
  auto exact = decode_boxes(boxes, scored.deltas, config_.box_stds, picture.size.content);
  if (exact.size(0) > 0) exact = exact / at::tensor(at::ArrayRef<float>(picture.scale), exact.options());
  return select_detections(exact, scored.scores, config_.selection).first;
}

at::Tensor Detector::mask_logits(const Features& features, const std::vector<at::Tensor>& boxes) {
  return mask_head().forward(extract_rois(features.levels, roi_strides_, boxes, config_.mask_size / 2));
}

std::vector<Detections> Detector::detect(const at::Tensor& images, const std::vector<Picture>& pictures) {
  const at::NoGradGuard no_grad;
  check_pictures(pictures.size(), images);
  const auto seen = features(images);
  std::vector<PictureSize> sizes;
  std::vector<at::Tensor> boxes;
  std::vector<std::int64_t> counts;
  for (const auto& picture : pictures) sizes.push_back(picture.size);
  for (const auto& proposals : propose(seen, sizes)) {
    boxes.push_back(proposals.boxes);
    counts.push_back(proposals.boxes.size(0));
  }
  const auto scored = score(seen, boxes);
  const auto scores = scored.scores.split_with_sizes(counts), deltas = scored.deltas.split_with_sizes(counts);
  std::vector<Detections> found;
  std::vector<at::Tensor> mask_boxes;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    found.push_back(finish(pictures[i], boxes[i], {scores[i], deltas[i]}));
    mask_boxes.push_back(found.back().boxes *
                         at::tensor(at::ArrayRef<float>(pictures[i].scale), found.back().boxes.options()));
  }
  if (mask_head_ == nullptr) return found;
  std::vector<std::int64_t> kept;
  for (const auto& list : mask_boxes) kept.push_back(list.size(0));
  const auto logits = mask_logits(seen, mask_boxes).split_with_sizes(kept);
  for (std::size_t i = 0; i < pictures.size(); ++i)
    found[i].masks = paste_masks(logits[i], found[i].boxes, pictures[i].original, config_.selection.mask_threshold);
  return found;
}

std::vector<std::pair<std::string, at::Tensor>> Detector::trainable() {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (const auto& item : named_parameters())
    if (item.value().requires_grad()) result.emplace_back(item.key(), item.value());
  return result;
}

formats::TensorDict Detector::state() {
  formats::TensorDict out;
  for (const auto& item : named_parameters()) out.insert(item.key(), item.value().detach());
  for (const auto& item : named_buffers()) out.insert(item.key(), item.value().detach());
  return out;
}

DetectorLoadReport load_detector(Detector& detector, const formats::TensorDict& tensors, const std::string& source,
                                 bool transfer) {
  const at::NoGradGuard no_grad;
  const auto refuse = [&](const std::string& found, const std::string& hint = {}) {
    throw Error({.doing = "loading detector weights",
                 .where = source,
                 .found = found,
                 .expected = "the tensors of this detector's configuration",
                 .hint = hint});
  };
  DetectorLoadReport report;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  const auto own = detector.state();
  for (const auto& item : own) {
    if (passed_over(item.key())) continue;
    const auto* found = tensors.find(item.key());
    if (found == nullptr) {
      refuse("no tensor '" + item.key() + "'",
             vocabulary_of(tensors) == 0 ? "is this the checkpoint of a detector?" : "");
    } else if (found->sizes() == item.value().sizes()) {
      if (!(transfer && item.key() == kEmbeddings)) copies.emplace_back(item.value(), *found);
    } else if (transfer && item.key() == kEmbeddings) {
      report.other_shape.push_back(item.key());
    } else {
      refuse(c10::str("'", item.key(), "' of shape ", found->sizes(), " instead of ", item.value().sizes()),
             item.key() == kEmbeddings ? "another vocabulary is a transfer" : "");
    }
  }
  for (const auto& item : tensors) {
    if (passed_over(item.key()) || own.find(item.key()) != nullptr) continue;
    const bool spare =
        item.key().starts_with("roi_head.mask_head.") || item.key() == "roi_head.bbox_head.detect_temperature";
    if (!(transfer && spare)) refuse("a tensor '" + item.key() + "' that has no place");
    report.left_out.push_back(item.key());
  }
  for (auto& [to, from] : copies) to.copy_(from);
  return report;
}

std::int64_t vocabulary_of(const formats::TensorDict& tensors) {
  const auto* embeddings = tensors.find(kEmbeddings);
  return embeddings == nullptr || embeddings->dim() != 2 ? 0 : embeddings->size(1) - 1;
}

bool has_masks(const formats::TensorDict& tensors) {
  return tensors.find("roi_head.mask_head.conv_logits.weight") != nullptr;
}

}  // namespace clipself::detection
