#include "clipself/distillation/methods.h"

#include <algorithm>

#include "clipself/base/error.h"
#include "clipself/distillation/losses.h"

namespace clipself::distillation {
namespace {

template <typename Kind>
const Kind& find(const std::vector<Kind>& all, std::string_view name, const char* what) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Kind& kind) { return kind.name == name; });
  if (found != all.end()) return *found;
  std::string known;
  for (const Kind& kind : all) known += (known.empty() ? "" : ", ") + std::string(kind.name);
  throw Error({.doing = what, .where = std::string(name), .found = "no such one", .expected = "one of " + known});
}

}  // namespace

const std::vector<TeacherKind>& teachers() {
  static const std::vector<TeacherKind> all{
      {"crops", /*needs_crops=*/true, /*needs_labels=*/false,
       [](const MethodInputs& in, const at::Device&) { return crop_teacher(in.frozen, in.crops_at_once); }},
      {"nouns", /*needs_crops=*/false, /*needs_labels=*/true,
       [](const MethodInputs& in, const at::Device& device) { return noun_teacher(in.nouns, device); }},
  };
  return all;
}

const std::vector<LossKind>& losses() {
  static const std::vector<LossKind> all{
      {"cosine", "loss_cosine", &MethodInputs::cosine_weight,
       [](const MethodInputs&) -> RegionLoss {
         return [](const at::Tensor& features, const RegionTargets& targets, const at::Tensor&, Rng&) {
           return cosine_loss(features, targets.rows());
         };
       }},
      {"federated_bce", "loss_contrast", &MethodInputs::contrast_weight,
       [](const MethodInputs& in) -> RegionLoss {
         const auto processes = in.processes ? in.processes : distributed::Processes::alone();
         return [sample = in.num_sample_classes, processes](const at::Tensor& features, const RegionTargets& targets,
                                                            const at::Tensor& scale, Rng& rng) {
           const auto labels = processes->gather_rows(targets.index).to(targets.index.device());
           const auto classes = federated_classes(labels, targets.bank.size(0), sample, rng);
           return federated_bce(features, targets, classes, scale);
         };
       }},
  };
  return all;
}

const std::vector<FeatureKind>& features() {
  static const std::vector<FeatureKind> all{
      {"v1",
       [](models::ClipModel& model, const at::Tensor& images, const std::vector<at::Tensor>& boxes) {
         return model.encode_boxes(images, boxes, /*normalized=*/false, models::BoxFeature::kMaskAttention);
       }},
      {"v2", [](models::ClipModel& model, const at::Tensor& images,
                const std::vector<at::Tensor>& boxes) { return model.encode_boxes(images, boxes); }},
  };
  return all;
}

const std::vector<Method>& methods() {
  using datasets::RegionKind;
  static const std::vector<Method> all{
      {"clipself", "regions learn the embedding of their own crop (Wu et al., arXiv 2310.01403)", RegionKind::kGrid,
       find_teacher("crops"), find_loss("cosine")},
      {"regionclip", "labelled regions learn the embedding of their noun (Zhong et al., arXiv 2112.09106)",
       RegionKind::kLabelled, find_teacher("nouns"), find_loss("federated_bce")},
  };
  return all;
}

const TeacherKind& find_teacher(std::string_view name) {
  return find(teachers(), name, "looking for a teacher");
}
const LossKind& find_loss(std::string_view name) {
  return find(losses(), name, "looking for a loss");
}
const FeatureKind& find_feature(std::string_view name) {
  return find(features(), name, "looking for a box feature");
}
const Method& find_method(std::string_view name) {
  return find(methods(), name, "looking for a method");
}

std::unique_ptr<RegionObjective> make_objective(const Method& method, std::shared_ptr<models::ClipModel> student,
                                                const MethodInputs& inputs, std::string_view feature) {
  const auto require = [&](bool holds, const char* what) {
    if (holds) return;
    throw Error({.doing = "setting up method", .where = std::string(method.name), .found = std::string("no ") + what});
  };
  require(!method.needs_frozen(inputs.retain_weight) || inputs.frozen, "frozen copy of the model");
  require(!method.teacher.needs_labels || inputs.nouns.defined(), "noun embeddings");
  const auto device = student->logit_scale().device();
  Composition composition{.feature = find_feature(feature).compute,
                          .teacher = method.teacher.make(inputs, device),
                          .loss = method.loss.make(inputs),
                          .term = std::string(method.loss.term),
                          .weight = inputs.*method.loss.weight};
  return std::make_unique<RegionObjective>(std::move(student), std::move(composition),
                                           Retention{inputs.retain_weight, inputs.frozen}, inputs.multiscale);
}

}  // namespace clipself::distillation
