#include "clipself/models/vision_tower.h"

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/models/layers.h"
#include "clipself/ops/checkpointing.h"
#include "clipself/ops/linear.h"

namespace clipself::models {

VisionTower::Grid VisionTower::grid_of(const at::Tensor& images) const {
  const std::int64_t patch = config_.patch_size;
  if (images.dim() != 4 || images.size(1) != 3 || images.size(2) % patch != 0 || images.size(3) % patch != 0 ||
      images.numel() == 0) {
    throw Error({.doing = "encoding images",
                 .found = "a tensor of shape " + c10::str(images.sizes()),
                 .expected = c10::str("(B, 3, H, W) with H and W multiples of ", patch)});
  }
  return {images.size(2) / patch, images.size(3) / patch};
}

at::Tensor VisionTower::patch_tokens(const at::Tensor& images, const at::Tensor& kernel, const at::Tensor& bias) const {
  grid_of(images);
  const std::int64_t patch = config_.patch_size;
  return ops::conv2d(cast(images, compute_type_), kernel, bias, /*stride=*/patch, /*padding=*/0)
      .flatten(2)
      .transpose(1, 2);
}

at::Tensor VisionTower::checkpointed(int i, const at::Tensor& x,
                                     const std::function<at::Tensor(const at::Tensor&)>& body) {
  if (!checkpointing_) return body(x);
  std::vector<at::Tensor> trained;
  for (const auto& parameter : block_module(i).parameters()) {
    if (parameter.requires_grad()) trained.push_back(parameter);
  }
  return ops::checkpoint(body, x, trained);
}

at::Tensor VisionTower::block(int i, const at::Tensor& tokens, const Grid& grid) {
  return checkpointed(i, tokens, [this, i, grid](const at::Tensor& x) { return run_block(i, x, grid); });
}

at::Tensor VisionTower::last_in_dense(const at::Tensor& tokens) {
  // A class token has no part in the value path: it is dropped before rather than after the last block.
  return checkpointed(depth() - 1, tokens.slice(1, prefix_tokens()),
                      [this](const at::Tensor& x) { return run_last_in_dense(x); });
}

at::Tensor VisionTower::image_of(const at::Tensor& tokens, const Grid& grid) {
  return pool(
      checkpointed(depth() - 1, tokens, [this, grid](const at::Tensor& x) { return run_last_for_image(x, grid); }));
}

at::Tensor VisionTower::before_last(const at::Tensor& images, const Grid& grid,
                                    const std::function<void(int, const at::Tensor&)>& after) {
  auto x = input_tokens(images);
  for (int i = 0; i + 1 < depth(); ++i) {
    x = block(i, x, grid);
    if (after) after(i, x);
  }
  return x;
}

at::Tensor VisionTower::dense_of(const at::Tensor& last, const Grid& grid) {
  return unit_length(project(last)).unflatten(1, {grid.h, grid.w}).permute({0, 3, 1, 2});
}

at::Tensor VisionTower::encode_image(const at::Tensor& images) {
  const auto grid = grid_of(images);
  return image_of(before_last(images, grid), grid);
}

at::Tensor VisionTower::encode_dense(const at::Tensor& images) {
  const auto grid = grid_of(images);
  return dense_of(last_in_dense(before_last(images, grid)), grid);
}

std::pair<at::Tensor, at::Tensor> VisionTower::encode_dense_and_image(const at::Tensor& images) {
  const auto grid = grid_of(images);
  const auto tokens = before_last(images, grid);
  return {dense_of(last_in_dense(tokens), grid), image_of(tokens, grid)};
}

std::vector<at::Tensor> VisionTower::intermediate(const at::Tensor& images, const std::vector<int>& layers) {
  return intermediate_and_dense(images, layers, /*with_dense=*/false).first;
}

std::pair<std::vector<at::Tensor>, at::Tensor> VisionTower::intermediate_and_dense(const at::Tensor& images,
                                                                                   const std::vector<int>& layers,
                                                                                   bool with_dense) {
  const auto grid = grid_of(images);
  for (const int layer : layers) {
    if (layer < 0 || layer >= depth()) {
      throw Error({.doing = "taking intermediate features",
                   .found = c10::str("block ", layer),
                   .expected = c10::str("0 to ", depth() - 1)});
    }
  }
  std::vector<at::Tensor> maps(layers.size());
  const auto keep = [&](int layer, const at::Tensor& patches) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i] == layer) maps[i] = patches.transpose(1, 2).unflatten(2, {grid.h, grid.w});
    }
  };
  const auto tokens =
      before_last(images, grid, [&](int i, const at::Tensor& x) { keep(i, x.slice(1, prefix_tokens())); });
  const auto last = last_in_dense(tokens);
  keep(depth() - 1, last);
  return {std::move(maps), with_dense ? dense_of(last, grid) : at::Tensor()};
}

at::Tensor VisionTower::encode_masks_attn(const at::Tensor& /*images*/, const std::vector<at::Tensor>& /*masks*/) {
  throw Error({.doing = "pooling masks by attention",
               .found = "a " + config_.backbone + " tower",
               .expected = "a plain CLIP ViT",
               .hint = "--extract-type v2 pools the dense map and works with every tower"});
}

void VisionTower::lock(int groups) {
  for (auto& parameter : parameters()) parameter.set_requires_grad(false);
  const auto all = lock_groups();
  const auto count = std::min(all.size(), static_cast<std::size_t>(std::max(0, groups)));
  for (auto group = all.end() - static_cast<std::ptrdiff_t>(count); group != all.end(); ++group) {
    for (auto tensor : *group) tensor.set_requires_grad(true);
  }
}

}  // namespace clipself::models
