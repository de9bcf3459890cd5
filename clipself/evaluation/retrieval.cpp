#include "clipself/evaluation/retrieval.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/datasets/annotations.h"
#include "clipself/evaluation/features.h"

namespace clipself::evaluation {
namespace {

constexpr std::array<int, 3> kRecallAt{1, 5, 10};

RetrievalScores scores_of(const at::Tensor& ranks) {
  RetrievalScores scores;
  for (std::size_t i = 0; i < kRecallAt.size(); ++i) scores.recall[i] = recall_at(ranks, kRecallAt[i]);
  const at::Tensor sorted = std::get<0>(ranks.sort()).to(at::kDouble) + 1;
  const std::int64_t count = sorted.numel();
  scores.mean_rank = sorted.mean().item<double>();
  scores.median_rank = (sorted[(count - 1) / 2] + sorted[count / 2]).item<double>() / 2;
  return scores;
}

at::Tensor encode_captions(models::ClipModel& model, const models::Tokenizer& tokenizer,
                           const std::vector<std::string>& captions, const RetrievalOptions& options,
                           std::int64_t done_before) {
  const at::NoGradGuard no_grad;
  const int context = model.config().text->context_length;
  const std::int64_t total = done_before + static_cast<std::int64_t>(captions.size());
  const auto batch = static_cast<std::size_t>(std::max(1, 4 * options.image.batch_size));
  std::vector<at::Tensor> features;
  for (std::size_t begin = 0; begin < captions.size(); begin += batch) {
    const std::size_t end = std::min(begin + batch, captions.size());
    const at::Tensor tokens = tokenizer.tokenize({captions.data() + begin, end - begin}, context);
    const at::Tensor encoded = model.encode_text(tokens.to(model.logit_scale().device()));
    features.push_back(unit_features(encoded, "encoding captions"));
    if (options.image.progress) options.image.progress(done_before + static_cast<std::int64_t>(end), total);
  }
  return at::cat(features);
}

}  // namespace

RetrievalResult score_retrieval(const at::Tensor& images, const at::Tensor& captions, const at::Tensor& image_of) {
  if (images.size(0) == 0 || captions.size(0) == 0)
    throw Error({.doing = "scoring retrieval", .found = "nothing to find", .expected = "images and captions"});
  const at::Tensor own = at::arange(images.size(0), at::kLong);
  return {.images = images.size(0),
          .captions = captions.size(0),
          .image_to_text = scores_of(first_ranks(images, captions, own, image_of)),
          .text_to_image = scores_of(first_ranks(captions, images, image_of, own))};
}

RetrievalResult evaluate_retrieval(models::ClipModel& model, const models::Tokenizer& tokenizer,
                                   const std::vector<datasets::CaptionedImage>& data,
                                   const std::filesystem::path& image_root, const RetrievalOptions& options) {
  model.text();  // before the images are looked at
  std::vector<std::filesystem::path> files;
  std::vector<std::string> captions;
  std::vector<std::int64_t> image_of;
  for (const datasets::CaptionedImage& image : data) {
    const auto index = static_cast<std::int64_t>(files.size());
    files.push_back(datasets::resolve_below(image_root, image.file_name));
    const auto limit = options.captions_per_image > 0 ? static_cast<std::size_t>(options.captions_per_image) : SIZE_MAX;
    for (std::size_t i = 0; i < std::min(limit, image.captions.size()); ++i) {
      captions.push_back(image.captions[i]);
      image_of.push_back(index);
    }
  }
  const auto count = static_cast<std::int64_t>(files.size());
  ImageOptions image_options = options.image;
  if (options.image.progress)
    image_options.progress = [&](std::int64_t done, std::int64_t) {
      options.image.progress(done, count + static_cast<std::int64_t>(captions.size()));
    };
  const at::Tensor images = encode_images(model, files, image_options);
  const at::Tensor texts = encode_captions(model, tokenizer, captions, options, count);
  return score_retrieval(images, texts, at::tensor(image_of, at::kLong));
}

std::string retrieval_json(const RetrievalResult& result) {
  nlohmann::ordered_json document = {{"images", result.images}, {"captions", result.captions}};
  const auto add = [&](const char* direction, const RetrievalScores& scores) {
    auto& metrics = document["metrics"][direction];
    for (std::size_t i = 0; i < kRecallAt.size(); ++i)
      metrics[fmt::format("recall@{}", kRecallAt[i])] = scores.recall[i];
    metrics["median_rank"] = scores.median_rank;
    metrics["mean_rank"] = scores.mean_rank;
  };
  add("image_to_text", result.image_to_text);
  add("text_to_image", result.text_to_image);
  return document.dump(2) + "\n";
}

std::string retrieval_table(const RetrievalResult& result) {
  std::string text = "retrieval        recall@1  recall@5  recall@10  median rank  mean rank\n";
  const auto add = [&](const char* title, const RetrievalScores& scores) {
    text += fmt::format("{:<15}  {:>8.1f}  {:>8.1f}  {:>9.1f}  {:>11.1f}  {:>9.1f}\n", title, 100 * scores.recall[0],
                        100 * scores.recall[1], 100 * scores.recall[2], scores.median_rank, scores.mean_rank);
  };
  add("image -> text", result.image_to_text);
  add("text -> image", result.text_to_image);
  return text + fmt::format("{} images, {} captions; recall in %\n", result.images, result.captions);
}

}  // namespace clipself::evaluation
