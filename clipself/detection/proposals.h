// The region proposal network (Ren et al., Faster R-CNN, 2015).
#pragma once

#include <memory>
#include <vector>

#include "clipself/detection/boxes.h"
#include "clipself/detection/layers.h"
#include "clipself/training/objective.h"

namespace clipself::detection {

/// Boxes of one picture, the best first.
struct Proposals {
  at::Tensor boxes;   ///< (N, 4)
  at::Tensor scores;  ///< (N), probability of an object
};

/// The size of a picture without and with its padding.
struct PictureSize {
  Extent content, padded;
};

class ProposalNetwork : public torch::nn::Module {
 public:
  /// `strides`: pixels a place of each level.
  ProposalNetwork(const DetectorConfig& config, std::vector<double> strides);

  struct Output {
    std::vector<at::Tensor> scores;  ///< (B, A, h_i, w_i) logits of "an object"
    std::vector<at::Tensor> deltas;  ///< (B, 4 A, h_i, w_i)
  };
  Output forward(const std::vector<at::Tensor>& levels);

  std::vector<Proposals> select(const Output& output, const std::vector<PictureSize>& pictures,
                                const ProposalSelection& selection) const;

  /// Anchors of all levels one after another, and which lie within the padded picture.
  struct Anchors {
    at::Tensor all;     ///< (N, 4)
    at::Tensor inside;  ///< bool (N)
  };
  Anchors anchors(const std::vector<Extent>& maps, const PictureSize& picture) const;
  /// Of the anchors inside, counted among themselves.
  Assignment assign_anchors(const Anchors& anchors, const at::Tensor& objects) const;

  /// What each anchor is to learn.
  struct Targets {
    at::Tensor labels;            ///< int64 (B, N): 0 an object, 1 background
    at::Tensor label_weights;     ///< float (B, N): 1 where drawn
    at::Tensor deltas;            ///< float (B, N, 4)
    at::Tensor delta_weights;     ///< float (B, N, 4): 1 at drawn objects
    std::int64_t normaliser = 0;  ///< sum over the pictures of max(1, positives) + max(1, negatives)
  };
  /// `anchors`, `objects` (boxes), `assigned` and `drawn` of each picture; indices count the anchors inside.
  Targets targets(const std::vector<Anchors>& anchors, const std::vector<at::Tensor>& objects,
                  const std::vector<Assignment>& assigned, const std::vector<Drawn>& drawn) const;

  /// Per level, (levels) each: binary cross-entropy and L1 over the normaliser.
  struct Losses {
    at::Tensor scores, deltas;
  };
  Losses losses(const Output& output, const Targets& targets) const;

  static std::vector<Extent> extents(const std::vector<at::Tensor>& levels);

 private:
  DetectorConfig config_;
  std::vector<double> strides_;
  std::vector<at::Tensor> base_;
  std::vector<std::shared_ptr<ConvModule>> convs_;
  std::shared_ptr<Conv2d> cls_, reg_;
};

}  // namespace clipself::detection
