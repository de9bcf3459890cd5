// Kinds trainable (what each lock setting trains), adamw_only (the optimizer on prescribed gradients) and lr_schedules.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "cli/verify_training.h"
#include "clipself/base/error.h"
#include "clipself/training/optimizer.h"
#include "clipself/training/schedule.h"

namespace clipself::cli::verify {

nlohmann::ordered_json names_of(const training::NamedParameters& parameters) {
  auto names = nlohmann::ordered_json::array();
  for (const auto& [name, tensor] : parameters) names.push_back(name);
  return names;
}

training::AdamWOptions adamw_options(double beta1, double beta2, double eps, double weight_decay) {
  return {.beta1 = beta1, .beta2 = beta2, .eps = eps, .weight_decay = weight_decay};
}

void lock_as_original(models::ClipModel& model, std::int64_t unlocked_groups) {
  // The original's `blocks[-0:]` is the whole list: 0 trains every block of an EVA tower there, and none here.
  const bool all = model.config().vision.backbone == "eva" && unlocked_groups == 0;
  model.lock_image_tower(all ? model.visual().depth()
                             : static_cast<int>(std::min<std::int64_t>(unlocked_groups, 1 << 20)));
}

namespace {

/// Buffers of the state dict, one that several modules share once, by its first name.
nlohmann::ordered_json buffers_of(models::ClipModel& model) {
  std::set<std::string> parameters;
  for (const auto& item : model.named_parameters()) parameters.insert(item.key());
  auto names = nlohmann::ordered_json::array();
  std::set<const void*> seen;
  for (const auto& item : model.state())
    if (!parameters.contains(item.key()) && seen.insert(item.value().const_data_ptr()).second)
      names.push_back(item.key());
  return names;
}

void check_groups(Case& c, models::ClipModel& model, const std::string& name, const nlohmann::ordered_json& expected,
                  const std::string& where) {
  const training::AdamW optimizer(model.trainable(), {});
  c.check_json(name + ".no_decay", names_of(optimizer.undecayed()), member(expected, "no_decay", where));
  c.check_json(name + ".decay", names_of(optimizer.decayed()), member(expected, "decay", where));
}

void check_model(Case& c, const std::string& name, const nlohmann::ordered_json& facts, const std::string& where) {
  const auto config = "../" + name + "/config.json";
  constexpr std::string_view kGroups = "unlocked_groups=";
  for (const auto& [key, expected] : facts.items()) {
    const auto label = name + "." + key;
    const auto model = build_model(c, config);
    if (key == "all_parameters") {
      auto names = nlohmann::ordered_json::array();
      for (const auto& item : model->named_parameters()) names.push_back(item.key());
      c.check_json(label, names, expected);
    } else if (key == "state_dict_keys") {
      auto names = nlohmann::ordered_json::array();
      for (const auto& item : model->state()) names.push_back(item.key());
      c.check_json(label, names, expected);
    } else if (key == "buffers") {
      // The original also keeps a flag and the causal mask as buffers, which no state dict holds.
      auto saved = nlohmann::ordered_json::array();
      for (const auto& buffer : expected) {
        const auto text = buffer.is_string() ? buffer.get<std::string>() : std::string();
        if (!text.ends_with("rope.flag") && !text.ends_with("attn_mask")) saved.push_back(buffer);
      }
      c.check_json(label, buffers_of(*model), saved);
    } else if (key == "not_locked") {
      // The original's model freezes its text tower when it is built.
      if (model->has_text())
        for (auto& parameter : model->text().parameters()) parameter.set_requires_grad(false);
      check_groups(c, *model, label, expected, where);
    } else if (key.starts_with(kGroups)) {
      std::int64_t groups = 0;
      const auto* end = key.data() + key.size();
      if (const auto [stop, error] = std::from_chars(key.data() + kGroups.size(), end, groups);
          error != std::errc() || stop != end || groups < 0)
        throw Error(
            {.doing = "reading", .where = where, .found = "entry '" + key + "'", .expected = "unlocked_groups=NUMBER"});
      lock_as_original(*model, groups);
      check_groups(c, *model, label, expected, where);
    } else {
      c.check_that(label, false, "not computed");
    }
  }
}

}  // namespace

void verify_trainable(Case& c) {
  const auto document = c.json("trainable.json");
  const auto where = c.file("trainable.json").string();
  if (!document.is_object() || document.empty())
    throw Error(
        {.doing = "reading", .where = where, .found = "no models", .expected = "an object with one entry a model"});
  for (const auto& [name, facts] : document.items()) check_model(c, name, facts, where);
}

void verify_adamw(Case& c) {
  const auto settings = c.json("config.json");
  const auto where = c.file("config.json").string(), input = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");

  constexpr std::string_view kParam = "param.";
  training::NamedParameters parameters;
  for (const auto& item : inputs)
    if (item.key().starts_with(kParam))
      parameters.emplace_back(item.key().substr(kParam.size()), item.value().to(at::kFloat).clone().requires_grad_());
  const auto betas = value<std::array<double, 2>>(settings, "betas", where);
  training::AdamW optimizer(parameters, adamw_options(betas[0], betas[1], value<double>(settings, "eps", where),
                                                      value<double>(settings, "wd", where)));

  // The order inside a group is the model's, which this case does not have.
  const auto sorted = [](std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    return nlohmann::ordered_json(names);
  };
  for (const auto& [key, group] :
       {std::pair("no_decay", &optimizer.undecayed()), std::pair("decay", &optimizer.decayed())})
    c.check_json(key, sorted(names_of(*group).get<std::vector<std::string>>()),
                 sorted(value<std::vector<std::string>>(settings, key, where)));

  training::Schedule schedule;
  schedule.base_lr = value<double>(settings, "lr", where);
  schedule.warmup_steps = value<std::int64_t>(settings, "warmup", where);
  schedule.total_steps = value<std::int64_t>(settings, "total", where);
  const auto steps = value<std::int64_t>(settings, "steps", where);
  if (steps < 0 || steps > 100000)
    throw Error({.doing = "reading", .where = where, .found = "an unusable number of steps"});
  for (std::int64_t step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    for (auto& [name, parameter] : parameters) {
      const auto key = fmt::format("grad.{}.{}", step, name);
      if (inputs.contains(key))
        parameter.mutable_grad() = tensor(inputs, key, input, parameter.sizes().vec()).to(at::kFloat).clone();
    }
    optimizer.step(schedule.at(step));
    const auto group = fmt::format("param.{}.", step + 1);
    for (const auto& [name, parameter] : parameters)
      c.check(group + name, parameter, Tolerance::abs(1e-6), group + "*");
  }
  for (const auto& [name, parameter] : parameters) {
    const auto [first, second] = optimizer.moments(name);
    if (first.defined() || c.expects("exp_avg." + name))
      c.check("exp_avg." + name, first, Tolerance::abs(1e-6), "exp_avg.*");
    if (second.defined() || c.expects("exp_avg_sq." + name))
      c.check("exp_avg_sq." + name, second, Tolerance::rel(1e-6), "exp_avg_sq.*");
  }
}

void verify_schedules(Case& c) {
  const auto settings = c.json("config.json");
  const auto where = c.file("config.json").string();
  c.load_expected("expected.safetensors");
  for (const auto& [name, entry] : settings.items()) {
    const auto kind = value<std::string>(entry, "kind", where);
    training::Schedule schedule;
    schedule.kind = training::schedule_kind(kind == "cooldown" ? "const-cooldown" : kind);
    schedule.base_lr = value<double>(entry, "base", where);
    schedule.warmup_steps = value<std::int64_t>(entry, "warmup", where);
    schedule.total_steps = value<std::int64_t>(entry, "steps", where);
    if (schedule.kind == training::ScheduleKind::kConstCooldown) {
      schedule.cooldown_steps = value<std::int64_t>(entry, "cooldown", where);
      schedule.cooldown_power = value<double>(entry, "power", where);
      schedule.cooldown_end_lr = value<double>(entry, "end", where);
    }
    const auto steps = c.input_among_expected(name + ".step").to(at::kLong).contiguous();
    auto rates = at::empty_like(steps, at::kDouble);
    for (std::int64_t i = 0; i < steps.numel(); ++i)
      rates.mutable_data_ptr<double>()[i] = schedule.at(steps.const_data_ptr<std::int64_t>()[i]);
    c.check(name + ".lr", rates, Tolerance::rel(1e-12));
  }
}

}  // namespace clipself::cli::verify
