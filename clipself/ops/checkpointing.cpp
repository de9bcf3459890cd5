#include "clipself/ops/checkpointing.h"

namespace clipself::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  // The parameters are inputs so that autograd knows the output depends on them, also when x needs no gradient.
  static variable_list forward(AutogradContext* ctx, std::function<at::Tensor(const at::Tensor&)> body,
                               at::TensorList inputs) {
    auto output = body(inputs.front());
    ctx->save_for_backward(inputs.vec());
    ctx->saved_data["body"] = c10::IValue::make_capsule(c10::make_intrusive<Body>(std::move(body)));
    return {output};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto body = c10::static_intrusive_pointer_cast<Body>(ctx->saved_data["body"].toCapsule());
    variable_list wanted;
    std::vector<std::size_t> places;
    auto x = saved.front().detach().set_requires_grad(saved.front().requires_grad());
    at::Tensor output;
    {
      const at::AutoGradMode enabled(true);
      output = body->call(x);
    }
    for (std::size_t i = 0; i < saved.size(); ++i) {
      if (!saved[i].requires_grad()) continue;
      wanted.push_back(i == 0 ? x : saved[i]);
      places.push_back(i);
    }
    const auto found =
        torch::autograd::grad({output}, wanted, gradients, /*retain_graph=*/false, /*create_graph=*/false,
                              /*allow_unused=*/true);
    variable_list result(saved.size() + 1);  // the first is for `body`
    for (std::size_t i = 0; i < places.size(); ++i) result[places[i] + 1] = found[i];
    return result;
  }

 private:
  struct Body : torch::CustomClassHolder {
    explicit Body(std::function<at::Tensor(const at::Tensor&)> function) : call(std::move(function)) {}
    std::function<at::Tensor(const at::Tensor&)> call;
  };
};

}  // namespace

at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor&)>& body, const at::Tensor& x,
                      const std::vector<at::Tensor>& parameters) {
  if (!at::GradMode::is_enabled()) return body(x);
  variable_list inputs{x};
  for (const auto& parameter : parameters) {
    if (parameter.requires_grad()) inputs.push_back(parameter);
  }
  return Checkpoint::apply(body, at::TensorList(inputs)).front();
}

}  // namespace clipself::ops
