// Region-text pairs without annotators, as RegionCLIP makes them: the noun nearest to each proposal's crop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "clipself/base/torch.h"
#include "clipself/datasets/annotations.h"
#include "clipself/datasets/regions.h"
#include "clipself/models/clip_model.h"

namespace clipself::distillation {

struct PseudoLabelOptions {
  datasets::ProposalOptions proposals{};  ///< which boxes are taken, and how their crops are cut
  int crops_at_once = 64;
  std::function<void(std::int64_t done, std::int64_t total)> progress{};  ///< called after each image
};

/// Writes `path`, a COCO-format JSON of labelled boxes for --dataset-type region_clip: each box of `proposals` with the
/// noun whose embedding (a row of `nouns`, (T, D)) its crop's embedding is nearest to, and that cosine as its score.
/// Categories are `names` with ids from 1, so that a category's label is its row. Returns how many boxes there are.
/// Throws Error when an image cannot be read, or names and rows are not equally many.
std::int64_t write_pseudo_labels(const std::filesystem::path& path, models::ClipModel& model,
                                 const datasets::AnnotationIndex& proposals, const std::filesystem::path& image_root,
                                 const at::Tensor& nouns, std::span<const std::string> names,
                                 const PseudoLabelOptions& options = {});

}  // namespace clipself::distillation
