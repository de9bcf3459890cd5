#include "clipself/evaluation/image_level.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/evaluation/features.h"
#include "clipself/evaluation/prefetch.h"
#include "clipself/evaluation/text_table.h"

namespace clipself::evaluation {

at::Tensor encode_images(models::ClipModel& model, std::span<const std::filesystem::path> files,
                         const ImageOptions& options) {
  const at::NoGradGuard no_grad;
  const auto count = static_cast<std::int64_t>(files.size());
  Prefetch<at::Tensor> images(count, options.workers, [&](std::int64_t i) {
    const auto image = formats::read_image(files[static_cast<std::size_t>(i)]);
    return datasets::to_tensor(datasets::whole_image(image, model.config()));
  });
  std::vector<at::Tensor> features;
  for (std::int64_t done = 0; done < count;) {
    std::vector<at::Tensor> batch;
    for (; done < count && static_cast<int>(batch.size()) < std::max(1, options.batch_size); ++done)
      batch.push_back(images.next());
    const at::Tensor embedded = model.encode_image(datasets::model_input(model, at::stack(batch)));
    features.push_back(unit_features(embedded, "encoding images"));
    if (options.progress) options.progress(done, count);
  }
  return features.empty() ? at::empty({0, model.visual().embed_dim()}) : at::cat(features);
}

at::Tensor first_ranks(const at::Tensor& queries, const at::Tensor& targets, const at::Tensor& query_group,
                       const at::Tensor& target_group) {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t kNumbersAtOnce = std::int64_t{1} << 24;
  const std::int64_t count = targets.size(0);
  const std::int64_t rows = std::max<std::int64_t>(1, kNumbersAtOnce / std::max<std::int64_t>(1, count));
  const at::Tensor order = at::arange(count, at::kLong).unsqueeze(0);
  std::vector<at::Tensor> ranks;
  for (std::int64_t begin = 0; begin < queries.size(0); begin += rows) {
    const std::int64_t length = std::min(rows, queries.size(0) - begin);
    const at::Tensor cosine = queries.narrow(0, begin, length).matmul(targets.t());
    const at::Tensor own = query_group.narrow(0, begin, length).unsqueeze(1) == target_group.unsqueeze(0);
    const at::Tensor best = cosine.masked_fill(own.logical_not(), -HUGE_VAL).amax(1, /*keepdim=*/true);
    const at::Tensor first =
        at::where(own.logical_and(cosine == best), order, at::full_like(order, count)).amin(1, /*keepdim=*/true);
    ranks.push_back((cosine > best).logical_or((cosine == best).logical_and(order < first)).sum(1));
  }
  return ranks.empty() ? at::empty({0}, at::kLong) : at::cat(ranks);
}

double recall_at(const at::Tensor& ranks, int k) {
  return ranks.numel() == 0 ? 0.0 : (ranks < k).to(at::kDouble).mean().item<double>();
}

ClassificationResult score_classification(const at::Tensor& features, const at::Tensor& embeddings,
                                          const at::Tensor& labels, std::span<const std::string> names) {
  const at::Tensor classes = unit_features(embeddings, "matching class embeddings to the classes");
  const at::Tensor ranks = first_ranks(features, classes, labels, at::arange(classes.size(0), at::kLong)).contiguous();
  ClassificationResult result;
  result.images = labels.numel();
  result.class_count = classes.size(0);
  result.top1 = recall_at(ranks, 1);
  result.top5 = recall_at(ranks, 5);
  std::map<std::int64_t, LabelAccuracy> by_label;
  const at::Tensor list = labels.contiguous();
  for (std::int64_t i = 0; i < result.images; ++i) {
    const std::int64_t label = list.const_data_ptr<std::int64_t>()[i], rank = ranks.const_data_ptr<std::int64_t>()[i];
    LabelAccuracy& entry = by_label[label];
    entry.top1 += rank < 1 ? 1 : 0;
    entry.top5 += rank < 5 ? 1 : 0;
    ++entry.count;
  }
  for (auto& [label, entry] : by_label) {
    entry.label = static_cast<int>(label);
    entry.name = names[static_cast<std::size_t>(label)];
    entry.top1 /= static_cast<double>(entry.count);
    entry.top5 /= static_cast<double>(entry.count);
    result.mean_top1 += entry.top1 / static_cast<double>(by_label.size());
    result.mean_top5 += entry.top5 / static_cast<double>(by_label.size());
    result.classes.push_back(entry);
  }
  return result;
}

ClassificationResult evaluate_classification(models::ClipModel& model, const datasets::LabelledImages& images,
                                             const at::Tensor& embeddings, const ImageOptions& options) {
  if (embeddings.dim() != 2 || embeddings.size(0) != static_cast<std::int64_t>(images.names.size()) ||
      embeddings.size(1) != model.visual().embed_dim())
    throw Error({.doing = "matching class embeddings to the classes",
                 .found = c10::str("an array of shape ", embeddings.sizes()),
                 .expected = c10::str("(", images.names.size(), ", ", model.visual().embed_dim(), ")")});
  return score_classification(encode_images(model, images.files, options), embeddings,
                              at::tensor(images.labels, at::kLong), images.names);
}

std::string classification_json(const ClassificationResult& result) {
  nlohmann::ordered_json document = {{"images", result.images},
                                     {"classes_to_choose_from", result.class_count},
                                     {"metrics",
                                      {{"top1", result.top1},
                                       {"top5", result.top5},
                                       {"mean_per_class_top1", result.mean_top1},
                                       {"mean_per_class_top5", result.mean_top5}}}};
  auto& classes = document["classes"] = nlohmann::ordered_json::array();
  for (const LabelAccuracy& entry : result.classes)
    classes.push_back({{"label", entry.label},
                       {"name", entry.name},
                       {"count", entry.count},
                       {"top1", entry.top1},
                       {"top5", entry.top5}});
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string classification_table(const ClassificationResult& result, bool per_class) {
  std::string text = fmt::format(
      "zero-shot classification, %   top-1   top-5\n"
      "over images                   {:>5.1f}   {:>5.1f}\n"
      "mean over classes             {:>5.1f}   {:>5.1f}\n"
      "{} images, {} classes, {} of them with images\n",
      100 * result.top1, 100 * result.top5, 100 * result.mean_top1, 100 * result.mean_top5, result.images,
      result.class_count, result.classes.size());
  if (!per_class) return text;
  std::size_t width = 5;
  for (const LabelAccuracy& entry : result.classes) width = std::max(width, columns(entry.name));
  text += fmt::format("\n{}  {:>5}  {:>5}  {:>5}\n", padded("class", width), "count", "top-1", "top-5");
  for (const LabelAccuracy& entry : result.classes)
    text += fmt::format("{}  {:>5}  {:>5.1f}  {:>5.1f}\n", padded(entry.name, width), entry.count, 100 * entry.top1,
                        100 * entry.top5);
  return text;
}

}  // namespace clipself::evaluation
