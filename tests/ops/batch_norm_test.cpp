#include "clipself/ops/batch_norm.h"

#include "tests/distributed/together.h"

namespace clipself::ops {
namespace {

// Rows 0-1 of five are the first process's, none the second's, 2-4 the third's.
TEST(BatchNormOfAll, EqualsBatchNormOfEverybodysRowsTogether) {
  torch::manual_seed(3);
  const auto x = (at::randn({5, 4, 3, 2}) * 3 + 100).requires_grad_(), weight = at::randn({4}).requires_grad_(),
             bias = at::randn({4}).requires_grad_();
  const auto upstream = at::randn({5, 4, 3, 2});
  const auto mean = at::zeros({4}), variance = at::ones({4});
  const auto expected = at::batch_norm(x, weight, bias, mean, variance, /*training=*/true, /*momentum=*/1, 1e-5, false);
  (expected * upstream).sum().backward();

  const std::vector<std::int64_t> first{0, 2, 2}, count{2, 0, 3};
  std::vector<at::Tensor> of_weight(3), of_bias(3);
  distributed::run_as(3, [&](const auto& processes) {
    const auto rank = static_cast<std::size_t>(processes->rank());
    const auto mine = [&](const at::Tensor& all) { return all.detach().narrow(0, first[rank], count[rank]); };
    const auto own = mine(x).clone().requires_grad_(), own_weight = weight.detach().clone().requires_grad_(),
               own_bias = bias.detach().clone().requires_grad_();
    const auto [y, statistics] = batch_norm_of_all(own, own_weight, own_bias, 1e-5, processes);
    EXPECT_TRUE(at::allclose(y, mine(expected), 1e-4, 1e-4));
    EXPECT_EQ(statistics.count, 30);
    EXPECT_TRUE(at::allclose(statistics.mean, mean, 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(statistics.variance * (30.0 / 29), variance, 1e-4, 1e-4));
    (y * mine(upstream)).sum().backward();
    EXPECT_TRUE(at::allclose(own.grad(), mine(x.grad()), 1e-3, 1e-5));
    of_weight[rank] = own_weight.grad();
    of_bias[rank] = own_bias.grad();
  });
  EXPECT_TRUE(at::allclose(of_weight[0] + of_weight[1] + of_weight[2], weight.grad(), 1e-3, 1e-3));
  EXPECT_TRUE(at::allclose(of_bias[0] + of_bias[1] + of_bias[2], bias.grad(), 1e-4, 1e-4));
}

}  // namespace
}  // namespace clipself::ops
