#include "clipself/evaluation/zero_shot.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/signals.h"
#include "clipself/datasets/transforms.h"
#include "clipself/evaluation/features.h"
#include "clipself/evaluation/prefetch.h"
#include "clipself/evaluation/share.h"

namespace clipself::evaluation {
namespace {

constexpr const char* kBoxes = "rois";
constexpr const char* kCrops = "crops";
constexpr const char* kMasks = "maskpool";

at::Tensor unit(const at::Tensor& features) {
  return unit_features(features, "evaluating regions");
}

/// Encodes crops in batches that may reach over several images.
class CropEncoder {
 public:
  CropEncoder(models::ClipModel& model, const ZeroShotOptions& options) : model_(model), options_(options) {}

  void add(const at::Tensor& crops) {
    waiting_.push_back(crops);
    count_ += crops.size(0);
    if (count_ >= options_.crop_batch) flush();
  }

  /// Unit features of every crop so far, in order.
  const std::vector<at::Tensor>& finish() {
    flush();
    return done_;
  }

 private:
  void flush() {
    if (count_ == 0) return;
    for (const at::Tensor& pixels : at::cat(waiting_).split(options_.crop_batch)) {
      const at::Tensor crops = datasets::model_input(model_, pixels);
      const at::Tensor features = options_.image_average_pool ? model_.encode_dense(crops).to(at::kFloat).mean({2, 3})
                                                              : model_.encode_image(crops);
      done_.push_back(unit(features));
    }
    waiting_.clear();
    count_ = 0;
  }

  models::ClipModel& model_;
  const ZeroShotOptions& options_;
  std::vector<at::Tensor> waiting_;
  std::vector<at::Tensor> done_;
  std::int64_t count_ = 0;
};

at::Tensor checked_embeddings(const at::Tensor& embeddings, int width, std::size_t categories) {
  if (embeddings.dim() != 2 || embeddings.size(1) != width)
    throw Error({.doing = "matching class embeddings to the model",
                 .found = fmt::format("an array of shape ({})", fmt::join(embeddings.sizes(), ", ")),
                 .expected = fmt::format("(classes, {}), the width of this model's embeddings", width),
                 .hint = "the embeddings must come from the same model's text tower"});
  if (embeddings.size(0) < static_cast<std::int64_t>(categories))
    throw Error({.doing = "matching class embeddings to the data set",
                 .found = fmt::format("{} embeddings", embeddings.size(0)),
                 .expected = fmt::format("at least one for each of the data set's {} categories", categories)});
  return unit_features(embeddings, "matching class embeddings to the data set");
}

at::Tensor rows_of(const std::vector<at::Tensor>& parts, const at::Tensor& none) {
  return parts.empty() ? none : at::cat(parts);
}

FeatureScores score(const at::Tensor& features, const at::Tensor& embeddings, const at::Tensor& labels) {
  FeatureScores scores;
  scores.features = features;
  scores.logits = features.matmul(embeddings.t());
  const std::int64_t ranks = std::min<std::int64_t>(5, embeddings.size(0));
  scores.top5 = std::get<1>(scores.logits.topk(ranks));
  scores.correct = scores.top5 == labels.unsqueeze(1);
  scores.similarity = scores.logits.gather(1, labels.unsqueeze(1)).squeeze(1);
  return scores;
}

/// Row numbers of the segments that `kind` is judged by: all, but for masks those with a token.
at::Tensor judged(const ZeroShotResult& result, const std::string& kind) {
  return kind == kMasks ? result.empty_masks.logical_not() : at::ones_like(result.empty_masks);
}

void add_metrics(ZeroShotResult& result, bool half_precision_means) {
  for (const auto& [kind, scores] : result.features)
    for (const bool thing : {true, false}) {
      const at::Tensor rows = (result.is_thing == thing).logical_and(judged(result, kind)).nonzero().squeeze(1);
      if (rows.numel() == 0) continue;
      for (const int k : {1, 5})
        result.metrics[fmt::format("{}.{}.macc{}", kind, thing ? "thing" : "stuff", k)] = mean_class_accuracy(
            scores.correct.index_select(0, rows), result.labels.index_select(0, rows), k, half_precision_means);
    }
}

void add_classes(ZeroShotResult& result, const std::vector<datasets::Category>& categories) {
  const auto* labels = result.labels.const_data_ptr<std::int64_t>();
  for (const std::int64_t label : std::set<std::int64_t>(labels, labels + result.labels.numel())) {
    const at::Tensor of_class = result.labels == label;
    ClassAccuracy entry;
    entry.label = static_cast<int>(label);
    entry.name = categories[static_cast<std::size_t>(label)].name;
    entry.is_thing = categories[static_cast<std::size_t>(label)].is_thing;
    entry.count = of_class.sum().item<std::int64_t>();
    for (const auto& [kind, scores] : result.features) {
      const at::Tensor rows = of_class.logical_and(judged(result, kind)).nonzero().squeeze(1);
      if (rows.numel() == 0) continue;
      const at::Tensor correct = scores.correct.index_select(0, rows).to(at::kDouble);
      entry.accuracy[kind] = {correct.narrow(1, 0, 1).sum(1).mean().item<double>(),
                              correct.sum(1).mean().item<double>()};
    }
    result.classes.push_back(std::move(entry));
  }
}

}  // namespace

ZeroShotResult evaluate_zero_shot(models::ClipModel& model, const datasets::PanopticDataset& data,
                                  const at::Tensor& embeddings, const ZeroShotOptions& options) {
  // Not InferenceMode: tables that the model keeps between calls must stay usable in training.
  const torch::NoGradGuard no_grad;
  const auto categories = data.index().categories_by_label();
  const at::Tensor classes = checked_embeddings(embeddings, model.visual().embed_dim(), categories.size());
  const at::Device device = model.logit_scale().device();

  const auto processes = options.processes ? options.processes : distributed::Processes::alone();

  std::vector<at::Tensor> boxes, masks, labels, is_thing, sizes, empty, images;
  CropEncoder crops(model, options);
  run_share(data.size(), *processes, options.interrupted, [&](const Share& mine, const auto& after_item) {
    Prefetch<datasets::PanopticSample> samples(mine.count, options.workers,
                                               [&](std::int64_t i) { return data.get(mine[i]); });
    for (std::int64_t i = 0; i < mine.count; ++i) {
      const datasets::PanopticSample sample = samples.next();
      if (sample.labels.numel() > 0) {
        const at::Tensor image = datasets::model_input(model, sample.image.unsqueeze(0));
        const std::vector<at::Tensor> places{sample.boxes.to(device)}, shapes{sample.masks.to(device)};
        if (options.box_feature == models::BoxFeature::kRoiAlign) {
          const at::Tensor dense = model.encode_dense(image).to(at::kFloat);
          boxes.push_back(unit(models::pool_boxes(dense, places)));
          masks.push_back(unit(models::pool_masks(dense, shapes)));
        } else {
          boxes.push_back(unit(model.encode_boxes(image, places, /*normalized=*/false, options.box_feature)));
          masks.push_back(unit(model.encode_masks(image, shapes, /*normalized=*/false, /*by_attention=*/true)));
        }
        crops.add(sample.crops);
        labels.push_back(sample.labels);
        is_thing.push_back(sample.is_thing.to(at::kBool));
        sizes.push_back(sample.sizes);
        empty.push_back(sample.masks.flatten(1).any(1).logical_not());
        images.push_back(at::full_like(sample.labels, mine[i]));
      }
      if (options.progress) options.progress(i + 1, mine.count);
      after_item();
    }
  });

  // What a process that met no segment adds to the others'.
  const at::Tensor no_features = at::empty({0, classes.size(1)}, at::kFloat);
  const at::Tensor items = processes->gather_rows(rows_of(images, at::empty({0}, at::kLong)));
  const auto of_all = [&](const std::vector<at::Tensor>& parts, const at::Tensor& none) {
    const at::Tensor rows = rows_of(parts, none);
    return processes->size() == 1 ? rows : in_order(processes->gather_rows(rows), items).to(rows.device());
  };
  if (items.numel() == 0)
    throw Error({.doing = "evaluating regions",
                 .found = fmt::format("no segment of a usable size in {} images", data.size()),
                 .expected = "at least one"});

  ZeroShotResult result;
  result.labels = of_all(labels, at::empty({0}, at::kLong));
  result.is_thing = of_all(is_thing, at::empty({0}, at::kBool));
  result.sizes = of_all(sizes, at::empty({0}, at::kFloat));
  result.empty_masks = of_all(empty, at::empty({0}, at::kBool));
  result.features[kBoxes] = score(of_all(boxes, no_features), classes, result.labels);
  result.features[kCrops] = score(of_all(crops.finish(), no_features), classes, result.labels);
  result.features[kMasks] = score(of_all(masks, no_features), classes, result.labels);
  // The zero feature of an empty mask has no ranking: whatever topk made of it is no hit.
  result.features[kMasks].correct.masked_fill_(result.empty_masks.unsqueeze(1), false);
  add_metrics(result, options.half_precision_means);
  add_classes(result, categories);
  return result;
}

double mean_class_accuracy(const at::Tensor& correct, const at::Tensor& labels, int k, bool half_precision_means) {
  const at::Tensor hits = correct.narrow(1, 0, std::min<std::int64_t>(k, correct.size(1))).any(1).contiguous();
  const at::Tensor classes = labels.to(at::kLong).contiguous();
  std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>> counts;  // label -> hits, rows
  for (std::int64_t row = 0; row < hits.numel(); ++row) {
    auto& [hit, all] = counts[classes.const_data_ptr<std::int64_t>()[row]];
    hit += hits.const_data_ptr<bool>()[row] ? 1 : 0;
    ++all;
  }
  double sum = 0;
  for (const auto& [label, count] : counts) {
    const double accuracy = static_cast<double>(count.first) / static_cast<double>(count.second);
    sum += half_precision_means ? static_cast<double>(static_cast<float>(c10::Half(static_cast<float>(accuracy))))
                                : accuracy;
  }
  return counts.empty() ? 0.0 : sum / static_cast<double>(counts.size());
}

}  // namespace clipself::evaluation
