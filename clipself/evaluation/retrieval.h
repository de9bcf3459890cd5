// Finding captions by images and images by captions.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/captions.h"
#include "clipself/evaluation/image_level.h"
#include "clipself/models/clip_model.h"
#include "clipself/models/tokenizer.h"

namespace clipself::evaluation {

/// Recall at 1, 5 and 10, and ranks counted from 1.
struct RetrievalScores {
  std::array<double, 3> recall{};
  double median_rank = 0;  ///< the mean of the middle two when their number is even
  double mean_rank = 0;
};
struct RetrievalResult {
  std::int64_t images = 0;
  std::int64_t captions = 0;
  RetrievalScores image_to_text;  ///< an image is answered by the best of its own captions
  RetrievalScores text_to_image;
};

/// `images` (N, D) and `captions` (M, D) of unit length; `image_of` int64 (M): the image each caption belongs to.
/// Recall at k is the part of queries with a right answer among the first k, all M captions or all N images being
/// candidates (Karpathy and Fei-Fei 2015; CLIP, section 3). Ties go to the earlier candidate.
RetrievalResult score_retrieval(const at::Tensor& images, const at::Tensor& captions, const at::Tensor& image_of);

struct RetrievalOptions {
  int captions_per_image = 5;  ///< the first so many of each image count, as is usual on COCO; 0: all
  ImageOptions image{};
};
/// Progress counts images, then captions. Throws Error when the model has no text tower, and when features are
/// not finite.
RetrievalResult evaluate_retrieval(models::ClipModel& model, const models::Tokenizer& tokenizer,
                                   const std::vector<datasets::CaptionedImage>& data,
                                   const std::filesystem::path& image_root, const RetrievalOptions& options = {});

std::string retrieval_json(const RetrievalResult& result);
std::string retrieval_table(const RetrievalResult& result);

}  // namespace clipself::evaluation
