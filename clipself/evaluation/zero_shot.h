// Zero-shot region classification: boxes, crops and masks of COCO panoptic segments against class embeddings.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/panoptic.h"
#include "clipself/distributed/processes.h"
#include "clipself/models/clip_model.h"

namespace clipself::evaluation {

struct ZeroShotOptions {
  int workers = 2;
  bool image_average_pool = false;    ///< crop feature = mean of the crop's dense map instead of its image embedding
  bool half_precision_means = false;  ///< round each class's accuracy to float16 before averaging, as the original does
  /// kMaskAttention: boxes and masks by attention over their patches (plain CLIP only) instead of by the dense map.
  models::BoxFeature box_feature = models::BoxFeature::kRoiAlign;
  int crop_batch = 64;
  std::function<void(std::int64_t done, std::int64_t total)> progress{};  ///< called after each image
  std::function<bool()> interrupted{};  ///< asked after each image; true in any process: Interrupted is thrown in all
  std::shared_ptr<distributed::Processes> processes{};  ///< among which the images are divided; null: this one alone
};

/// One kind of feature ("rois", "crops", "maskpool") for all N segments that count, in file order.
struct FeatureScores {
  at::Tensor features;    ///< float (N, D), unit length
  at::Tensor logits;      ///< float (N, classes): cosine with each class embedding
  at::Tensor top5;        ///< int64 (N, min(5, classes)): classes by rank
  at::Tensor correct;     ///< bool (N, min(5, classes)): top5 == label
  at::Tensor similarity;  ///< float (N): cosine with the true class
};

struct ClassAccuracy {
  int label = 0;
  std::string name;
  bool is_thing = true;
  std::int64_t count = 0;
  std::map<std::string, std::array<double, 2>> accuracy;  ///< feature kind -> top-1, top-5
};

struct ZeroShotResult {
  std::map<std::string, FeatureScores> features;  ///< by kind
  at::Tensor labels;                              ///< int64 (N)
  at::Tensor is_thing;                            ///< bool (N)
  at::Tensor sizes;                               ///< float (N), w*h in pixels
  at::Tensor empty_masks;  ///< bool (N): the down-sampled mask has no token; left out of maskpool's means
  std::map<std::string, double> metrics;  ///< "rois.thing.macc1" and its kin; absent when there are no such segments
  std::vector<ClassAccuracy> classes;     ///< classes that occur, by label
};

/// `embeddings` float (classes, D), normalised here. Several processes have the same result, that of one. Throws Error
/// when its width is not the model's, or its rows are fewer than the data set's categories.
ZeroShotResult evaluate_zero_shot(models::ClipModel& model, const datasets::PanopticDataset& data,
                                  const at::Tensor& embeddings, const ZeroShotOptions& options = {});

/// Mean over the classes that occur of the part of their rows with a hit among the first k columns of `correct`.
double mean_class_accuracy(const at::Tensor& correct, const at::Tensor& labels, int k,
                           bool half_precision_means = false);

/// JSON document of metrics and per-class accuracies; and the same as text tables for people.
std::string report_json(const ZeroShotResult& result);
std::string report_table(const ZeroShotResult& result, bool per_class);

}  // namespace clipself::evaluation
