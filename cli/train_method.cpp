#include "cli/train_method.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "cli/class_names.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::cli {
namespace {

using datasets::RegionKind;

struct DatasetType {
  const char* name;
  RegionKind regions;
};
constexpr std::array kDatasetTypes{DatasetType{"grid_distill", RegionKind::kGrid},
                                   DatasetType{"proposals_distill", RegionKind::kProposals},
                                   DatasetType{"region_clip", RegionKind::kLabelled}};

const char* name_of(RegionKind regions) {
  for (const auto& type : kDatasetTypes)
    if (type.regions == regions) return type.name;
  throw std::logic_error("regions without a name");
}

std::string method_summaries() {
  std::string text;
  for (const auto& method : distillation::methods())
    text += fmt::format("{}{} ({})", text.empty() ? "" : "; ", method.name, method.summary);
  return text;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const auto& method : distillation::methods()) names.emplace_back(method.name);
  return names;
}

}  // namespace

void MethodFlags::add_to(CLI::App& app) {
  app.add_option("--method", method,
                 "What is learned: " + method_summaries() +
                     ". Default: clipself, or regionclip with --dataset-type region_clip")
      ->check(CLI::IsMember(method_names()));
  app.add_option("--dataset-type", dataset_type,
                 "Regions: grid_distill (image patches), proposals_distill (the JSON's boxes) or region_clip (the "
                 "JSON's boxes with their categories as labels). Default: the method's own")
      ->check(CLI::IsMember({"grid_distill", "proposals_distill", "region_clip"}));
  app.add_option("--train-embed-path", noun_embeddings,
                 "regionclip: noun embeddings (.npy, .safetensors or .pt), one row a category of the training data, by "
                 "name where the file names its rows, else by category id (default: made of the categories' names by "
                 "the model's text tower and --templates)");
  app.add_option("--cosine-weight", cosine_weight, "clipself: weight of its loss")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--contrast-weight", contrast_weight, "regionclip: weight of its loss")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--retain-weight", retain_weight,
                 "Weight of a term that keeps the embeddings of whole images as they were (0: none)")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--num-sample-cats", num_sample_classes,
                 "regionclip: a step looks at this many nouns, those of its boxes and others drawn")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  app.add_flag("--multiscale", multiscale, "Train at one of four image sizes, drawn for each batch");
}

void MethodFlags::resolve() {
  if (method.empty()) method = dataset_type == "region_clip" ? "regionclip" : "clipself";
  const auto& method_chosen = chosen();
  if (dataset_type.empty()) dataset_type = name_of(method_chosen.regions);
  // Ranges let "nan" through, and one such number would spoil every weight.
  const std::pair<const char*, double> numbers[] = {
      {"--cosine-weight", cosine_weight}, {"--contrast-weight", contrast_weight}, {"--retain-weight", retain_weight}};
  for (const auto& [name, value] : numbers)
    if (!std::isfinite(value))
      throw Error({.doing = name, .found = fmt::format("{}", value), .expected = "a finite number"});
  const bool labelled = regions() == RegionKind::kLabelled;
  if (method_chosen.teacher.needs_labels && !labelled) {
    throw Error({.doing = "--dataset-type",
                 .where = dataset_type,
                 .found = "regions without labels, which --method " + method + " needs",
                 .expected = "region_clip"});
  }
  if (!method_chosen.teacher.needs_labels && !noun_embeddings.empty()) {
    throw Error({.doing = "--train-embed-path",
                 .where = noun_embeddings,
                 .found = "--method " + method + ", which learns from no nouns",
                 .expected = "--method regionclip"});
  }
  distillation::MethodInputs weights;
  weights.cosine_weight = cosine_weight;
  weights.contrast_weight = contrast_weight;
  if (weights.*method_chosen.loss.weight == 0 && retain_weight == 0)
    throw Error({.doing = "--method", .where = method, .found = "all weights 0", .expected = "something to learn"});
}

RegionKind MethodFlags::regions() const {
  for (const auto& type : kDatasetTypes)
    if (type.name == dataset_type) return type.regions;
  throw Error({.doing = "--dataset-type", .where = dataset_type, .found = "an unknown kind of regions"});
}

at::Tensor MethodFlags::read_nouns(models::ClipModel& model, const datasets::AnnotationIndex& data) const {
  require_file(noun_embeddings, "--train-embed-path");
  auto embeddings = models::read_class_embeddings(noun_embeddings);
  models::require_embeddings_of(embeddings, model, "--train-embed-path", noun_embeddings);
  return rows_of_categories(std::move(embeddings), data, "--train-embed-path", noun_embeddings);
}

std::unique_ptr<distillation::RegionObjective> MethodFlags::objective(
    std::shared_ptr<models::ClipModel> student, std::shared_ptr<models::ClipModel> frozen, const at::Tensor& nouns,
    const std::string& extract_type, const std::shared_ptr<distributed::Processes>& processes) const {
  distillation::MethodInputs inputs;
  inputs.frozen = std::move(frozen);
  inputs.nouns = nouns;
  inputs.cosine_weight = cosine_weight;
  inputs.contrast_weight = contrast_weight;
  inputs.retain_weight = retain_weight;
  inputs.num_sample_classes = num_sample_classes;
  inputs.multiscale = multiscale;
  inputs.processes = processes;
  return distillation::make_objective(chosen(), std::move(student), inputs, extract_type);
}

}  // namespace clipself::cli
