// AdamW (Loshchilov, Hutter 2019) with the original's two parameter groups, on LibTorch's fused kernel.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/value.h"

namespace clipself::training {

using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-6;
  double weight_decay = 0.1;  ///< of the second group; the first has none
  bool decay_all = false;     ///< every parameter is of the second group, as detectors are trained
};

/// Vectors and scalars, and names with "bn", "ln", "bias" or "logit_scale" in them, are not decayed.
bool is_decayed(const std::string& name, const at::Tensor& parameter);

/// Parameters without a gradient are skipped: no decay, no state, as in torch.optim.
class AdamW {
 public:
  AdamW(const NamedParameters& parameters, const AdamWOptions& options);

  void zero_grad();
  /// One update at learning rate `lr`.
  void step(double lr);
  /// Scales all gradients so that their joint norm is at most `max_norm`; returns the norm before. An infinite max_norm
  /// only measures.
  double clip_grad_norm(double max_norm);

  const NamedParameters& undecayed() const { return groups_[0].parameters; }
  const NamedParameters& decayed() const { return groups_[1].parameters; }
  /// First and second moment of one parameter, undefined before its first step. Throws Error for an unknown name.
  std::pair<at::Tensor, at::Tensor> moments(const std::string& name) const;

  /// torch.optim's layout: {"state": {index: {"step", "exp_avg", "exp_avg_sq"}}, "param_groups": [...]}; indexes count
  /// through the undecayed, then the decayed parameters. Reads what the Python original and this class write. Throws
  /// Error, changing nothing, when groups or shapes do not fit.
  formats::Value state_dict(double lr) const;
  void load_state_dict(const formats::Value& state);

 private:
  struct State {
    at::Tensor step, exp_avg, exp_avg_sq;
  };
  struct Group {
    NamedParameters parameters;
    std::vector<State> states;
    double weight_decay = 0;
  };
  AdamWOptions options_;
  std::array<Group, 2> groups_;
};

}  // namespace clipself::training
