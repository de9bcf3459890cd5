// Kinds clipself_step and clipself_step_vit: loss, gradients, a few steps, ensemble.
#include "cli/verify_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "clipself/base/error.h"
#include "clipself/distillation/methods.h"
#include "clipself/training/schedule.h"
#include "clipself/training/trainer.h"

namespace clipself::cli::verify {

Run::Run(const Case& c, const std::string& model, std::int64_t unlocked_groups, const training::AdamWOptions& options,
         double cosine_weight)
    : student(load_model(c, model)),
      teacher(load_model(c, model)),
      objective(distillation::make_objective(distillation::find_method("clipself"), student,
                                             {.frozen = teacher, .cosine_weight = cosine_weight})),
      optimizer((lock_as_original(*student, unlocked_groups), student->trainable()), options) {
  teacher->freeze(c.precision);
}

datasets::Batch make_batch(const formats::TensorDict& inputs, const std::string& images, const std::string& boxes,
                           const std::string& crops, const std::string& where) {
  datasets::Batch batch;
  batch.images = tensor(inputs, images, where, {-1, 3, -1, -1});
  const auto count = batch.images.size(0);
  const auto table = tensor(inputs, boxes, where, {count, -1, 5}).to(at::kFloat);
  const auto& pictures = tensor(inputs, crops, where, {count, table.size(1), 3, -1, -1});
  std::vector<at::Tensor> chosen;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto rows = (table[i].select(1, 4) > 0.5).nonzero().squeeze(1);
    batch.image_ids.push_back(i);
    batch.boxes.push_back(table[i].index_select(0, rows).slice(1, 0, 4).contiguous());
    batch.labels.emplace_back();
    chosen.push_back(pictures[i].index_select(0, rows));
  }
  batch.crops = at::cat(chosen);
  if (batch.crops.size(0) == 0)
    throw Error({.doing = "reading tensor '" + boxes + "' of", .where = where, .found = "no valid box"});
  // Cases store pictures as they are (uint8) or as the model's input (float16).
  if (batch.images.is_floating_point()) batch.images = float_images(batch.images);
  if (batch.crops.is_floating_point()) batch.crops = float_images(batch.crops);
  return batch;
}

at::Tensor total_loss(const training::LossTerms& terms) {
  at::Tensor total;
  for (const auto& [name, term, count] : terms) total = total.defined() ? total + term : term;
  return total;
}

nlohmann::ordered_json names_where(const training::NamedParameters& parameters,
                                   const std::function<bool(const at::Tensor&)>& holds) {
  auto names = nlohmann::ordered_json::array();
  for (const auto& [name, tensor] : parameters)
    if (holds(tensor)) names.push_back(name);
  return names;
}

namespace {

constexpr auto kGradient = Tolerance{.absolute = 1e-6, .relative = 1e-3};
/// Of a tensor's gradient in bfloat16: a cosine of 0.99 at least.
constexpr auto kRoundedGradient = Tolerance::norm(0.14);

/// Gradients of one lock setting, and clipping when the case has it for this one.
void check_gradients(Case& c, const std::string& setting, Run& run, const datasets::Batch& batch,
                     const nlohmann::ordered_json& info, const std::string& where, bool with_clipping) {
  Rng rng(0);
  total_loss(run.objective->losses(batch, rng)).backward();
  const auto trained = run.student->trainable();
  const auto prefix = "grad." + setting + ".";
  for (const auto& [name, parameter] : trained)
    if (parameter.grad().defined() || c.expects(prefix + name))
      c.check(prefix + name, parameter.grad(), c.precision == at::kFloat ? kGradient : kRoundedGradient, prefix + "*");

  const auto list = [&](const char* key, const nlohmann::ordered_json& actual) {
    const auto full = setting + "." + key;
    if (info.contains(full)) c.check_json(full, actual, info[full]);
  };
  list("no_decay", names_of(run.optimizer.undecayed()));
  list("decay", names_of(run.optimizer.decayed()));
  list("with_grad", names_where(trained, [](const at::Tensor& p) { return p.grad().defined(); }));
  list("trainable_without_grad", names_where(trained, [](const at::Tensor& p) { return !p.grad().defined(); }));

  if (!with_clipping || c.precision != at::kFloat || !info.contains("clip.max_norm")) return;
  const double norm = run.optimizer.clip_grad_norm(value<double>(info, "clip.max_norm", where));
  c.check("clip.total_norm", at::scalar_tensor(norm, at::kFloat), Tolerance::rel(1e-4));
  for (const auto& [name, parameter] : trained)
    if (c.expects("clip.grad." + name)) c.check("clip.grad." + name, parameter.grad(), Tolerance::abs(1e-6));
}

/// The largest N of "params_after.N.*".
std::int64_t steps_named(const Case& c) {
  std::int64_t most = 0;
  constexpr std::string_view kPrefix = "params_after.";
  for (const auto& name : c.expected_names()) {
    std::int64_t steps = 0;
    if (!name.starts_with(kPrefix)) continue;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), steps);
    most = std::max(most, std::min<std::int64_t>(steps, 1000));
  }
  for (const char* list : {"losses", "lrs"})
    if (const auto shape = c.expected_shape(list); shape.size() == 1)
      most = std::max(most, std::min<std::int64_t>(shape[0], 1000));
  return most;
}

training::Schedule schedule_of(const nlohmann::ordered_json& hyper, const std::string& where) {
  auto name = value<std::string>(hyper, "schedule", where);
  if (name.ends_with("_lr")) name.resize(name.size() - 3);
  training::Schedule schedule;
  schedule.kind = training::schedule_kind(name);
  schedule.base_lr = value<double>(hyper, "lr", where);
  schedule.warmup_steps = value<std::int64_t>(hyper, "warmup", where);
  schedule.total_steps = value<std::int64_t>(hyper, "total_steps", where);
  return schedule;
}

void check_steps(Case& c, Run& run, const datasets::Batch& batch, const nlohmann::ordered_json& hyper,
                 const nlohmann::ordered_json& info, const std::string& where) {
  const auto schedule = schedule_of(hyper, where);
  std::vector<double> losses, rates;
  const auto steps = steps_named(c);
  for (std::int64_t step = 0; step < steps; ++step) {
    Rng rng(0, 0, static_cast<std::uint64_t>(step));
    rates.push_back(schedule.at(step));
    losses.push_back(
        training::train_step(*run.objective, run.optimizer, {batch}, rates.back(), std::nullopt, rng).loss);
    const auto prefix = fmt::format("params_after.{}.", step + 1);
    for (const auto& item : run.student->named_parameters())
      c.check(prefix + item.key(), item.value(), Tolerance::stepped(), prefix + "*");
  }
  c.check("losses", at::tensor(losses, at::kDouble), Tolerance::abs(1e-5));
  c.check("lrs", at::tensor(rates, at::kDouble), Tolerance::abs(1e-12));
  const auto averaged =
      distillation::ensemble(run.student->state(), run.teacher->state(), value<double>(hyper, "alpha", where));
  for (const auto& item : averaged) c.check("ensemble." + item.key(), item.value(), Tolerance::stepped(), "ensemble.*");
  const auto trained = run.student->trainable();
  for (const auto& [name, parameter] : trained) {
    const auto [first, second] = run.optimizer.moments(name);
    if (c.expects("adam.exp_avg." + name)) c.check("adam.exp_avg." + name, first, kFirstMoment);
    if (c.expects("adam.exp_avg_sq." + name)) c.check("adam.exp_avg_sq." + name, second, kSecondMoment);
  }
  if (info.contains("optimizer_state_missing")) {
    auto missing = nlohmann::ordered_json::array();
    for (const auto& [name, parameter] : trained)
      if (!run.optimizer.moments(name).first.defined()) missing.push_back(name);
    c.check_json("optimizer_state_missing", missing, info["optimizer_state_missing"]);
  }
}

/// The case of a step, with the model in the folder `model_folder`.
void check_clipself_step(Case& c, const std::string& model_folder) {
  const auto info = c.json("info.json");
  const auto where = c.file("info.json").string(), input = c.file("inputs.safetensors").string();
  const auto& hyper = member(info, "hyper", where);
  const auto batch = make_batch(c.tensors("inputs.safetensors"), "images", "boxes", "crops", input);
  c.load_expected("expected.safetensors");
  const auto options = adamw_options(value<double>(hyper, "beta1", where), value<double>(hyper, "beta2", where),
                                     value<double>(hyper, "eps", where), value<double>(hyper, "wd", where));
  const auto weight = value<double>(hyper, "cosine_weight", where);

  constexpr std::string_view kGroups = ".unlocked_groups";
  std::string stepped;  // the setting of the five steps: the one that trains most
  std::int64_t most = std::numeric_limits<std::int64_t>::min();
  std::vector<std::pair<std::string, std::int64_t>> settings;
  for (const auto& [key, entry] : info.items()) {
    if (!key.ends_with(kGroups)) continue;
    const auto setting = key.substr(0, key.size() - kGroups.size());
    settings.emplace_back(setting, value<std::int64_t>(info, key, where));
    if (setting == "all" || (stepped != "all" && settings.back().second > most)) {
      stepped = setting;
      most = settings.back().second;
    }
  }
  if (settings.empty()) throw Error({.doing = "reading", .where = where, .found = "no '...unlocked_groups'"});
  for (const auto& [setting, groups] : settings) {
    Run run(c, model_folder, groups, options, weight);
    check_gradients(c, setting, run, batch, info, where, setting == stepped);
  }

  Run run(c, model_folder, most, options, weight);
  {
    const torch::NoGradGuard no_grad;
    Rng rng(0);
    c.check("loss_cosine", total_loss(run.objective->losses(batch, rng)), in_precision(c, Tolerance::abs(1e-5)));
    c.check("student_roi_features", run.student->encode_boxes(batch.images, batch.boxes), in_precision(c, kFeature));
    c.check("teacher_crop_features", run.teacher->encode_image(batch.crops), in_precision(c, kFeature));
    c.check("logit_scale_exp", run.student->logit_scale().exp(), Tolerance::abs(1e-3));
  }
  if (c.precision != at::kFloat) {
    c.skip_rest("AdamW divides by a gradient's own size: steps are not compared in bf16");
    return;
  }
  check_steps(c, run, batch, hyper, info, where);
}

}  // namespace

void verify_clipself_step(Case& c) {
  check_clipself_step(c, "../eva_b_like");
}

void verify_clipself_step_vit(Case& c) {
  check_clipself_step(c, "../clip_vit_like");
}

}  // namespace clipself::cli::verify
