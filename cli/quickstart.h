// The quickstart's world and what can be done in it; shared by its story (quickstart.cpp) and the comparison of methods
// (compare_methods.cpp).
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "clipself/base/signals.h"
#include "clipself/base/torch.h"
#include "clipself/datasets/dataset.h"
#include "clipself/models/clip_model.h"
#include "clipself/scenes/coco_writer.h"

namespace clipself::cli {

using ModelPtr = std::shared_ptr<models::ClipModel>;

inline constexpr int kWorldImageSize = 112;  ///< longer side of what the student sees: 14 x 14 patches
inline constexpr int kWorldBatchSize = 8;

struct QuickstartFlags {
  std::string out = "quickstart";
  std::uint64_t seed = 1;
  int steps = 0;  ///< 0: 600, or 400 with compare_methods (of each of six refinements) and with detector
  int val_images = 150;
  double lr = 1e-3;
  int threads = 0;
  bool pretrain = false;
  int pretrain_steps = 1500;
  std::string checkpoint;
  bool compare_methods = false;
  bool detector = false;
};

/// One model's figures on one set of scenes, by the names of evaluation ("rois.thing.macc1").
using Metrics = std::map<std::string, double>;
struct Measured {
  Metrics known, held_out;
};
/// In per cent; 0 when there is no such figure.
double figure(const Metrics& metrics, const std::string& key);

/// A refinement as `clipself train` would do it.
struct Refinement {
  std::string name;  ///< for people
  const char* method = "clipself";
  datasets::RegionKind regions = datasets::RegionKind::kGrid;
  std::filesystem::path annotations;
  double retain_weight = 0;
};
struct Refined {
  ModelPtr model;
  double first_loss = 0, last_loss = 0, seconds = 0;
};

/// What a run has along its way. Progress shows in the terminal; Ctrl-C ends any of it by ExitCode.
class WorldSession {
 public:
  /// Paints the scenes and gets the small CLIP, as the flags say. Throws Error before minutes of work.
  explicit WorldSession(const QuickstartFlags& flags);

  const QuickstartFlags& flags() const { return flags_; }
  const std::filesystem::path& folder() const { return folder_; }
  const scenes::DatasetPaths& data() const { return data_; }
  const at::Tensor& embeddings() const { return embeddings_; }  ///< of the classes
  const ModelPtr& before() const { return before_; }            ///< the small CLIP, frozen
  double seconds() const;                                       ///< since the beginning
  void check_stop() const;

  Measured measure(models::ClipModel& model, const std::string& name) const;
  /// A refined copy of before().
  Refined refine(const Refinement& refinement) const;
  /// folder()/NAME.safetensors
  void save(const std::string& name, models::ClipModel& model) const;

 private:
  void paint_scenes(int threads);
  ModelPtr pretrained_model() const;
  Metrics evaluate_split(models::ClipModel& model, const scenes::SplitPaths& split, const std::string& label) const;

  QuickstartFlags flags_;
  StopRequest stop_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::filesystem::path folder_;
  scenes::DatasetPaths data_;
  ModelPtr before_;
  at::Tensor embeddings_;
};

/// `quickstart --compare-methods`: every method with and without retention, in one table.
void compare_methods(const WorldSession& session);
/// `quickstart --detector`: an open-vocabulary detector on the unrefined and on the refined tower.
void detector_story(const WorldSession& session);

}  // namespace clipself::cli
