#include "clipself/ops/batch_norm.h"

#include "clipself/ops/once_differentiable.h"

namespace clipself::ops {
namespace {

at::Tensor by_channel(const at::Tensor& values) {
  return values.view({1, -1, 1, 1});
}

/// Each process tells its count, means and sums of squares about them, which add up exactly enough (Chan, Golub,
/// LeVeque 1979), where sums of squares about 0 would not.
ChannelStatistics statistics_of_all(const at::Tensor& x, distributed::Processes& processes) {
  const auto channels = x.size(1);
  const auto own_count = static_cast<double>(x.numel()) / static_cast<double>(channels);
  const auto mine = at::zeros({2 * channels + 1}, at::kDouble);
  mine[0] = own_count;
  if (own_count > 0) {
    const auto mean = x.mean({0, 2, 3});
    mine.narrow(0, 1, channels).copy_(mean);
    mine.narrow(0, 1 + channels, channels).copy_((x - by_channel(mean)).square().sum({0, 2, 3}));
  }
  const auto all = at::stack(processes.gather(mine));
  const auto counts = all.select(1, 0).unsqueeze(1), means = all.narrow(1, 1, channels);
  const double count = counts.sum().item<double>();
  const auto mean = (counts * means).sum(0) / count;
  const auto squares = all.narrow(1, 1 + channels, channels) + counts * (means - mean).square();
  return {.mean = mean.to(x.options()), .variance = (squares.sum(0) / count).to(x.options()), .count = count};
}

/// What a graph's node keeps.
struct HeldProcesses : torch::CustomClassHolder {
  explicit HeldProcesses(std::shared_ptr<distributed::Processes> of) : processes(std::move(of)) {}
  std::shared_ptr<distributed::Processes> processes;
};

class BatchNormOfAll : public torch::autograd::Function<BatchNormOfAll> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& scale, double count,
                            const std::shared_ptr<distributed::Processes>& processes) {
    context->save_for_backward({x, weight, mean, scale});
    context->saved_data["count"] = count;
    context->saved_data["processes"] = c10::IValue::make_capsule(c10::make_intrusive<HeldProcesses>(processes));
    return (x - by_channel(mean)) * by_channel(scale * weight) + by_channel(bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    refuse_gradients_of_gradients("batch_norm_of_all");
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &mean = saved[2], &scale = saved[3];
    const double count = context->saved_data["count"].toDouble();
    const auto held = c10::static_intrusive_pointer_cast<HeldProcesses>(context->saved_data["processes"].toCapsule());
    const auto& gradient = gradients[0];
    const auto normalised = (x - by_channel(mean)) * by_channel(scale);
    const auto of_bias = gradient.sum({0, 2, 3}), of_weight = (gradient * normalised).sum({0, 2, 3});
    const auto sums = at::stack({of_bias, of_weight}).to(at::kCPU, at::kDouble).contiguous();
    held->processes->sum(sums);
    const auto means = (sums / count).to(x.options());
    const auto of_x =
        by_channel(scale * weight) * (gradient - by_channel(means[0]) - normalised * by_channel(means[1]));
    return {of_x, of_weight, of_bias, {}, {}, {}, {}};
  }
};

}  // namespace

std::pair<at::Tensor, ChannelStatistics> batch_norm_of_all(const at::Tensor& x, const at::Tensor& weight,
                                                           const at::Tensor& bias, double eps,
                                                           const std::shared_ptr<distributed::Processes>& processes) {
  ChannelStatistics statistics;
  {
    const at::NoGradGuard no_grad;
    statistics = statistics_of_all(x.detach(), *processes);
  }
  const auto scale = (statistics.variance + eps).rsqrt();
  return {BatchNormOfAll::apply(x, weight, bias, statistics.mean, scale, statistics.count, processes), statistics};
}

}  // namespace clipself::ops
