// Every number of the detector. Defaults are those of the published OV-COCO ViT-B/16.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace clipself::detection {

/// MaxIoUAssigner's: a box is an object's from `positive` IoU on, background below `negative`, neither in between.
/// `low_quality`: an object's best boxes are its own from `least` on, whatever their IoU.
struct AssignOptions {
  double positive = 0.5, negative = 0.5, least = 0.5;
  bool low_quality = false;
};

/// At most `count` boxes an image, at most `positive_part` of them positive.
struct SampleOptions {
  int count = 512;
  double positive_part = 0.25;
};

/// Boxes of the region proposal network: the best `before_nms` of each level, of those the best `count` that survive
/// non-maximum suppression over each level.
struct ProposalSelection {
  int before_nms = 2000;
  int count = 1000;
  double iou_threshold = 0.7;
};

/// What becomes a detection.
struct DetectionSelection {
  double score_threshold = 0.01;
  double iou_threshold = 0.4;
  int most = 100;
  double mask_threshold = 0.5;
};

/// How the head's and the dense map's class probabilities are joined: p^(1-a) * q^a with a = alpha for base classes and
/// background, beta for novel ones (F-ViT, CLIPSelf section 4.2).
struct FusionOptions {
  double alpha = 0.1, beta = 0.8;
  double dense_temperature = 75;  ///< logits of the dense feature: cosine times this
};

struct DetectorConfig {
  std::vector<int> taps{3, 5, 7, 11};  ///< blocks of the backbone that feed the pyramid, the last as in the dense map
  int channels = 256;                  ///< of pyramid, RPN and RoI heads
  int fc_width = 0;  ///< of the box head's layers, which meet the class embeddings; 0: the embedding's
  int shared_convs = 4, shared_fcs = 2, class_fcs = 1, box_fcs = 1;
  int rpn_convs = 2;
  bool rpn_norm = false;  ///< batch norm in the RPN (OV-LVIS)
  double anchor_scale = 8;
  std::vector<double> anchor_ratios{0.5, 1.0, 2.0};
  bool masks = false;
  int mask_convs = 4;
  int mask_size = 28;
  double temperature = 50;         ///< of the box head; learned, from this value on, unless `fixed_temperature`
  bool fixed_temperature = false;  ///< transfer to another vocabulary
  double background_weight = 0.6;  ///< of the class loss
  std::array<double, 4> box_stds{0.1, 0.1, 0.2, 0.2};

  AssignOptions rpn_assign{.positive = 0.7, .negative = 0.3, .least = 0.3, .low_quality = true};
  SampleOptions rpn_sample{.count = 256, .positive_part = 0.5};
  ProposalSelection proposals;
  AssignOptions roi_assign;
  SampleOptions roi_sample;
  DetectionSelection selection;
  FusionOptions fusion;
};

}  // namespace clipself::detection
