// The detector's part of `clipself detect` and of what else uses detectors: how it is built, loaded and kept.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "clipself/detection/inference.h"

namespace clipself::cli {

/// A detector and how it sees.
struct LoadedDetector {
  std::shared_ptr<detection::Detector> detector;
  models::ClipConfig clip;
  models::PixelStatistics pixels;
  int image_size = 0;

  const std::vector<std::string>& names() const { return detector->box_head().classes().names; }
  /// Of the classes seen in training, or of the others.
  std::vector<std::string> names(bool base) const;
};

/// What stands beside a detector's file, in detector.json.
struct DetectorDescription {
  nlohmann::ordered_json settings;  ///< flags by name
  std::vector<std::string> names, base;
  models::PixelStatistics pixels;
};
/// Nothing when there is no such file. Throws Error when it is broken.
std::optional<DetectorDescription> read_beside(const std::filesystem::path& detector);

struct DetectorFlags {
  ModelFlags model;
  std::string detector;  ///< a trained one's file
  int image_size = 640;
  detection::DetectorConfig config;
  std::string taps = "3,5,7,11";
  std::string pixels = "imagenet";
  std::string classes, base, embeddings, templates = "vild", data_root;
  bool transfer = false;
  bool names_matter = true;  ///< false: classes without names are numbered

  /// What every command of a detector takes.
  void add_to(CLI::App& app);
  /// Only for commands that use a trained one.
  void add_detector_to(CLI::App& app);

  /// A new one on the tower of --pretrained, for categories `names` of which `base` are trained (by --base-classes, or
  /// all that the data shows). Throws Error.
  LoadedDetector make(const std::vector<std::string>& names, const std::vector<std::string>& base);
  /// The one of --detector. What stands beside it about itself fills the flags that `command` was not given. `names`:
  /// those of the data, when nothing else tells; `other_names`: a vocabulary to use instead of its own. Throws Error.
  LoadedDetector load(const CLI::App& command, const std::vector<std::string>& names,
                      const std::vector<std::string>& other_names = {});
  /// detector.json: what load() looks for beside a file.
  void save_beside(const std::filesystem::path& folder, const CLI::App& command, const LoadedDetector& made) const;

  /// Whether the detector of --detector makes masks here. Throws Error when it cannot be read.
  bool has_masks();

 private:
  const formats::TensorDict& tensors();
  /// `background`: the embedding to use when the text does not have one.
  detection::DetectionClasses classes_of(const std::vector<std::string>& names, const std::vector<std::string>& base,
                                         models::ClipModel* clip, const at::Tensor& background) const;
  void finish_config(const models::ClipConfig& clip);
  models::PixelStatistics statistics(const models::ClipConfig& clip) const;

  std::optional<formats::TensorDict> tensors_;  ///< of --detector, between has_masks() and load()
};

}  // namespace clipself::cli
