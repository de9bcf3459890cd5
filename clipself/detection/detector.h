// F-ViT (CLIPSelf, section 4.2 and its F-ViT folder): an open-vocabulary detector on a frozen CLIP vision transformer.
//
//   picture -> frozen ViT -> taps -> Backbone -> PyramidNetwork -> ProposalNetwork -> boxes
//                        \-> dense map                                |
//                                 \------------ scores ---- BoxHead, MaskHead -> detections
//
// Parameter names are those of the published checkpoints (MMDetection's).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "clipself/detection/proposals.h"
#include "clipself/detection/pyramid.h"
#include "clipself/detection/roi_heads.h"
#include "clipself/formats/tensor_dict.h"
#include "clipself/models/config.h"

namespace clipself::detection {

/// A picture to look at: its sizes on the network's scale, and how it came to them.
struct Picture {
  PictureSize size;
  Extent original;                         ///< before scaling
  std::array<float, 4> scale{1, 1, 1, 1};  ///< pixels of the network a pixel of the original: x, y, x, y
};

/// Which of the assigned boxes of image `i` are trained on.
using Draw = std::function<Drawn(std::size_t i, const Assignment& assignment)>;

/// One forward pass of training.
struct TrainingPass {
  std::vector<Proposals> proposals;
  std::vector<Assignment> anchors;  ///< of each picture's anchors inside
  std::vector<Assignment> rois;     ///< of its objects' own boxes and then its proposals
  std::int64_t normaliser = 0;      ///< anchors drawn, that the proposals' losses are means over
  ProposalNetwork::Losses proposal_losses;
  BoxHead::Losses box_losses;
  at::Tensor mask_loss;                      ///< undefined without a mask head
  at::Tensor labels, targets, mask_targets;  ///< of the boxes drawn, positives before negatives, picture by picture

  /// The losses that are minimised, and the accuracy "acc" beside them.
  training::LossTerms terms() const;
};

class Detector : public torch::nn::Module {
 public:
  /// The tower is that of `clip`, its weights as initialised.
  Detector(const models::ClipConfig& clip, const DetectorConfig& config, DetectionClasses classes);

  /// `images` (B, 3, H, W) normalised, H and W multiples of the patch size.
  Features features(const at::Tensor& images);
  TrainingPass train_pass(const at::Tensor& images, const std::vector<PictureSize>& pictures,
                          const std::vector<Objects>& objects, const Draw& draw_anchors, const Draw& draw_rois);
  /// With a random draw, `randomness` being each picture's own.
  TrainingPass train_pass(const at::Tensor& images, const std::vector<PictureSize>& pictures,
                          const std::vector<Objects>& objects, std::span<Rng> randomness);
  /// From here on norms take the statistics of all processes' batches while training, as SyncBN does.
  void synchronize_norms(const std::shared_ptr<distributed::Processes>& processes);

  /// Boxes of anything, of each picture, on the network's scale.
  std::vector<Proposals> propose(const Features& features, const std::vector<PictureSize>& pictures);
  struct Scored {
    at::Tensor scores;  ///< (N, C + 1)
    at::Tensor deltas;  ///< (N, 4)
  };
  /// Of each picture's proposals, one after another.
  Scored score(const Features& features, const std::vector<at::Tensor>& boxes);
  /// Detections of each picture on its original scale.
  std::vector<Detections> detect(const at::Tensor& images, const std::vector<Picture>& pictures);
  /// Detections from what score() gave for `boxes` of one picture.
  Detections finish(const Picture& picture, const at::Tensor& boxes, const Scored& scored) const;
  /// Mask logits (N, 1, s, s) of `boxes`, on the network's scale.
  at::Tensor mask_logits(const Features& features, const std::vector<at::Tensor>& boxes);

  models::VisionTower& tower() { return backbone_->tower(); }
  BoxHead& box_head() { return *box_head_; }
  ProposalNetwork& proposal_network() { return *rpn_; }
  PyramidNetwork& pyramid() { return *neck_; }
  Backbone& backbone() { return *backbone_; }
  bool has_masks() const { return mask_head_ != nullptr; }
  MaskHead& mask_head();
  const DetectorConfig& config() const { return config_; }
  const std::vector<double>& roi_strides() const { return roi_strides_; }
  /// Parameters that are trained, by name.
  std::vector<std::pair<std::string, at::Tensor>> trainable();
  /// Parameters and buffers by name.
  formats::TensorDict state();

 private:
  DetectorConfig config_;
  int patch_;
  std::vector<double> strides_, roi_strides_;
  std::shared_ptr<Backbone> backbone_;
  std::shared_ptr<PyramidNetwork> neck_;
  std::shared_ptr<ProposalNetwork> rpn_;
  std::shared_ptr<torch::nn::Module> roi_head_;
  std::shared_ptr<BoxHead> box_head_;
  std::shared_ptr<MaskHead> mask_head_;
};

/// What a checkpoint did not agree on with a detector.
struct DetectorLoadReport {
  std::vector<std::string> left_out;     ///< in the file, not in the detector
  std::vector<std::string> other_shape;  ///< kept as the detector had them
};
/// Copies `tensors` (the published layout, or ours) by name. What never matters is passed over: rotary tables, the
/// unused fc_cls. With `transfer`, another vocabulary's embeddings stay the detector's own, and a mask head and a
/// learned temperature that it does not have are left out. Throws Error, having changed nothing, when anything else is
/// missing, left over or of another shape.
DetectorLoadReport load_detector(Detector& detector, const formats::TensorDict& tensors, const std::string& source,
                                 bool transfer);
/// The file's vocabulary size without background, 0 when it is no detector.
std::int64_t vocabulary_of(const formats::TensorDict& tensors);
/// Whether the file's detector has a mask head.
bool has_masks(const formats::TensorDict& tensors);

}  // namespace clipself::detection
