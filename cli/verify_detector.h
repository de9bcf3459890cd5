// Detectors of reference cases, whose configurations are MMDetection's.
#pragma once

#include <memory>
#include <string>

#include "cli/verify_case.h"
#include "clipself/detection/detector.h"

namespace clipself::cli::verify {

detection::AssignOptions assign_options(const nlohmann::ordered_json& assigner, const std::string& where);
detection::SampleOptions sample_options(const nlohmann::ordered_json& sampler, const std::string& where);
detection::ProposalSelection proposal_selection(const nlohmann::ordered_json& settings, const std::string& where);
detection::DetectionSelection detection_selection(const nlohmann::ordered_json& settings, const std::string& where);
/// Height and width at the front of a shape.
detection::Extent extent_of(const nlohmann::ordered_json& shape, const std::string& where);
/// An entry of "img_metas"; keys that it does not have keep what a Picture has.
detection::Picture picture_of(const nlohmann::ordered_json& meta, const std::string& where);

/// "bbox_head" of a configuration, into `config`.
void read_box_head(const nlohmann::ordered_json& head, const std::string& where, detection::DetectorConfig& config);
/// class_embed.pt, all_classes.json and (unless `transfer`) seen_classes.json of the case.
detection::DetectionClasses read_classes(const Case& c, bool transfer);
/// "clip" and "model" of config.json: a detector as initialised.
std::shared_ptr<detection::Detector> build_detector(const Case& c, const nlohmann::ordered_json& config);
/// Tensors "PREFIXname" into the parameters and buffers of `module`. Throws Error naming `where` for a missing one.
void load_part(torch::nn::Module& module, const formats::TensorDict& tensors, const std::string& prefix,
               const std::string& where);

constexpr Tolerance kDetector{.absolute = 1e-4, .relative = 1e-4};
constexpr auto kGradient = Tolerance::largest(5e-3);
/// Boxes and, in the last column, scores.
void check_scored_boxes(Case& c, const std::string& name, const at::Tensor& boxes, const at::Tensor& scores,
                        double box_tolerance, double score_tolerance);
/// `masks` (N, H, W) with the expected tensor of that name, where there is one, and with the run lengths of `file`: a
/// list of masks, or one a class.
void check_masks(Case& c, const std::string& tensor, const at::Tensor& masks, const std::string& file);

}  // namespace clipself::cli::verify
