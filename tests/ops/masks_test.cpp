#include "clipself/ops/masks.h"

#include <gtest/gtest.h>

#include <limits>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

at::Tensor random_mask(std::int64_t height, std::int64_t width, double part) {
  return (at::rand({height, width}) < part).to(at::kByte);
}

TEST(Masks, AreCountedDownTheColumns) {
  const auto mask = at::tensor({0, 1, 1, 1, 0, 0}, at::kByte).view({2, 3});
  const auto rle = encode_mask(mask);
  EXPECT_EQ(rle.height, 2);
  EXPECT_EQ(rle.width, 3);
  EXPECT_EQ(rle.counts, (std::vector<std::uint32_t>{1, 2, 1, 1, 1}));
  EXPECT_EQ(encode_mask(mask.to(at::kBool)), rle);
  EXPECT_EQ(encode_mask(mask.t()).counts, (std::vector<std::uint32_t>{1, 3, 2}));
  EXPECT_TRUE(at::equal(decode_mask(rle), mask));
  EXPECT_EQ(encode_mask(at::ones({2, 2}, at::kBool)).counts, (std::vector<std::uint32_t>{0, 4}));
  EXPECT_THROW(encode_mask(at::ones({2, 2})), Error);
  EXPECT_THROW(encode_mask(at::ones({1, 2, 2}, at::kByte)), Error);
}

TEST(Masks, ComputeAsTheirBitmapsDo) {
  torch::manual_seed(1);
  for (const double part : {0.0, 0.02, 0.5, 0.98, 1.0}) {
    const auto a = random_mask(17, 23, part), b = random_mask(17, 23, 0.4);
    const auto ra = encode_mask(a), rb = encode_mask(b);
    EXPECT_TRUE(at::equal(decode_mask(ra), a));
    EXPECT_EQ(mask_area(ra), a.sum().item<std::int64_t>());
    const std::array both{ra, rb};
    EXPECT_EQ(merge_masks(both, MaskMerge::kUnion), encode_mask(a | b));
    EXPECT_EQ(merge_masks(both, MaskMerge::kIntersection), encode_mask(a & b));
    const double overlap = (a & b).sum().item<double>();
    EXPECT_DOUBLE_EQ(mask_iou(ra, rb, false), overlap / (a | b).sum().item<double>());
    EXPECT_DOUBLE_EQ(mask_iou(ra, rb, true), part == 0 ? 0 : overlap / a.sum().item<double>());
    const auto inside = a.nonzero();
    BoxXywh box{0, 0, 0, 0};
    if (inside.numel() > 0) {
      const auto least = std::get<0>(inside.min(0)), most = std::get<0>(inside.max(0));
      const auto x = least[1].item<double>(), y = least[0].item<double>();
      box = {x, y, most[1].item<double>() - x + 1, most[0].item<double>() - y + 1};
    }
    EXPECT_EQ(mask_box(ra), box);
  }
}

TEST(Masks, OfAnotherSizeAreRefused) {
  const auto a = encode_mask(at::ones({2, 3}, at::kByte)), b = encode_mask(at::ones({3, 2}, at::kByte));
  EXPECT_THROW(mask_iou(a, b, false), Error);
  EXPECT_THROW(merge_masks(std::array{a, b}, MaskMerge::kUnion), Error);
  EXPECT_THROW(merge_masks({}, MaskMerge::kUnion), Error);
}

TEST(PolygonMask, CoversThePixelsWhoseCentresARectangleHolds) {
  const auto mask = decode_mask(polygon_mask(std::array{2., 1., 2., 4., 5., 4., 5., 1.}, 6, 8));
  auto expected = at::zeros({6, 8}, at::kByte);
  expected.slice(0, 1, 4).slice(1, 2, 5).fill_(1);
  EXPECT_TRUE(at::equal(mask, expected));
  EXPECT_TRUE(at::equal(decode_mask(box_mask({2, 1, 3, 3}, 6, 8)), expected));
  EXPECT_TRUE(at::equal(decode_mask(box_mask({-5, -5, 100, 100}, 6, 8)), at::ones({6, 8}, at::kByte)));
  EXPECT_EQ(mask_area(box_mask({20, 1, 3, 3}, 6, 8)), 0) << "outside";
}

TEST(PolygonMask, OfNoAreaIsEmpty) {
  for (const std::vector<double>& polygon :
       {std::vector<double>{}, {1, 1}, {1, 1, 4, 1}, {1, 1, 4, 1, 1, 1}, {2, 2, 2, 2, 2, 2}}) {
    const auto rle = polygon_mask(polygon, 6, 8);
    EXPECT_EQ(rle.counts, (std::vector<std::uint32_t>{48}));
  }
}

TEST(PolygonMask, RefusesCoordinatesWithoutEnd) {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::nan(""), 1e8})
    EXPECT_THROW(polygon_mask(std::array{bad, 1., 2., 3., 4., 5.}, 6, 8), Error);
  EXPECT_THROW(polygon_mask(std::array{1., 1., 2., 3., 4., 5.}, 0, 8), Error);
}

TEST(BoxIou, IsIntersectionOverUnion) {
  EXPECT_DOUBLE_EQ(box_iou({0, 0, 4, 4}, {2, 2, 4, 4}, false), 4. / 28);
  EXPECT_DOUBLE_EQ(box_iou({0, 0, 4, 4}, {2, 2, 4, 4}, true), 4. / 16);
  EXPECT_EQ(box_iou({0, 0, 4, 4}, {4, 0, 4, 4}, false), 0) << "they only touch";
}

}  // namespace
}  // namespace clipself::ops
