#include "clipself/distillation/pseudo_labels.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/datasets/transforms.h"
#include "clipself/distillation/targets.h"
#include "clipself/formats/image.h"
#include "clipself/models/layers.h"

namespace clipself::distillation {
namespace {

using Json = nlohmann::ordered_json;

/// Crops wait here until there are enough of them for a pass of the model.
class Labeller {
 public:
  Labeller(models::ClipModel& model, const at::Tensor& nouns, int at_once)
      : model_(model),
        nouns_(models::unit_length(nouns.to(model.logit_scale().device(), at::kFloat))),
        at_once_(at_once) {}

  void add(const formats::Image& crop, Json annotation) {
    crops_.push_back(datasets::to_tensor(crop));
    waiting_.push_back(std::move(annotation));
    if (static_cast<int>(crops_.size()) >= at_once_) flush();
  }
  /// All of them, labelled.
  Json& finish() {
    if (!crops_.empty()) flush();
    return done_;
  }

 private:
  void flush() {
    const at::NoGradGuard no_grad;
    const auto features = model_.encode_image(datasets::model_input(model_, at::stack(crops_)), /*normalized=*/true);
    const auto [scores, labels] = features.to(at::kFloat).matmul(nouns_.t()).max(1);
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      waiting_[i]["id"] = done_.size() + 1;
      waiting_[i]["category_id"] = labels[row].item<std::int64_t>() + 1;
      waiting_[i]["score"] = scores[row].item<float>();
      done_.push_back(std::move(waiting_[i]));
    }
    crops_.clear();
    waiting_.clear();
  }

  models::ClipModel& model_;
  at::Tensor nouns_;
  int at_once_;
  std::vector<at::Tensor> crops_;
  std::vector<Json> waiting_;
  Json done_ = Json::array();
};

}  // namespace

std::int64_t write_pseudo_labels(const std::filesystem::path& path, models::ClipModel& model,
                                 const datasets::AnnotationIndex& proposals, const std::filesystem::path& image_root,
                                 const at::Tensor& nouns, std::span<const std::string> names,
                                 const PseudoLabelOptions& options) {
  if (nouns.dim() != 2 || nouns.size(0) != static_cast<std::int64_t>(names.size())) {
    throw Error({.doing = "labelling proposals",
                 .found = "embeddings of shape " + c10::str(nouns.sizes()),
                 .expected = c10::str("a row for each of ", names.size(), " nouns")});
  }
  const int crop_size = model.visual().image_size();
  Labeller labeller(model, nouns, options.crops_at_once);
  Json images = Json::array(), categories = Json::array();
  for (std::size_t i = 0; i < proposals.images.size(); ++i) {
    const auto& record = proposals.images[i];
    const auto annotations = proposals.annotations_of(i);
    if (!annotations.empty()) {
      const auto image = formats::read_image(datasets::resolve_below(image_root, record.file_name));
      images.push_back(
          {{"id", record.id}, {"file_name", record.file_name}, {"width", image.width}, {"height", image.height}});
      std::vector<int> order(annotations.size());
      std::iota(order.begin(), order.end(), 0);
      for (const auto& region :
           datasets::passing_proposals(image.width, image.height, annotations, options.proposals, order)) {
        const double width = region.box.x1 - region.box.x0, height = region.box.y1 - region.box.y0;
        labeller.add(datasets::crop_and_resize(image, region.crop, crop_size),
                     {{"id", 0},
                      {"image_id", record.id},
                      {"category_id", 0},
                      {"bbox", {region.box.x0, region.box.y0, width, height}},
                      {"area", width * height},
                      {"iscrowd", 0}});
      }
    }
    if (options.progress)
      options.progress(static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(proposals.images.size()));
  }
  for (std::size_t label = 0; label < names.size(); ++label)
    categories.push_back({{"id", label + 1}, {"name", names[label]}});
  Json& annotations = labeller.finish();
  const auto count = static_cast<std::int64_t>(annotations.size());
  Json document{{"images", std::move(images)}, {"annotations", std::move(annotations)}, {"categories", categories}};
  write_text(path, document.dump());
  return count;
}

}  // namespace clipself::distillation
