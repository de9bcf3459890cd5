// Pictures of one thing each: what a model's embedding of a whole image is measured on.
#pragma once

#include <cstdint>

#include "clipself/base/torch.h"
#include "clipself/models/clip_model.h"
#include "clipself/scenes/world.h"

namespace clipself::scenes {

struct SinglePictures {
  at::Tensor images;  ///< uint8 (N, 3, S, S), centred as crops are
  at::Tensor labels;  ///< int64 (N): the thing's class
};

/// `count` pictures of one thing on one to three surfaces. The same numbers give the same pictures, which belong to no
/// data set of write_dataset's.
SinglePictures single_things(std::uint64_t seed, Combinations combinations, int count, int image_size);

/// The part of the pictures whose embedding (encode_image) is nearest to that of their own class among `embeddings`
/// (classes, D), of unit length.
double named_right(models::ClipModel& model, const SinglePictures& pictures, const at::Tensor& embeddings);

}  // namespace clipself::scenes
