#include "clipself/ops/nms.h"

#include <algorithm>
#include <vector>

#include "clipself/base/clones.h"
#include "clipself/base/error.h"

namespace clipself::ops {
namespace {

/// Corners and areas by falling score, each of its own array so that many boxes are compared at once.
struct SortedBoxes {
  std::vector<float> x0, y0, x1, y1, area;
};

/// Marks which of the boxes from `first` on overlap box `i` by more than the threshold.
CLIPSELF_CLONES
void suppress(const float* x0, const float* y0, const float* x1, const float* y1, const float* area, std::size_t i,
              std::size_t first, std::size_t count, float threshold, std::uint8_t* gone) {
  const float left = x0[i], top = y0[i], right = x1[i], bottom = y1[i], own = area[i];
  for (std::size_t j = first; j < count; ++j) {
    const float w = std::max(0.0F, std::min(right, x1[j]) - std::max(left, x0[j]));
    const float h = std::max(0.0F, std::min(bottom, y1[j]) - std::max(top, y0[j]));
    const float overlap = w * h;
    gone[j] |= static_cast<std::uint8_t>(overlap / (own + area[j] - overlap) > threshold);
  }
}

void check(const at::Tensor& boxes, const at::Tensor& scores) {
  if (boxes.dim() == 2 && boxes.size(1) == 4 && scores.dim() == 1 && scores.size(0) == boxes.size(0)) return;
  throw Error({.doing = "nms",
               .found = c10::str("boxes of shape ", boxes.sizes(), " and scores of shape ", scores.sizes()),
               .expected = "(N, 4) and (N)"});
}

}  // namespace

at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold, std::int64_t most) {
  check(boxes, scores);
  const auto device = boxes.device();
  const auto order = std::get<1>(scores.to(at::kCPU).sort(/*stable=*/true, 0, /*descending=*/true)).contiguous();
  const auto sorted = boxes.to(at::kCPU, at::kFloat).index_select(0, order).contiguous();
  const auto count = static_cast<std::size_t>(boxes.size(0));
  const auto* corner = sorted.const_data_ptr<float>();
  SortedBoxes list;
  for (auto* column : {&list.x0, &list.y0, &list.x1, &list.y1, &list.area}) column->reserve(count);
  for (std::size_t i = 0; i < count; ++i, corner += 4) {
    list.x0.push_back(corner[0]);
    list.y0.push_back(corner[1]);
    list.x1.push_back(corner[2]);
    list.y1.push_back(corner[3]);
    list.area.push_back((corner[2] - corner[0]) * (corner[3] - corner[1]));
  }
  std::vector<std::uint8_t> gone(count, 0);
  std::vector<std::int64_t> kept;
  const auto* original = order.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < count && (most < 0 || std::ssize(kept) < most); ++i) {
    if (gone[i] != 0) continue;
    kept.push_back(original[i]);
    suppress(list.x0.data(), list.y0.data(), list.x1.data(), list.y1.data(), list.area.data(), i, i + 1, count,
             static_cast<float>(iou_threshold), gone.data());
  }
  return at::tensor(kept, at::kLong).to(device);
}

at::Tensor batched_nms(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor& groups,
                       double iou_threshold, std::int64_t most) {
  check(boxes, scores);
  if (boxes.size(0) == 0) return at::empty({0}, groups.options().dtype(at::kLong));
  const auto floats = boxes.to(at::kFloat);
  const auto moved = floats + (groups.to(at::kFloat) * (floats.max() + 1)).unsqueeze(1);
  if (boxes.size(0) < kSplitBoxes) return nms(moved, scores, iou_threshold, most);
  if (!boxes.is_cpu())  // once, not once a group
    return batched_nms(boxes.cpu(), scores.cpu(), groups.cpu(), iou_threshold, most).to(boxes.device());
  auto kept = at::zeros({boxes.size(0)}, groups.options().dtype(at::kBool));
  const auto distinct = std::get<0>(at::_unique(groups)).to(at::kCPU).contiguous();
  for (std::int64_t i = 0; i < distinct.numel(); ++i) {
    const auto members = (groups == distinct.const_data_ptr<std::int64_t>()[i]).nonzero().squeeze(1);
    const auto best = nms(moved.index_select(0, members), scores.index_select(0, members), iou_threshold);
    kept.index_fill_(0, members.index_select(0, best), true);
  }
  const auto survivors = kept.nonzero().squeeze(1);
  const auto order = std::get<1>(scores.index_select(0, survivors).sort(/*stable=*/true, 0, /*descending=*/true));
  const auto sorted = survivors.index_select(0, order);
  return most < 0 ? sorted : sorted.slice(0, 0, most);
}

}  // namespace clipself::ops
