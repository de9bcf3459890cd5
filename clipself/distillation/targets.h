// What regions should be like: the answers a teacher gives to a batch.
#pragma once

#include <functional>
#include <memory>

#include "clipself/base/torch.h"
#include "clipself/datasets/dataset.h"
#include "clipself/models/clip_model.h"

namespace clipself::distillation {

/// Candidate embeddings, and which of them each region should be like. Neither carries a gradient.
struct RegionTargets {
  at::Tensor bank;   ///< float (T, D)
  at::Tensor index;  ///< int64 (N): region i's answer is row index[i] of `bank`
  at::Tensor rows() const { return bank.index_select(0, index); }  ///< (N, D)
};

/// The targets of a batch's regions, in the order of its boxes.
using Teacher = std::function<RegionTargets(const datasets::Batch&)>;

/// CLIPSelf's: the bank holds the embeddings that `frozen` gives to the regions' crops, one a region. Crops are encoded
/// `crops_at_once` at a time, which bounds memory and changes nothing else.
Teacher crop_teacher(std::shared_ptr<models::ClipModel> frozen, int crops_at_once = 64);

/// RegionCLIP's: the bank is `nouns` (T, D), brought to unit length and to `device`; a region's answer is its label.
/// Throws Error when `nouns` has another shape; the teacher throws Error for a batch without labels and for a label
/// that is no row.
Teacher noun_teacher(const at::Tensor& nouns, const at::Device& device);

}  // namespace clipself::distillation
