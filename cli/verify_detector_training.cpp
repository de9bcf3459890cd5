// A training step of the whole detector, its schedule and its optimizer.
#include <fmt/format.h>

#include <algorithm>

#include "cli/verify_detector.h"
#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/formats/state_dict.h"
#include "clipself/training/optimizer.h"
#include "clipself/training/schedule.h"

namespace clipself::cli::verify {
namespace {

using nlohmann::ordered_json;

training::Schedule schedule_of(const ordered_json& in, const std::string& where) {
  training::Schedule schedule{.kind = training::ScheduleKind::kSteps,
                              .base_lr = value<double>(in, "base_lr", where),
                              .warmup_steps = value<std::int64_t>(in, "warmup_iters", where)};
  const auto steps = value<std::int64_t>(in, "iters_per_epoch", where);
  schedule.total_steps = steps * value<std::int64_t>(in, "max_epochs", where);
  schedule.gamma = value<double>(in, "gamma", where);
  schedule.warmup_ratio = value<double>(in, "warmup_ratio", where);
  for (const auto epoch : value<std::vector<std::int64_t>>(in, "step", where))
    schedule.milestones.push_back(epoch * steps);
  return schedule;
}

constexpr double kClipNorm = 1.0;
training::AdamWOptions detector_adamw() {
  return {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .decay_all = true};
}

void check_adamw(Case& c, const formats::TensorDict& inputs, const std::string& where) {
  training::NamedParameters parameters;
  const std::string first = "adamw.p";
  for (const auto& item : inputs)
    if (item.key().starts_with(first))
      parameters.emplace_back(item.key().substr(first.size() - 1), item.value().clone().set_requires_grad(true));
  training::AdamW optimizer(parameters, detector_adamw());
  const auto rates = tensor(inputs, "adamw.lr", where, {-1});
  std::vector<double> norms;
  for (std::int64_t step = 0; step < rates.numel(); ++step) {
    optimizer.zero_grad();
    for (auto& [name, parameter] : parameters) {
      const auto* gradient = inputs.find("adamw.g" + std::to_string(step) + "." + name);
      if (gradient != nullptr) parameter.mutable_grad() = gradient->clone();
    }
    norms.push_back(optimizer.clip_grad_norm(kClipNorm));
    optimizer.step(rates[step].item<double>());
    for (auto& [name, parameter] : parameters)
      c.check("adamw.step" + std::to_string(step) + "." + name, parameter, Tolerance::abs(1e-6), "adamw.step*");
  }
  c.check("adamw.grad_norm", at::tensor(norms, at::kDouble), Tolerance::rel(1e-5));
}

/// After one step: an entry of nearly no gradient moves by its rounding.
void check_stepped(Case& c, const std::string& prefix, double lr, const training::NamedParameters& parameters,
                   const std::map<std::string, at::Tensor>& gradients, double scale,
                   const std::vector<std::string>& ill_conditioned) {
  for (const auto& [name, parameter] : parameters) {
    if (!c.expects(prefix + name)) continue;
    c.check(prefix + name, parameter, Tolerance::abs(2.1 * lr), prefix + "*");
    if (std::find(ill_conditioned.begin(), ill_conditioned.end(), name) != ill_conditioned.end()) continue;
    const auto size = gradients.at(name).abs();
    const auto sure = (size > 0.02 * size.max()).logical_and(size * scale > 1e-6);
    // A weight's own float32 rounding comes on top of what its step may differ by.
    c.check_where(prefix + name + " where sure", prefix + name, parameter, sure,
                  {.absolute = 0.02 * lr, .relative = 1.2e-7}, prefix + "* where sure");
  }
}

}  // namespace

void verify_detector_schedule(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  for (const auto& [name, settings] : config.items()) {
    const auto schedule = schedule_of(settings, where);
    std::vector<double> rates;
    for (std::int64_t step = 0; step < schedule.total_steps; ++step) rates.push_back(schedule.at(step));
    c.check("lr." + name, at::tensor(rates, at::kDouble), Tolerance::rel(1e-9));
  }
  if (c.expects("scaled_lr")) {
    // GPUs and images a GPU are what the rule is asked for.
    const auto asked = c.input_among_expected("scaled_lr");
    std::vector<double> rates;
    constexpr double kBaseLr = 1e-4, kBaseBatch = 64;
    for (std::int64_t i = 0; i < asked.size(0); ++i)
      rates.push_back(
          training::scaled_lr(kBaseLr, asked[i][0].item<double>() * asked[i][1].item<double>(), kBaseBatch));
    c.check("scaled_lr", at::stack({asked.select(1, 0), asked.select(1, 1), at::tensor(rates, at::kDouble)}, 1),
            Tolerance::rel(1e-9));
  }
  check_adamw(c, inputs, where);
}

void verify_detector_step(Case& c) {
  const auto config = c.json("config.json");
  const auto where = c.file("config.json").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  const auto detector = build_detector(c, config);
  detection::load_detector(*detector, formats::read_state_dict(c.file("state.pth")).tensors, "state.pth", false);
  const auto images = tensor(inputs, "img", where, {-1, 3, -1, -1}).to(at::kFloat);
  std::vector<detection::PictureSize> pictures;
  std::vector<detection::Objects> objects;
  for (const auto& meta : member(config, "img_metas", where)) {
    const auto i = fmt::format(".{}", pictures.size());
    pictures.push_back(picture_of(meta, where).size);
    objects.push_back({.boxes = tensor(inputs, "gt_bboxes" + i, where, {-1, 4}),
                       .labels = tensor(inputs, "gt_labels" + i, where, {-1}),
                       .masks = detector->has_masks() ? tensor(inputs, "gt_masks" + i, where) : at::Tensor()});
  }
  const auto recorded = [&](const std::string& kind) {
    return [&inputs, kind, where](std::size_t i, const detection::Assignment&) {
      return detection::Drawn{tensor(inputs, fmt::format("{}.pos_inds.{}", kind, i), where, {-1}),
                              tensor(inputs, fmt::format("{}.neg_inds.{}", kind, i), where, {-1})};
    };
  };
  detector->train(true);
  const auto pass = detector->train_pass(images, pictures, objects, recorded("rpn"), recorded("rcnn"));
  std::vector<at::Tensor> positive;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const auto index = fmt::format(".{}", i);
    check_scored_boxes(c, "proposals" + index, pass.proposals[i].boxes, pass.proposals[i].scores, 2e-2, 1e-3);
    c.check("rpn.gt_inds" + index, pass.anchors[i].object, Tolerance::exact());
    c.check("rcnn.gt_inds" + index, pass.rois[i].object, Tolerance::exact());
  }
  const std::int64_t rows = pass.labels.size(0), background = detector->box_head().classes().count();
  const auto is_object = (pass.labels < background).to(at::kFloat).unsqueeze(1);
  c.check("rcnn.labels", pass.labels, Tolerance::exact());
  c.check("rcnn.label_weights", at::ones({rows}), Tolerance::exact());
  c.check("rcnn.bbox_targets", pass.targets, {.absolute = 1e-3, .relative = 1e-3});
  c.check("rcnn.bbox_weights", is_object.expand({rows, 4}), Tolerance::exact());
  if (detector->has_masks()) c.check("mask_targets", pass.mask_targets, Tolerance::exact());
  constexpr auto kLoss = Tolerance::rel(1e-4);
  c.check("loss.loss_rpn_cls", pass.proposal_losses.scores, {.absolute = 1e-7, .relative = 1e-4});
  c.check("loss.loss_rpn_bbox", pass.proposal_losses.deltas, {.absolute = 1e-7, .relative = 1e-4});
  c.check("loss.loss_cls", pass.box_losses.classes.unsqueeze(0), kLoss);
  c.check("loss.loss_bbox", pass.box_losses.boxes.unsqueeze(0), kLoss);
  c.check("acc", pass.box_losses.accuracy.unsqueeze(0), kLoss);
  if (pass.mask_loss.defined()) c.check("loss.loss_mask", pass.mask_loss.unsqueeze(0), kLoss);
  at::Tensor total;
  for (const auto& [name, loss, count] : pass.terms())
    if (name.starts_with("loss")) total = total.defined() ? total + loss : loss;
  c.check("loss.total", total.unsqueeze(0), kLoss);
  total.backward();

  const auto ill = value<std::vector<std::string>>(config, "ill_conditioned", where);
  const auto norms = member(config, "grad_norm", where);
  auto parameters = detector->trainable();
  std::map<std::string, at::Tensor> gradients;
  double square = 0;
  for (const auto& [name, parameter] : parameters) {
    gradients[name] = parameter.grad().clone();
    square += parameter.grad().to(at::kDouble).square().sum().item<double>();
    const bool zero = std::find(ill.begin(), ill.end(), name) != ill.end();
    if (c.expects("grad." + name)) {
      if (zero)
        c.check_also("grad." + name + " (rounding alone)", "grad." + name, parameter.grad(), Tolerance::abs(1e-4),
                     "grad.*");
      c.check("grad." + name, parameter.grad(), zero ? Tolerance::abs(1e-4) : kGradient, "grad.*");
    }
    if (!zero && norms.contains(name))
      c.check_number("grad_norm " + name, parameter.grad().norm().item<double>(), norms[name].get<double>(),
                     {.absolute = 1e-6, .relative = 2e-3}, "grad_norm *");
  }
  if (c.expects("grad_norm_total")) c.check("grad_norm_total", at::tensor({std::sqrt(square)}), Tolerance::rel(2e-3));
  for (const auto& item : detector->named_buffers())
    c.check("stats." + item.key(), item.value(), {.absolute = 1e-5, .relative = 1e-5}, "stats.*");

  const double scale = std::min(1.0, kClipNorm / (std::sqrt(square) + 1e-6));
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, parameter] : parameters) before[name] = parameter.detach().clone();
  for (const auto& [prefix, rate] : {std::pair{"after_warmup0.", "lr_iter0"}, std::pair{"after_base.", "lr_base"}}) {
    const auto lr = value<double>(config, rate, where);
    const at::NoGradGuard no_grad;
    for (auto& [name, parameter] : parameters) {
      parameter.copy_(before[name]);
      parameter.mutable_grad() = gradients[name].clone();
    }
    training::AdamW optimizer(parameters, detector_adamw());
    optimizer.clip_grad_norm(kClipNorm);
    optimizer.step(lr);
    check_stepped(c, prefix, lr, parameters, gradients, scale, ill);
  }
}

}  // namespace clipself::cli::verify
