// Zero-shot classification of whole images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/labelled_images.h"
#include "clipself/models/clip_model.h"

namespace clipself::evaluation {

struct ImageOptions {
  int workers = 2;
  int batch_size = 32;
  std::function<void(std::int64_t done, std::int64_t total)> progress{};  ///< called after each batch
};

/// Embeddings of image files as CLIP sees them (datasets::whole_image): float
/// (N, D), unit length, on the CPU. Throws Error naming the file that is no image, and when features are not finite.
at::Tensor encode_images(models::ClipModel& model, std::span<const std::filesystem::path> files,
                         const ImageOptions& options = {});

/// For each of N queries the rank (0: best) of the first target that belongs to it, among M targets by falling cosine,
/// equal ones in their order: int64 (N). `queries` (N, D) and `targets` (M, D) of unit length; query i and target j
/// belong together when `query_group`[i] == `target_group`[j] (int64). A query without any target ranks M. In bounded
/// memory.
at::Tensor first_ranks(const at::Tensor& queries, const at::Tensor& targets, const at::Tensor& query_group,
                       const at::Tensor& target_group);
/// Part of `ranks` below k.
double recall_at(const at::Tensor& ranks, int k);

struct LabelAccuracy {
  int label = 0;
  std::string name;
  std::int64_t count = 0;
  double top1 = 0, top5 = 0;
};
struct ClassificationResult {
  std::int64_t images = 0;
  std::int64_t class_count = 0;  ///< to choose from
  double top1 = 0, top5 = 0;     ///< over images
  double mean_top1 = 0;          ///< over the classes that have images
  double mean_top5 = 0;
  std::vector<LabelAccuracy> classes;  ///< those that have images, by label
};

/// `features` (N, D) and `embeddings` (classes, D) of unit length, `labels` int64 (N).
ClassificationResult score_classification(const at::Tensor& features, const at::Tensor& embeddings,
                                          const at::Tensor& labels, std::span<const std::string> names);
ClassificationResult evaluate_classification(models::ClipModel& model, const datasets::LabelledImages& images,
                                             const at::Tensor& embeddings, const ImageOptions& options = {});

std::string classification_json(const ClassificationResult& result);
std::string classification_table(const ClassificationResult& result, bool per_class);

}  // namespace clipself::evaluation
