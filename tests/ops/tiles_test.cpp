// Small products of bfloat16: on AMX's tiles where there are some, with AVX-512 oneDNN's.
#include "clipself/ops/cpu/tiles.h"

#include <gtest/gtest.h>

#include <vector>

#include "clipself/ops/cpu/aligned.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/ops/cpu/matrix.h"

namespace clipself::ops::cpu {
namespace {

struct Size {
  std::int64_t m, n, k;
};

void PrintTo(const Size& size, std::ostream* out) {
  *out << size.m << " x " << size.n << ", " << size.k << " deep";
}

class TileProduct : public ::testing::TestWithParam<Size> {
 protected:
  void SetUp() override {
    at::manual_seed(12);
    const auto [m, n, k] = GetParam();
    a_ = at::randn({m, k}).to(at::kBFloat16);
    b_ = at::randn({k, n}).to(at::kBFloat16);
    before_ = at::randn({m, n});
    product_ = at::mm(a_.to(at::kDouble), b_.to(at::kDouble)).to(at::kFloat);
    b_pairs_ = b_.view({k / 2, 2, n}).transpose(1, 2).contiguous();
  }
  void TearDown() override { release_products(at::kBFloat16); }
  /// What `multiply` makes of `before_`, set and added to.
  template <typename F>
  void expect_product(const F& multiply) const {
    for (const bool add : {false, true}) {
      auto c = before_.clone();
      multiply(c.mutable_data_ptr<float>(), add);
      EXPECT_TRUE(at::allclose(c, add ? before_ + product_ : product_, 1e-5, 1e-4)) << (add ? "added" : "set");
    }
  }
  at::Tensor a_, b_, b_pairs_, before_, product_;
};

TEST_P(TileProduct, OfRowsAsTheyAre) {
  if (!has_matrix_products(at::kBFloat16)) GTEST_SKIP() << "no small products of bfloat16 on this processor";
  const auto [m, n, k] = GetParam();
  expect_product([&](float* c, bool add) {
    product(m, n, k, a_.const_data_ptr<at::BFloat16>(), k, b_pairs_.const_data_ptr<at::BFloat16>(), n, c, n, add);
  });
}

TEST_P(TileProduct, OfPackedTiles) {
  if (!on_tiles()) GTEST_SKIP() << "no tiles on this processor";
  const auto [m, n, k] = GetParam();
  const std::int64_t depth = round_up(k, kTileDepth);
  AlignedVector<at::BFloat16> left(static_cast<std::size_t>(round_up(m, kTileSide) * depth)),
      right(static_cast<std::size_t>(round_up(n, kTileSide) * depth));
  const auto* a = a_.const_data_ptr<at::BFloat16>();
  const auto* b = b_.const_data_ptr<at::BFloat16>();
  const auto tile = [&](std::int64_t aside, std::int64_t deeper) {
    return aside / kTileSide * kTileSide * depth + deeper / kTileDepth * kTileNumbers;
  };
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < k; ++j) left[tile(i, j) + i % kTileSide * kTileDepth + j % kTileDepth] = a[i * k + j];
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      right[tile(j, i) + i % kTileDepth / 2 * kTileDepth + j % kTileSide * 2 + i % 2] = b[i * n + j];
  expect_product([&](float* c, bool add) {
    tile_product(m, n, k, packed_tiles(left.data(), depth), packed_tiles(right.data(), depth), c, n, add);
  });
}

// Of whole tiles: the same numbers among others that are zero.
TEST_P(TileProduct, OfPanels) {
  if (!on_tiles()) GTEST_SKIP() << "no tiles on this processor";
  constexpr std::int64_t kPanel = 2 * kTileSide;
  const auto [m, n, k] = GetParam();
  const std::int64_t rows = round_up(m, kPanel), depth = round_up(k, kTileDepth), columns = round_up(n, kPanel);
  const auto a = at::zeros({rows, depth}, at::kBFloat16);
  a.narrow(0, 0, m).narrow(1, 0, k).copy_(a_);
  AlignedVector<at::BFloat16> panels(static_cast<std::size_t>(depth * columns), at::BFloat16(0.0F));
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      panels[j / kPanel * kPanel * depth + panel_tile(i, j % kPanel) + i % kTileDepth / 2 * kTileDepth +
             j % kTileSide * 2 + i % 2] = b_.const_data_ptr<at::BFloat16>()[i * n + j];
  expect_product([&](float* c, bool add) {
    auto whole = at::zeros({rows, columns});
    auto own = at::from_blob(c, {m, n}), part = whole.narrow(0, 0, m).narrow(1, 0, n);
    part.copy_(own);
    for (std::int64_t j = 0; j < columns; j += kPanel)
      tile_panel_product(rows, depth, rows_as_tiles(a.const_data_ptr<at::BFloat16>(), depth), panels.data() + j * depth,
                         whole.mutable_data_ptr<float>() + j, columns, add);
    own.copy_(part);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, TileProduct,
                         ::testing::Values(Size{1, 1, 2}, Size{16, 16, 32}, Size{33, 48, 96}, Size{5, 7, 34},
                                           Size{64, 80, 64}, Size{32, 16, 64}, Size{37, 17, 50}, Size{96, 33, 544}));

}  // namespace
}  // namespace clipself::ops::cpu
