// How far regions are from their targets. Every loss takes the targets of every teacher.
#pragma once

#include <cstdint>

#include "clipself/base/random.h"
#include "clipself/distillation/targets.h"

namespace clipself::distillation {

/// 1 - mean cosine similarity of two (N, D) tensors, computed in float32 (eq. 3 of the CLIPSelf paper); 0 of none.
at::Tensor cosine_loss(const at::Tensor& student, const at::Tensor& teacher);

/// Binary cross-entropy with logits `scale` * cos(feature, candidate), of each region (N, D) against the rows `classes`
/// (int64, distinct) of the bank, summed over those and averaged over the regions. A region's answer must be among
/// them. `scale` gets no gradient. In float32; 0 of no regions.
at::Tensor federated_bce(const at::Tensor& features, const RegionTargets& targets, const at::Tensor& classes,
                         const at::Tensor& scale);

/// The classes a step looks at (int64): all that occur in `labels`, ascending, then others of 0..num_classes-1 drawn
/// without replacement up to min(`sample`, num_classes) in all. Draws nothing when those that occur suffice.
/// (The federated loss of Gupta et al., LVIS, 2019, as Detic and RegionCLIP sample it.)
at::Tensor federated_classes(const at::Tensor& labels, std::int64_t num_classes, std::int64_t sample, Rng& rng);

}  // namespace clipself::distillation
