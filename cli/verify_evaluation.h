// Zero-shot evaluation in reference cases.
#pragma once

#include <functional>
#include <string>

#include "cli/verify_case.h"
#include "clipself/datasets/panoptic.h"
#include "clipself/evaluation/zero_shot.h"

namespace clipself::cli::verify {

/// The panoptic set of `folder` ("." or "../evaluation"): panoptic.json, images/, panoptic/.
datasets::PanopticDataset panoptic_data(const Case& c, const std::string& folder, int image_size, int crop_size,
                                        int downsample_factor);
/// embeddings.npy of that folder.
at::Tensor class_embeddings(const Case& c, const std::string& folder);
/// Compares result.metrics with a JSON object of them; `tolerance` is asked for each key.
void check_metrics(Case& c, const evaluation::ZeroShotResult& result, const nlohmann::ordered_json& expected,
                   const std::string& name, const std::string& where,
                   const std::function<Tolerance(const std::string&)>& tolerance);

}  // namespace clipself::cli::verify
