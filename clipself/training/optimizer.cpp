#include "clipself/training/optimizer.h"

#include <cmath>

#include "clipself/base/error.h"

namespace clipself::training {

using formats::Dict;
using formats::List;
using formats::Value;

bool is_decayed(const std::string& name, const at::Tensor& parameter) {
  if (parameter.dim() < 2) return false;
  for (const char* part : {"bn", "ln", "bias", "logit_scale"}) {
    if (name.find(part) != std::string::npos) return false;
  }
  return true;
}

AdamW::AdamW(const NamedParameters& parameters, const AdamWOptions& options) : options_(options) {
  groups_[1].weight_decay = options.weight_decay;
  for (const auto& [name, tensor] : parameters)
    groups_[options.decay_all || is_decayed(name, tensor) ? 1 : 0].parameters.emplace_back(name, tensor);
  for (auto& group : groups_) group.states.resize(group.parameters.size());
}

void AdamW::zero_grad() {
  for (auto& group : groups_) {
    for (auto& [name, tensor] : group.parameters) tensor.mutable_grad().reset();
  }
}

double AdamW::clip_grad_norm(double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& group : groups_) {
    for (const auto& [name, tensor] : group.parameters) {
      if (tensor.grad().defined()) gradients.push_back(tensor.grad());
    }
  }
  if (gradients.empty()) return 0.0;
  const double norm = at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
  // torch.nn.utils.clip_grad_norm_ adds 1e-6 as well.
  const double factor = max_norm / (norm + 1e-6);
  if (std::isfinite(max_norm) && factor < 1.0) at::_foreach_mul_(gradients, factor);
  return norm;
}

void AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
  for (auto& group : groups_) {
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      const auto& parameter = group.parameters[i].second;
      if (!parameter.grad().defined()) continue;
      auto& state = group.states[i];
      if (!state.step.defined()) {
        state.step = at::zeros({}, parameter.options().dtype(at::kFloat));
        state.exp_avg = at::zeros_like(parameter);
        state.exp_avg_sq = at::zeros_like(parameter);
      }
      parameters.push_back(parameter);
      gradients.push_back(parameter.grad());
      first.push_back(state.exp_avg);
      second.push_back(state.exp_avg_sq);
      steps.push_back(state.step);
    }
    if (parameters.empty()) continue;
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(parameters, gradients, first, second, {}, steps, lr, options_.beta1, options_.beta2,
                      group.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
}

std::pair<at::Tensor, at::Tensor> AdamW::moments(const std::string& name) const {
  for (const auto& group : groups_) {
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      if (group.parameters[i].first == name) return {group.states[i].exp_avg, group.states[i].exp_avg_sq};
    }
  }
  throw Error({.doing = "reading optimizer state", .where = name, .found = "no parameter of that name"});
}

Value AdamW::state_dict(double lr) const {
  Dict states;
  List groups;
  std::int64_t index = 0;
  for (const auto& group : groups_) {
    List indexes;
    for (const auto& state : group.states) {
      if (state.step.defined()) {
        states.emplace_back(
            index, Value::dict({{"step", state.step}, {"exp_avg", state.exp_avg}, {"exp_avg_sq", state.exp_avg_sq}}));
      }
      indexes.emplace_back(index++);
    }
    groups.push_back(Value::dict({{"lr", lr},
                                  {"betas", Value::tuple({options_.beta1, options_.beta2})},
                                  {"eps", options_.eps},
                                  {"weight_decay", group.weight_decay},
                                  {"amsgrad", false},
                                  {"maximize", false},
                                  {"foreach", Value()},
                                  {"capturable", false},
                                  {"params", Value::list(std::move(indexes))}}));
  }
  return Value::dict({{"state", Value::dict(std::move(states))}, {"param_groups", Value::list(std::move(groups))}});
}

void AdamW::load_state_dict(const Value& value) {
  const auto refuse = [](const std::string& found, const std::string& expected) {
    throw Error({.doing = "reading optimizer state",
                 .found = found,
                 .expected = expected,
                 .hint = "was it saved with other trained layers?"});
  };
  const auto* states = value.find("state");
  const auto* groups = value.find("param_groups");
  if (states == nullptr || groups == nullptr) refuse(value.describe(), "a dict with 'state' and 'param_groups'");
  const auto& group_list = groups->as_list();
  if (group_list.size() != groups_.size()) refuse(c10::str(group_list.size(), " parameter groups"), "2");
  // index in the file -> (group, position): the file may number its parameters in any way.
  std::map<std::int64_t, std::pair<std::size_t, std::size_t>> places;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto* indexes = group_list[g].find("params");
    if (indexes == nullptr) refuse("a parameter group without 'params'", "a list of indexes");
    const auto& list = indexes->as_list();
    if (list.size() != groups_[g].parameters.size()) {
      refuse(c10::str(list.size(), " parameters in group ", g), c10::str(groups_[g].parameters.size()));
    }
    for (std::size_t i = 0; i < list.size(); ++i) places[list[i].as_int()] = {g, i};
  }
  std::array<std::vector<State>, 2> loaded;
  for (std::size_t g = 0; g < groups_.size(); ++g) loaded[g].resize(groups_[g].parameters.size());
  for (const auto& [key, state] : states->as_dict()) {
    const auto place = places.find(key.as_int());
    if (place == places.end())
      refuse(c10::str("state of parameter ", key.as_int()), "a parameter of one of the groups");
    const auto [g, i] = place->second;
    const auto& [name, parameter] = groups_[g].parameters[i];
    const auto moment = [&, &state = state, &name = name, &parameter = parameter](const char* which) {
      const auto* found = state.find(which);
      if (found == nullptr || !found->is(Value::Kind::kTensor) || found->as_tensor().sizes() != parameter.sizes()) {
        refuse(c10::str("no '", which, "' that fits parameter ", name), c10::str("shape ", parameter.sizes()));
      }
      return found->as_tensor()
          .to(parameter.options().dtype(at::kFloat), /*non_blocking=*/false, /*copy=*/true)
          .contiguous();
    };
    const auto* step = state.find("step");
    if (step == nullptr) refuse("no 'step' of parameter " + name, "a number");
    const double count = step->is(Value::Kind::kTensor) ? step->as_tensor().item<double>() : step->as_float();
    loaded[g][i] = {.step = at::scalar_tensor(count, parameter.options().dtype(at::kFloat)),
                    .exp_avg = moment("exp_avg"),
                    .exp_avg_sq = moment("exp_avg_sq")};
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].states = std::move(loaded[g]);
}

}  // namespace clipself::training
