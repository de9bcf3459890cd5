#include "clipself/detection/pyramid.h"

#include <torch/nn/init.h>

#include "clipself/base/error.h"

namespace clipself::detection {

Backbone::Backbone(std::shared_ptr<models::VisionTower> tower, std::vector<int> taps, std::int64_t width)
    : taps_(std::move(taps)) {
  constexpr std::size_t kTaps = 4;
  if (taps_.size() != kTaps)
    throw Error({.doing = "building a detector", .found = c10::str(taps_.size(), " taps"), .expected = "four"});
  // A tap is named by its place: the layers of a torch Sequential.
  auto interpolate1 = std::make_shared<torch::nn::Module>();
  first_ = interpolate1->register_module("0", std::make_shared<Upsample2x>(width, width));
  norm_ = interpolate1->register_module("1", std::make_shared<BatchNorm>(width));
  second_ = interpolate1->register_module("3", std::make_shared<Upsample2x>(width, width));
  auto interpolate2 = std::make_shared<torch::nn::Module>();
  only_ = interpolate2->register_module("0", std::make_shared<Upsample2x>(width, width));
  register_module("interpolate1", interpolate1);
  register_module("interpolate2", interpolate2);
  visual_ = register_module("visual", std::move(tower));
  for (auto& parameter : visual_->parameters()) parameter.set_requires_grad(false);
}

void Backbone::train(bool on) {
  torch::nn::Module::train(on);
  visual_->train(false);
}

Features Backbone::forward(const at::Tensor& images) {
  std::vector<at::Tensor> maps;
  at::Tensor dense;
  {
    const at::NoGradGuard no_grad;
    std::tie(maps, dense) = visual_->intermediate_and_dense(images, taps_, /*with_dense=*/!is_training());
    for (auto& map : maps) map = map.contiguous(at::MemoryFormat::ChannelsLast);
  }
  auto finest = at::gelu(norm_->forward(first_->forward(maps[0])));
  return {
      .levels = {second_->forward(finest), only_->forward(maps[1]), maps[2], at::max_pool2d(maps[3], {2, 2}, {2, 2})},
      .dense = dense};
}

PyramidNetwork::PyramidNetwork(std::int64_t in, std::int64_t channels, int levels) {
  auto lateral = std::make_shared<torch::nn::Module>(), out = std::make_shared<torch::nn::Module>();
  for (int i = 0; i < levels; ++i) {
    const auto name = std::to_string(i);
    lateral_.push_back(lateral->register_module(name, std::make_shared<ConvModule>(in, channels, 1, true, false)));
    out_.push_back(out->register_module(name, std::make_shared<ConvModule>(channels, channels, 3, true, false)));
    for (auto* conv : {&lateral_.back()->conv(), &out_.back()->conv()}) torch::nn::init::xavier_uniform_(conv->weight);
  }
  register_module("lateral_convs", lateral);
  register_module("fpn_convs", out);
}

std::vector<at::Tensor> PyramidNetwork::forward(const std::vector<at::Tensor>& levels) {
  std::vector<at::Tensor> maps;
  for (std::size_t i = 0; i < lateral_.size(); ++i) maps.push_back(lateral_[i]->forward(levels.at(i)));
  for (std::size_t i = maps.size() - 1; i > 0; --i) {
    const std::array<std::int64_t, 2> size{maps[i - 1].size(2), maps[i - 1].size(3)};
    maps[i - 1] = maps[i - 1] + at::upsample_nearest2d(maps[i], size);
  }
  for (std::size_t i = 0; i < maps.size(); ++i) maps[i] = out_[i]->forward(maps[i]);
  maps.push_back(at::max_pool2d(maps.back(), {1, 1}, {2, 2}));
  return maps;
}

}  // namespace clipself::detection
