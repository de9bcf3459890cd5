// Methods by name. A method is which regions x which dense feature x which teacher x which loss, each a named choice of
// the tables in methods.cpp: adding a method, a teacher, a loss or a feature is adding a line there.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/distillation/objective.h"
#include "clipself/distributed/processes.h"

namespace clipself::distillation {

/// What the choices may be made from, and how strong they are.
struct MethodInputs {
  std::shared_ptr<models::ClipModel> frozen{};  ///< the student's start; for crop targets and for retention
  at::Tensor nouns{};                           ///< float (T, D); for noun targets
  double cosine_weight = 1.0;
  double contrast_weight = 1.0;
  double retain_weight = 0.0;
  int num_sample_classes = 100;  ///< the federated loss looks at this many classes a step
  int crops_at_once = 64;        ///< see crop_teacher
  bool multiscale = false;       ///< see RegionObjective
  /// The federated loss looks at the classes of all of them; null: this one alone.
  std::shared_ptr<distributed::Processes> processes{};
};

struct TeacherKind {
  std::string_view name;
  bool needs_crops;   ///< Batch::crops and MethodInputs::frozen
  bool needs_labels;  ///< Batch::labels and MethodInputs::nouns
  Teacher (*make)(const MethodInputs& inputs, const at::Device& device);
};

struct LossKind {
  std::string_view name;
  std::string_view term;         ///< its name in logs
  double MethodInputs::*weight;  ///< which of the weights is its own
  RegionLoss (*make)(const MethodInputs& inputs);
};

/// Where the feature of a box comes from ("v2": RoIAlign on the dense map; "v1": attention over the box's patches).
struct FeatureKind {
  std::string_view name;
  RegionFeature compute;
};

struct Method {
  std::string_view name;
  std::string_view summary;      ///< a line for people
  datasets::RegionKind regions;  ///< unless the user chooses others
  TeacherKind teacher;
  LossKind loss;

  /// Whether a frozen copy of the start is needed.
  bool needs_frozen(double retain_weight) const { return teacher.needs_crops || retain_weight > 0; }
};

// All there are, and one by its name; throws Error naming the known ones for any other.
const std::vector<TeacherKind>& teachers();
const std::vector<LossKind>& losses();
const std::vector<FeatureKind>& features();
const std::vector<Method>& methods();
const TeacherKind& find_teacher(std::string_view name);
const LossKind& find_loss(std::string_view name);
const FeatureKind& find_feature(std::string_view name);
const Method& find_method(std::string_view name);

/// The objective of a method: trains `student`. Throws Error when an input that its choices need is missing.
std::unique_ptr<RegionObjective> make_objective(const Method& method, std::shared_ptr<models::ClipModel> student,
                                                const MethodInputs& inputs, std::string_view feature = "v2");

}  // namespace clipself::distillation
