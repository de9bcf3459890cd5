#include "clipself/detection/proposals.h"

#include "clipself/ops/nms.h"

namespace clipself::detection {
namespace {

constexpr std::array<double, 4> kProposalStds{1, 1, 1, 1};

/// (B, A k, h, w) -> (B, h w A, k)
at::Tensor by_anchor(const at::Tensor& map, std::int64_t numbers) {
  return map.permute({0, 2, 3, 1}).reshape({map.size(0), -1, numbers}).to(at::kFloat);
}

}  // namespace

ProposalNetwork::ProposalNetwork(const DetectorConfig& config, std::vector<double> strides)
    : config_(config), strides_(std::move(strides)) {
  auto convs = std::make_shared<torch::nn::Module>();
  const auto anchors = static_cast<std::int64_t>(config.anchor_ratios.size());
  for (int i = 0; i < config.rpn_convs; ++i)
    convs_.push_back(convs->register_module(
        std::to_string(i), std::make_shared<ConvModule>(config.channels, config.channels, 3, config.rpn_norm, true)));
  register_module("rpn_conv", convs);
  cls_ = register_module("rpn_cls", std::make_shared<Conv2d>(config.channels, anchors, 1));
  reg_ = register_module("rpn_reg", std::make_shared<Conv2d>(config.channels, 4 * anchors, 1));
  for (auto& conv : convs_) models::init_normal(conv->conv().weight, 0.01);
  for (auto* conv : {cls_.get(), reg_.get()}) models::init_normal(conv->weight, 0.01);
  for (const double stride : strides_) base_.push_back(base_anchors(stride, config.anchor_scale, config.anchor_ratios));
}

std::vector<Extent> ProposalNetwork::extents(const std::vector<at::Tensor>& levels) {
  std::vector<Extent> extents;
  for (const auto& level : levels) extents.push_back({level.size(2), level.size(3)});
  return extents;
}

ProposalNetwork::Output ProposalNetwork::forward(const std::vector<at::Tensor>& levels) {
  Output output;
  for (const auto& level : levels) {
    auto x = level;
    for (auto& conv : convs_) x = conv->forward(x);
    output.scores.push_back(cls_->forward(x));
    output.deltas.push_back(reg_->forward(x));
  }
  return output;
}

ProposalNetwork::Anchors ProposalNetwork::anchors(const std::vector<Extent>& maps, const PictureSize& picture) const {
  const auto device = cls_->weight.device();
  std::vector<at::Tensor> all, inside;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    all.push_back(grid_anchors(base_[i].to(device), strides_[i], maps[i]));
    inside.push_back(valid_anchors(strides_[i], maps[i], picture.padded, base_[i].size(0)));
  }
  return {at::cat(all), at::cat(inside).to(device)};
}

Assignment ProposalNetwork::assign_anchors(const Anchors& anchors, const at::Tensor& objects) const {
  return assign(anchors.all.index({anchors.inside}), objects, config_.rpn_assign);
}

ProposalNetwork::Targets ProposalNetwork::targets(const std::vector<Anchors>& anchors,
                                                  const std::vector<at::Tensor>& objects,
                                                  const std::vector<Assignment>& assigned,
                                                  const std::vector<Drawn>& drawn) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> labels, label_weights, deltas, delta_weights;
  Targets targets;
  for (std::size_t i = 0; i < anchors.size(); ++i) {
    const auto& all = anchors[i].all;
    const auto inside = anchors[i].inside.nonzero().squeeze(1);
    const auto positive = inside.index_select(0, drawn[i].positive),
               negative = inside.index_select(0, drawn[i].negative);
    labels.push_back(at::ones({all.size(0)}, inside.options()).index_fill_(0, positive, 0));
    label_weights.push_back(
        at::zeros({all.size(0)}, all.options()).index_fill_(0, positive, 1).index_fill_(0, negative, 1));
    deltas.push_back(at::zeros_like(all));
    delta_weights.push_back(at::zeros_like(all));
    if (positive.numel() > 0) {
      const auto own = objects[i].index_select(0, assigned[i].object.index_select(0, drawn[i].positive) - 1);
      deltas.back().index_copy_(0, positive, encode_boxes(all.index_select(0, positive), own, kProposalStds));
      delta_weights.back().index_fill_(0, positive, 1);
    }
    targets.normaliser += std::max<std::int64_t>(1, positive.numel()) + std::max<std::int64_t>(1, negative.numel());
  }
  targets.labels = at::stack(labels);
  targets.label_weights = at::stack(label_weights);
  targets.deltas = at::stack(deltas);
  targets.delta_weights = at::stack(delta_weights);
  return targets;
}

ProposalNetwork::Losses ProposalNetwork::losses(const Output& output, const Targets& targets) const {
  std::vector<at::Tensor> scores, deltas;
  const double share = 1.0 / static_cast<double>(targets.normaliser);
  std::int64_t first = 0;
  for (std::size_t i = 0; i < output.scores.size(); ++i) {
    const auto logits = by_anchor(output.scores[i], 1).squeeze(2);
    const auto offsets = by_anchor(output.deltas[i], 4);
    const std::int64_t last = first + logits.size(1);
    const auto part = [&](const at::Tensor& target) { return target.slice(1, first, last); };
    const auto object = (part(targets.labels) == 0).to(at::kFloat);
    scores.push_back(
        at::binary_cross_entropy_with_logits(logits, object, part(targets.label_weights), {}, at::Reduction::Sum) *
        share);
    deltas.push_back(((offsets - part(targets.deltas)).abs() * part(targets.delta_weights)).sum() * share);
    first = last;
  }
  return {at::stack(scores), at::stack(deltas)};
}

std::vector<Proposals> ProposalNetwork::select(const Output& output, const std::vector<PictureSize>& pictures,
                                               const ProposalSelection& selection) const {
  const at::NoGradGuard no_grad;
  std::vector<Proposals> proposals;
  for (std::size_t image = 0; image < pictures.size(); ++image) {
    const auto row = static_cast<std::int64_t>(image);
    std::vector<at::Tensor> boxes, scores, levels;
    for (std::size_t i = 0; i < output.scores.size(); ++i) {
      const auto& map = output.scores[i];
      auto score = by_anchor(map.narrow(0, row, 1), 1).flatten().sigmoid();
      auto delta = by_anchor(output.deltas[i].narrow(0, row, 1), 4)[0];
      auto anchor = grid_anchors(base_[i].to(map.device()), strides_[i], {map.size(2), map.size(3)});
      if (selection.before_nms > 0 && selection.before_nms < score.size(0)) {
        const auto best =
            std::get<1>(score.sort(/*stable=*/true, 0, /*descending=*/true)).slice(0, 0, selection.before_nms);
        score = score.index_select(0, best);
        delta = delta.index_select(0, best);
        anchor = anchor.index_select(0, best);
      }
      boxes.push_back(decode_boxes(anchor, delta, kProposalStds, pictures[image].content));
      levels.push_back(at::full({score.size(0)}, static_cast<std::int64_t>(i), score.options().dtype(at::kLong)));
      scores.push_back(std::move(score));
    }
    auto all = at::cat(boxes), score = at::cat(scores), level = at::cat(levels);
    const auto sides = all.slice(1, 2, 4) - all.slice(1, 0, 2);
    const auto solid = (sides > 0).all(1).nonzero().squeeze(1);
    all = all.index_select(0, solid);
    score = score.index_select(0, solid);
    const auto kept =
        ops::batched_nms(all, score, level.index_select(0, solid), selection.iou_threshold, selection.count);
    proposals.push_back({all.index_select(0, kept), score.index_select(0, kept)});
  }
  return proposals;
}

}  // namespace clipself::detection
