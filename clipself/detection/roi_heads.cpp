#include "clipself/detection/roi_heads.h"

#include <torch/nn/init.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "clipself/base/error.h"
#include "clipself/ops/nms.h"
#include "clipself/ops/roi_align.h"

namespace clipself::detection {
namespace {

constexpr double kNoWeight = 1e-5;

template <typename Make>
auto named_list(torch::nn::Module& parent, const char* name, int count, const Make& make) {
  auto holder = std::make_shared<torch::nn::Module>();
  std::vector<decltype(make(0))> list;
  for (int i = 0; i < count; ++i) list.push_back(holder->register_module(std::to_string(i), make(i)));
  parent.register_module(name, holder);
  return list;
}

std::shared_ptr<Linear> xavier(std::int64_t in, std::int64_t out) {
  auto linear = std::make_shared<Linear>(in, out, true);
  torch::nn::init::xavier_uniform_(linear->weight);
  return linear;
}

}  // namespace

at::Tensor roi_levels(const at::Tensor& boxes, std::int64_t levels) {
  const auto sides = boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2);
  const auto size = (sides.select(1, 0) * sides.select(1, 1)).sqrt();
  return (size / kFinestBox + 1e-6).log2().floor().clamp(0, static_cast<double>(levels - 1)).to(at::kLong);
}

at::Tensor extract_rois(const std::vector<at::Tensor>& levels, const std::vector<double>& strides,
                        const std::vector<at::Tensor>& boxes, int size) {
  if (strides.size() > levels.size() || strides.empty())
    throw Error({.doing = "extracting features of boxes",
                 .found = c10::str(levels.size(), " levels for ", strides.size(), " strides")});
  const auto all = at::cat(boxes);
  const auto level = roi_levels(all, std::ssize(strides));
  std::vector<std::int64_t> counts;
  for (const auto& list : boxes) counts.push_back(list.size(0));
  const auto level_of = level.split_with_sizes(counts);
  std::vector<at::Tensor> pooled, places;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    std::vector<at::Tensor> own;
    for (std::size_t image = 0; image < boxes.size(); ++image) {
      const auto rows = (level_of[image] == static_cast<std::int64_t>(i)).nonzero().squeeze(1);
      own.push_back(boxes[image].index_select(0, rows) * (1.0 / strides[i]));
    }
    places.push_back((level == static_cast<std::int64_t>(i)).nonzero().squeeze(1));
    pooled.push_back(ops::roi_align(levels[i], own, size));
  }
  // Back from level by level to the order of the boxes.
  const auto order = std::get<1>(at::cat(places).sort());
  return at::cat(pooled).index_select(0, order);
}

RoiTargets roi_targets(const at::Tensor& boxes, const Objects& objects, const Assignment& assignment,
                       const Drawn& drawn, std::int64_t background, const std::array<double, 4>& stds) {
  RoiTargets targets;
  targets.positive_boxes = boxes.index_select(0, drawn.positive);
  targets.positive_objects = assignment.object.index_select(0, drawn.positive) - 1;
  const auto negative = boxes.index_select(0, drawn.negative);
  targets.boxes = at::cat({targets.positive_boxes, negative});
  const std::int64_t positives = drawn.positive.numel(), negatives = drawn.negative.numel();
  const auto labels = positives > 0 ? objects.labels.index_select(0, targets.positive_objects)
                                    : at::empty({0}, boxes.options().dtype(at::kLong));
  targets.labels = at::cat({labels, at::full({negatives}, background, labels.options())});
  targets.deltas = at::zeros({positives + negatives, 4}, boxes.options());
  if (positives > 0) {
    const auto own = objects.boxes.index_select(0, targets.positive_objects);
    targets.deltas.slice(0, 0, positives).copy_(encode_boxes(targets.positive_boxes, own, stds));
  }
  return targets;
}

BoxHead::BoxHead(const DetectorConfig& config, DetectionClasses classes)
    : config_(config), classes_(std::move(classes)) {
  const auto& rows = classes_.embeddings;
  const std::int64_t count = classes_.count();
  if (count == 0 || rows.dim() != 2 || rows.size(0) != count + 1 || std::ssize(classes_.is_base) != count)
    throw Error({.doing = "building a detector",
                 .found = c10::str("embeddings of shape ", rows.sizes(), " for ", count, " classes"),
                 .expected = "one row a class and one for background behind them"});
  const std::int64_t width = rows.size(1);
  if (config.fc_width != 0 && config.fc_width != width)
    throw Error({.doing = "building a detector",
                 .found = c10::str("class embeddings of width ", width),
                 .expected = c10::str(config.fc_width, ", the width of the box head's layers")});
  detect_temperature_ = at::scalar_tensor(config.temperature, at::kFloat);
  if (!config.fixed_temperature) register_parameter("detect_temperature", detect_temperature_);
  all_embeddings_ = register_buffer("all_embeddings", rows.to(at::kFloat).t().contiguous());
  std::vector<float> weights, mixing;
  for (const bool base : classes_.is_base) {
    weights.push_back(base ? 1.0F : 0.0F);
    mixing.push_back(static_cast<float>(base ? config.fusion.alpha : config.fusion.beta));
  }
  weights.push_back(static_cast<float>(config.background_weight));
  mixing.push_back(static_cast<float>(config.fusion.alpha));
  class_weights_ = at::tensor(weights);
  mixing_ = at::tensor(mixing);

  const std::int64_t channels = config.channels;
  shared_convs_ = named_list(*this, "shared_convs", config.shared_convs,
                             [&](int) { return std::make_shared<ConvModule>(channels, channels, 3, true, true); });
  shared_fcs_ = named_list(*this, "shared_fcs", config.shared_fcs,
                           [&](int i) { return xavier(i == 0 ? channels * kBoxBins * kBoxBins : width, width); });
  const auto layer = [&](int) { return xavier(width, width); };
  cls_fcs_ = named_list(*this, "cls_fcs", config.class_fcs, layer);
  reg_fcs_ = named_list(*this, "reg_fcs", config.box_fcs, layer);
  fc_reg_ = register_module("fc_reg", std::make_shared<Linear>(width, 4, true));
  models::init_normal(fc_reg_->weight, 0.001);
}

BoxHead::Output BoxHead::forward(const at::Tensor& rois) {
  auto x = rois;
  for (auto& conv : shared_convs_) x = conv->forward(x);
  x = x.flatten(1);
  for (auto& fc : shared_fcs_) x = at::relu(fc->forward(x));
  auto classes = x, boxes = x;
  for (auto& fc : cls_fcs_) classes = at::relu(fc->forward(classes));
  for (auto& fc : reg_fcs_) boxes = at::relu(fc->forward(boxes));
  // A zero feature has no direction; it gives zeros here, where the original's division gives NaN.
  const auto unit = models::unit_length(classes.to(at::kFloat));
  return {unit.matmul(all_embeddings_) * detect_temperature_.to(unit.device()), fc_reg_->forward(boxes).to(at::kFloat)};
}

at::Tensor BoxHead::fuse(const at::Tensor& logits, const at::Tensor& dense) const {
  const auto head = at::softmax(logits.to(at::kFloat), 1);
  const auto cosine = models::unit_length(dense.to(at::kFloat)).matmul(all_embeddings_);
  const auto map = at::softmax(cosine * config_.fusion.dense_temperature, 1);
  const auto mixing = mixing_.to(head.device());
  return head.pow(1 - mixing) * map.pow(mixing);
}

at::Tensor BoxHead::trained_logits(const at::Tensor& logits) const {
  return logits.masked_fill((class_weights_ < kNoWeight).to(logits.device()), -std::numeric_limits<double>::infinity());
}

at::Tensor BoxHead::class_loss(const at::Tensor& logits, const at::Tensor& labels,
                               const at::Tensor& row_weights) const {
  const auto loss =
      at::cross_entropy_loss(trained_logits(logits), labels, class_weights_.to(logits.device()), at::Reduction::None);
  return (loss * row_weights).sum() / (row_weights > 0).sum().clamp_min(1);
}

BoxHead::Losses BoxHead::losses(const Output& output, const at::Tensor& labels, const at::Tensor& targets) const {
  const std::int64_t count = classes_.count(), rows = std::max<std::int64_t>(1, labels.size(0));
  const auto weights = class_weights_.to(output.logits.device());
  const auto own = weights.index_select(0, labels);
  if (const auto silent = (own < kNoWeight).nonzero(); silent.numel() > 0) {
    const auto label = labels[silent[0][0].item<std::int64_t>()].item<std::int64_t>();
    throw Error({.doing = "training a detector",
                 .where = label < count ? classes_.names[static_cast<std::size_t>(label)] : "background",
                 .found = "a box of a class that has no weight",
                 .expected = "boxes of base classes alone in the training data"});
  }
  const auto positive = (labels < count).nonzero().squeeze(1);
  const auto differences = output.deltas.index_select(0, positive) - targets.index_select(0, positive);
  return {.classes = class_loss(output.logits, labels, at::ones_like(own)),
          .boxes = differences.abs().sum() / static_cast<double>(rows),
          .accuracy = (trained_logits(output.logits).argmax(1) == labels).to(at::kFloat).sum() *
                      (100 / static_cast<double>(rows))};
}

std::pair<Detections, at::Tensor> select_detections(const at::Tensor& boxes, const at::Tensor& scores,
                                                    const DetectionSelection& selection) {
  const at::NoGradGuard no_grad;
  const std::int64_t classes = scores.size(1) - 1;
  const auto flat = scores.slice(1, 0, classes).reshape({-1});
  const auto candidates = (flat > selection.score_threshold).nonzero().squeeze(1);
  const auto rows = at::div(candidates, classes, "floor"), labels = candidates - rows * classes;
  const auto box = boxes.index_select(0, rows), score = flat.index_select(0, candidates);
  const auto kept = ops::batched_nms(box, score, labels, selection.iou_threshold, selection.most);
  return {{.boxes = box.index_select(0, kept),
           .scores = score.index_select(0, kept),
           .labels = labels.index_select(0, kept),
           .masks = {}},
          candidates.index_select(0, kept)};
}

MaskHead::MaskHead(const DetectorConfig& config) {
  const std::int64_t channels = config.channels;
  convs_ = named_list(*this, "convs", config.mask_convs,
                      [&](int) { return std::make_shared<ConvModule>(channels, channels, 3, true, true); });
  upsample_ = register_module("upsample", std::make_shared<Upsample2x>(channels, channels));
  torch::nn::init::kaiming_normal_(upsample_->weight, 0, torch::kFanOut, torch::kReLU);
  upsample_->bias.detach().zero_();
  conv_logits_ = register_module("conv_logits", std::make_shared<Conv2d>(channels, 1, 1));
}

at::Tensor MaskHead::forward(const at::Tensor& rois) {
  auto x = rois;
  for (auto& conv : convs_) x = conv->forward(x);
  return conv_logits_->forward(at::relu(upsample_->forward(x))).to(at::kFloat);
}

at::Tensor MaskHead::loss(const at::Tensor& logits, const at::Tensor& targets) {
  if (logits.size(0) == 0) return logits.sum();
  return at::binary_cross_entropy_with_logits(logits.squeeze(1), targets, {}, {}, at::Reduction::Mean);
}

at::Tensor mask_parts(const at::Tensor& masks, const at::Tensor& boxes, const at::Tensor& object, int size) {
  const at::NoGradGuard no_grad;
  if (boxes.size(0) == 0) return at::zeros({0, size, size}, boxes.options());
  // A mask is a map of one channel; its boxes are those of its object, in rising order of the object. Crowded pictures
  // have hundreds of objects and few boxes drawn: only masks that a box asks for become numbers.
  const auto used = std::get<0>(at::_unique(object));
  std::vector<at::Tensor> lists, places;
  for (std::int64_t i = 0; i < used.numel(); ++i) {
    places.push_back((object == used[i]).nonzero().squeeze(1));
    lists.push_back(boxes.index_select(0, places.back()));
  }
  const auto parts = ops::roi_align(masks.index_select(0, used).unsqueeze(1).to(at::kFloat), lists, size).squeeze(1);
  return parts.index_select(0, std::get<1>(at::cat(places).sort()));
}

at::Tensor paste_masks(const at::Tensor& logits, const at::Tensor& boxes, const Extent& picture, double threshold) {
  const at::NoGradGuard no_grad;
  const auto [height, width] = picture;
  auto pasted = at::zeros({logits.size(0), height, width}, logits.options().dtype(at::kBool));
  const auto probability = logits.to(at::kFloat).sigmoid();
  const auto corners = boxes.to(at::kCPU, at::kFloat).contiguous();
  const auto* corner = corners.const_data_ptr<float>();
  for (std::int64_t i = 0; i < logits.size(0); ++i, corner += 4) {
    // Only the pixels about the box can belong to its mask.
    const auto part = [](float low, float high, std::int64_t side) {
      const auto limit = static_cast<float>(side);
      return std::pair(static_cast<std::int64_t>(std::clamp(std::floor(low) - 1, 0.0F, limit)),
                       static_cast<std::int64_t>(std::clamp(std::ceil(high) + 1, 0.0F, limit)));
    };
    const auto [left, right] = part(corner[0], corner[2], width);
    const auto [top, bottom] = part(corner[1], corner[3], height);
    if (left >= right || top >= bottom) continue;
    const auto places = [&](std::int64_t begin, std::int64_t end, float low, float high) {
      return (at::arange(begin, end, probability.options()) + 0.5 - low) / (high - low) * 2 - 1;
    };
    const auto y = places(top, bottom, corner[1], corner[3]).unsqueeze(1).expand({bottom - top, right - left});
    const auto x = places(left, right, corner[0], corner[2]).unsqueeze(0).expand({bottom - top, right - left});
    auto grid = at::stack({x, y}, 2).unsqueeze(0);
    grid = at::where(grid.isfinite(), grid, at::zeros_like(grid));  // boxes without a side
    const auto values = at::grid_sampler(probability.narrow(0, i, 1), grid, /*bilinear*/ 0, /*zeros*/ 0, false);
    pasted[i].slice(0, top, bottom).slice(1, left, right).copy_(values[0][0] >= threshold);
  }
  return pasted;
}

}  // namespace clipself::detection
