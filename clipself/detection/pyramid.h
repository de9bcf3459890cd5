// From the frozen vision transformer to a feature pyramid.
#pragma once

#include <memory>
#include <vector>

#include "clipself/detection/layers.h"
#include "clipself/models/vision_tower.h"

namespace clipself::detection {

/// What a picture gives the heads.
struct Features {
  std::vector<at::Tensor> levels;  ///< (B, C, h_i, w_i), the finest first, each half as large as the one before
  at::Tensor dense;                ///< (B, D, h, w) of unit length, for scoring; undefined in training
};

/// Four taps of a frozen vision tower brought to strides of 1/4, 1/2, 1 and 2 patches: transposed convolutions, the tap
/// itself, and a max-pool ("interpolate1" to "interpolate3", "visual"). The tower runs without gradients and is never
/// in training form.
class Backbone : public torch::nn::Module {
 public:
  Backbone(std::shared_ptr<models::VisionTower> tower, std::vector<int> taps, std::int64_t width);
  /// `images` (B, 3, H, W) normalised. Levels are (B, width, h, w).
  Features forward(const at::Tensor& images);
  models::VisionTower& tower() { return *visual_; }
  void train(bool on = true) override;

 private:
  std::vector<int> taps_;
  std::shared_ptr<models::VisionTower> visual_;
  std::shared_ptr<Upsample2x> first_, second_, only_;
  std::shared_ptr<BatchNorm> norm_;
};

/// Feature pyramid network (Lin et al. 2017): 1x1 "lateral_convs", coarser levels added by nearest-neighbour
/// upsampling, 3x3 "fpn_convs", batch norms, and a last level of every second place of the coarsest.
class PyramidNetwork : public torch::nn::Module {
 public:
  PyramidNetwork(std::int64_t in, std::int64_t channels, int levels = 4);
  /// levels (B, in, h_i, w_i) -> one more, (B, channels, h_i, w_i).
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& levels);

 private:
  std::vector<std::shared_ptr<ConvModule>> lateral_, out_;
};

}  // namespace clipself::detection
