#include "clipself/ops/nms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

/// Boxes of a few to some twenty pixels that crowd in a square of that side.
at::Tensor crowded_boxes(std::int64_t count, double side) {
  const auto corner = at::rand({count, 2}) * side;
  return at::cat({corner, corner + 3 + at::rand({count, 2}) * 20}, 1);
}

double overlap_of(const at::TensorAccessor<double, 2>& boxes, std::int64_t i, std::int64_t j) {
  const auto side = [&](int axis) {
    return std::max(0.0, std::min(boxes[i][axis + 2], boxes[j][axis + 2]) - std::max(boxes[i][axis], boxes[j][axis]));
  };
  const auto area = [&](std::int64_t k) { return (boxes[k][2] - boxes[k][0]) * (boxes[k][3] - boxes[k][1]); };
  const double common = side(0) * side(1);
  return common / (area(i) + area(j) - common);
}

/// The definition: by falling score, each box that no better one of its group that stays overlaps by more.
std::vector<std::int64_t> survivors(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor& groups,
                                    double threshold) {
  const auto corners = boxes.to(at::kDouble).contiguous();
  const auto box = corners.accessor<double, 2>();
  const auto score = scores.accessor<float, 1>();
  const auto group = groups.accessor<std::int64_t, 1>();
  std::vector<std::int64_t> order(static_cast<std::size_t>(boxes.size(0))), kept;
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score[a] > score[b]; });
  for (const auto i : order) {
    const bool goes = std::any_of(kept.begin(), kept.end(), [&](std::int64_t j) {
      return group[i] == group[j] && overlap_of(box, j, i) > threshold;
    });
    if (!goes) kept.push_back(i);
  }
  return kept;
}

std::vector<std::int64_t> listed(const at::Tensor& indices) {
  const auto* first = indices.const_data_ptr<std::int64_t>();
  return {first, first + indices.numel()};
}

TEST(Nms, KeepsWhatItsDefinitionKeeps) {
  torch::manual_seed(1);
  for (const std::int64_t count : {1, 2, 37, 400}) {
    const auto boxes = crowded_boxes(count, 60);
    // Scores of two digits: many are equal, and then the first stands before the second.
    const auto scores = (at::rand({count}) * 100).floor() / 100;
    for (const double threshold : {0.0, 0.3, 0.5, 0.9}) {
      const auto expected = survivors(boxes, scores, at::zeros({count}, at::kLong), threshold);
      EXPECT_EQ(listed(nms(boxes, scores, threshold)), expected) << count << " boxes, " << threshold;
      EXPECT_EQ(listed(nms(boxes, scores, threshold, 5)),
                std::vector(expected.begin(), expected.begin() + std::min<std::ptrdiff_t>(5, std::ssize(expected))));
    }
  }
}

TEST(Nms, GoesByMoreThanTheThreshold) {
  // Of equal halves exactly one half is common: that is not above one half.
  const auto boxes = at::tensor({0.0, 0.0, 8.0, 8.0, 0.0, 0.0, 8.0, 4.0}, at::kFloat).reshape({2, 4});
  const auto scores = at::tensor({0.9, 0.8}, at::kFloat);
  EXPECT_EQ(nms(boxes, scores, 0.5).numel(), 2);
  EXPECT_EQ(nms(boxes, scores, 0.49).numel(), 1);
}

TEST(Nms, OfNoBoxesIsEmptyAndOfOtherShapesRefused) {
  EXPECT_EQ(nms(at::zeros({0, 4}), at::zeros({0}), 0.5).scalar_type(), at::kLong);
  EXPECT_EQ(nms(at::zeros({0, 4}), at::zeros({0}), 0.5).numel(), 0);
  EXPECT_EQ(batched_nms(at::zeros({0, 4}), at::zeros({0}), at::zeros({0}, at::kLong), 0.5).numel(), 0);
  EXPECT_EQ(nms(at::rand({3, 4}), at::rand({3}), 0.5, 0).numel(), 0);
  EXPECT_THROW(nms(at::rand({3, 5}), at::rand({3}), 0.5), Error);
  EXPECT_THROW(nms(at::rand({3, 4}), at::rand({2}), 0.5), Error);
  EXPECT_THROW(batched_nms(at::rand({3, 4}), at::rand({3, 1}), at::zeros({3}, at::kLong), 0.5), Error);
}

TEST(BatchedNms, KeepsWhatItsDefinitionKeepsInEachGroup) {
  torch::manual_seed(2);
  const auto boxes = crowded_boxes(300, 60), scores = (at::rand({300}) * 100).floor() / 100;
  const auto groups = at::randint(5, {300}, at::kLong);
  const auto expected = survivors(boxes, scores, groups, 0.5);
  EXPECT_EQ(listed(batched_nms(boxes, scores, groups, 0.5)), expected);
  EXPECT_EQ(listed(batched_nms(boxes, scores, groups, 0.5, 7)), std::vector(expected.begin(), expected.begin() + 7));
}

TEST(BatchedNms, KeepsTheSameGroupByGroupAsAtOnce) {
  // One box more, far below all others in score and of a group of its own, is where it goes group by group.
  torch::manual_seed(3);
  const auto boxes = crowded_boxes(kSplitBoxes, 200), groups = at::randint(8, {kSplitBoxes}, at::kLong);
  const auto scores = (at::rand({kSplitBoxes}) * 1000).floor() / 1000 + 0.5;
  scores[kSplitBoxes - 1] = 0.1;
  groups[kSplitBoxes - 1] = 8;
  const auto one_less = [](const at::Tensor& all) { return all.slice(0, 0, kSplitBoxes - 1); };
  // The largest coordinate, which moves the groups, is no part of what is compared.
  const auto last = boxes[kSplitBoxes - 1];
  last.copy_(boxes[0]);
  auto at_once = listed(batched_nms(one_less(boxes), one_less(scores), one_less(groups), 0.4));
  const auto split = listed(batched_nms(boxes, scores, groups, 0.4));
  ASSERT_LT(at_once.size(), 9000U);
  EXPECT_EQ(listed(batched_nms(boxes, scores, groups, 0.4, 100)), std::vector(split.begin(), split.begin() + 100));
  at_once.push_back(kSplitBoxes - 1);
  EXPECT_EQ(split, at_once);
}

}  // namespace
}  // namespace clipself::ops
