#include "clipself/training/profiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "clipself/base/torch.h"

namespace clipself::training {
namespace {

const Profiler::Part* find(const std::vector<Profiler::Part>& parts, const std::string& name) {
  const auto found = std::ranges::find(parts, name, &Profiler::Part::name);
  return found == parts.end() ? nullptr : &*found;
}

TEST(Profiler, CountsOperatorsAndItsPartsAddUpToTheWhole) {
  const auto x = at::randn({64, 64}).requires_grad_();
  const auto start = std::chrono::steady_clock::now();
  const Profiler profiler;
  for (int i = 0; i < 3; ++i) at::linear(x, x).sum().backward();
  const auto parts = profiler.parts();
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto* linear = find(parts, "aten::linear");
  ASSERT_NE(linear, nullptr);
  EXPECT_EQ(linear->calls, 3);
  // A linear layer is a product and what it does around it, which is told of apart.
  const auto* product = find(parts, "aten::mm");
  ASSERT_NE(product, nullptr);
  EXPECT_GE(product->calls, 3);
  ASSERT_NE(find(parts, "(outside operators)"), nullptr);
  double sum = 0;
  for (const auto& part : parts) {
    EXPECT_GE(part.seconds, 0) << part.name;
    sum += part.seconds;
  }
  EXPECT_LE(sum, whole);
  EXPECT_GE(sum, 0.5 * whole);  // all but making the profiler and this list
  EXPECT_TRUE(std::ranges::is_sorted(parts, std::ranges::greater(), &Profiler::Part::seconds));
}

TEST(Profiler, SeesNothingOfWhatWasBeforeAndAfterIt) {
  const auto x = at::randn({8, 8});
  static_cast<void>(x.tanh());
  {
    const Profiler profiler;
    static_cast<void>(x.exp());
    const auto parts = profiler.parts();
    EXPECT_NE(find(parts, "aten::exp"), nullptr);
    EXPECT_EQ(find(parts, "aten::tanh"), nullptr);
  }
  static_cast<void>(x.tanh());  // and does not reach for it any more
}

}  // namespace
}  // namespace clipself::training
