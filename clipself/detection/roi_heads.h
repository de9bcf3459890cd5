// What becomes of a proposal: its class, its exact box and its mask.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clipself/detection/boxes.h"
#include "clipself/detection/classes.h"
#include "clipself/detection/layers.h"

namespace clipself::detection {

/// Features of boxes from the level that suits their size (FPN, equation 1): levels (B, C, h_i, w_i) with pixels a
/// place `strides`, one (n_i, 4) tensor of pixel boxes an image -> (sum n_i, C, size, size). The finest level takes
/// boxes up to twice kFinestBox in geometric mean of the sides, each next twice as large.
at::Tensor extract_rois(const std::vector<at::Tensor>& levels, const std::vector<double>& strides,
                        const std::vector<at::Tensor>& boxes, int size);
inline constexpr double kFinestBox = 56;
/// Side of what the box head sees of a box.
inline constexpr int kBoxBins = 7;
/// int64 (N): the level of each of (N, 4) boxes.
at::Tensor roi_levels(const at::Tensor& boxes, std::int64_t levels);

/// What a training picture shows, on the network's scale.
struct Objects {
  at::Tensor boxes;   ///< float (G, 4)
  at::Tensor labels;  ///< int64 (G)
  at::Tensor masks;   ///< bool or uint8 (G, H, W) with a mask head
};

/// What one picture's drawn boxes are to learn, positives first.
struct RoiTargets {
  at::Tensor boxes;             ///< (N, 4)
  at::Tensor labels;            ///< int64 (N); `background` of negatives
  at::Tensor deltas;            ///< (N, 4); zeros of negatives
  at::Tensor positive_boxes;    ///< (P, 4)
  at::Tensor positive_objects;  ///< int64 (P): whose they are
};
/// `boxes` (M, 4) are what `assignment` and `drawn` count.
RoiTargets roi_targets(const at::Tensor& boxes, const Objects& objects, const Assignment& assignment,
                       const Drawn& drawn, std::int64_t background, const std::array<double, 4>& stds);

/// F-ViT's box head: convolutions, shared layers, one layer for classes and one for boxes. A class's logit is the
/// cosine of its embedding and the class feature times a learned temperature; boxes are the same for all classes. The
/// parameter "fc_cls" that published checkpoints have beside it is never used.
class BoxHead : public torch::nn::Module {
 public:
  BoxHead(const DetectorConfig& config, DetectionClasses classes);

  struct Output {
    at::Tensor logits;  ///< (N, C + 1)
    at::Tensor deltas;  ///< (N, 4)
  };
  /// `rois` (N, channels, 7, 7).
  Output forward(const at::Tensor& rois);
  /// Probabilities (N, C + 1) of the head joined with those of the dense map's features `dense` (N, D); not normalised
  /// again.
  at::Tensor fuse(const at::Tensor& logits, const at::Tensor& dense) const;

  /// `logits` with those of classes without weight at -inf: outside of softmax and accuracy.
  at::Tensor trained_logits(const at::Tensor& logits) const;
  /// Cross-entropy of each row times its class's weight and its own (float (N)), over the number of rows that weigh
  /// anything.
  at::Tensor class_loss(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& row_weights) const;
  struct Losses {
    at::Tensor classes;   ///< class_loss of rows that all weigh 1
    at::Tensor boxes;     ///< L1 of positive rows, over the number of all rows
    at::Tensor accuracy;  ///< per cent
  };
  /// `labels` int64 (N), C for background; `targets` (N, 4) of positive rows, zeros elsewhere. Throws Error for the
  /// label of a class without weight.
  Losses losses(const Output& output, const at::Tensor& labels, const at::Tensor& targets) const;

  const DetectionClasses& classes() const { return classes_; }
  const at::Tensor& embeddings() const { return all_embeddings_; }    ///< (D, C + 1)
  const at::Tensor& class_weights() const { return class_weights_; }  ///< (C + 1)
  const at::Tensor& temperature() const { return detect_temperature_; }

 private:
  DetectorConfig config_;
  DetectionClasses classes_;
  at::Tensor detect_temperature_, all_embeddings_, class_weights_, mixing_;
  std::vector<std::shared_ptr<ConvModule>> shared_convs_;
  std::vector<std::shared_ptr<Linear>> shared_fcs_, cls_fcs_, reg_fcs_;
  std::shared_ptr<Linear> fc_reg_;
};

/// Boxes above the score threshold in some class, after non-maximum suppression within each class.
struct Detections {
  at::Tensor boxes;   ///< float (N, 4)
  at::Tensor scores;  ///< float (N), falling
  at::Tensor labels;  ///< int64 (N)
  at::Tensor masks;   ///< bool (N, H, W), of the picture's size; undefined without a mask head
};
/// `boxes` (N, 4), `scores` (N, C + 1) with background last. Also gives the places (row * C + class) that were kept.
std::pair<Detections, at::Tensor> select_detections(const at::Tensor& boxes, const at::Tensor& scores,
                                                    const DetectionSelection& selection);

/// Class-agnostic mask head (Mask R-CNN): convolutions, a transposed one, one channel of logits twice as large.
class MaskHead : public torch::nn::Module {
 public:
  explicit MaskHead(const DetectorConfig& config);
  /// (N, channels, s, s) -> (N, 1, 2 s, 2 s) logits.
  at::Tensor forward(const at::Tensor& rois);
  /// Mean binary cross-entropy; 0 of no rows.
  static at::Tensor loss(const at::Tensor& logits, const at::Tensor& targets);

 private:
  std::vector<std::shared_ptr<ConvModule>> convs_;
  std::shared_ptr<Upsample2x> upsample_;
  std::shared_ptr<Conv2d> conv_logits_;
};

/// float (N, size, size): the part of `masks` (G, H, W) under each box, RoIAlign'ed; row i of object `object[i]`.
at::Tensor mask_parts(const at::Tensor& masks, const at::Tensor& boxes, const at::Tensor& object, int size);
/// Logits (N, 1, s, s) of masks within `boxes` (N, 4) -> bool (N, height, width) masks of the picture.
at::Tensor paste_masks(const at::Tensor& logits, const at::Tensor& boxes, const Extent& picture, double threshold);

}  // namespace clipself::detection
