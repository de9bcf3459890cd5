// Kind main_run: the original training program's own run, its evaluations and its checkpoint.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/verify_evaluation.h"
#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "cli/verify_training.h"
#include "clipself/base/error.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/weights.h"
#include "clipself/training/schedule.h"
#include "clipself/training/trainer.h"

namespace clipself::cli::verify {
namespace {

/// The value of "--name=value" or "--name value" in the original's command line.
class CommandLine {
 public:
  CommandLine(std::vector<std::string> arguments, std::string where)
      : arguments_(std::move(arguments)), where_(std::move(where)) {}

  std::string text(const std::string& name, const std::string& otherwise) const {
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      if (arguments_[i].starts_with(name + "=")) return arguments_[i].substr(name.size() + 1);
      if (arguments_[i] == name && i + 1 < arguments_.size()) return arguments_[i + 1];
    }
    return otherwise;
  }
  double number(const std::string& name, double otherwise) const {
    const auto written = text(name, "");
    if (written.empty()) return otherwise;
    double parsed = 0;
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), parsed);
    if (error != std::errc() || end != written.data() + written.size())
      throw Error({.doing = "reading the command line in",
                   .where = where_,
                   .found = name + " " + written,
                   .expected = "a number"});
    return parsed;
  }
  /// The folder of a file given as "<dir>/folder/file", seen from the case; `otherwise` when it is given in another
  /// way.
  std::string folder(const std::string& name, const std::string& otherwise) const {
    constexpr std::string_view kRoot = "<dir>/";
    const auto path = text(name, "");
    const auto end = path.rfind('/');
    if (!path.starts_with(kRoot) || end <= kRoot.size() || path.find("..") != std::string::npos) return otherwise;
    return "../" + path.substr(kRoot.size(), end - kRoot.size());
  }
  int count(const std::string& name, int otherwise) const {
    const double parsed = number(name, otherwise);
    if (parsed < 0 || parsed > 1e6)
      throw Error({.doing = "reading the command line in",
                   .where = where_,
                   .found = name + " " + text(name, ""),
                   .expected = "0 to 1000000"});
    return static_cast<int>(parsed);
  }

 private:
  std::vector<std::string> arguments_;
  std::string where_;
};

/// Evaluates `weights` on the evaluation case beside this one and compares with the metrics the original printed.
void check_evaluation(Case& c, const Run& run, const formats::TensorDict& weights, const CommandLine& line,
                      const nlohmann::ordered_json& expected, const std::string& name, const std::string& where,
                      bool trained) {
  const auto folder = line.folder("--val-data", "../evaluation");
  models::ClipModel model(run.student->config());
  models::load_weights(model, weights, name);
  model.freeze(at::kFloat);
  const auto data = panoptic_data(c, folder, line.count("--det-image-size", 1024), model.visual().image_size(),
                                  line.count("--downsample-factor", 16));
  evaluation::ZeroShotOptions options;
  options.half_precision_means = true;
  const auto result = evaluation::evaluate_zero_shot(model, data, class_embeddings(c, folder), options);
  const auto classes = [&](bool thing) {
    return std::count_if(result.classes.begin(), result.classes.end(),
                         [&](const auto& entry) { return entry.is_thing == thing; });
  };
  // Before training the weights are the same and so must the metrics be. Afterwards they differ in the last digits, and
  // logits as near to each other as 1e-5 may change places: as much as one class may be judged differently altogether.
  check_metrics(c, result, expected, name, where, [&](const std::string& key) {
    const auto count = classes(key.find(".thing.") != std::string::npos);
    return Tolerance::abs(trained ? 1.0 / static_cast<double>(std::max<std::ptrdiff_t>(1, count)) : 1e-9);
  });
}

/// The checkpoint that the original's run left: read as any checkpoint, compared with the case's record of it and with
/// ours.
void check_checkpoint(Case& c, Run& run, const formats::TensorDict& ours, const std::string& file,
                      const nlohmann::ordered_json& info) {
  const auto root = formats::read_torch_archive(c.file(file));
  const auto state = formats::read_state_dict(c.file(file)).tensors;
  const auto group = file + " state_dict.*";
  for (const auto& item : state) {
    c.check_also(file + ", as recorded: " + item.key(), "state_dict." + item.key(), item.value(), Tolerance::bits(),
                 file + ", as recorded.*");
    const auto* mine = ours.find(item.key());
    c.check_value(file + " state_dict." + item.key(), mine ? *mine : at::Tensor(), item.value(), Tolerance::stepped(),
                  group);
  }
  c.check_that(file + " names",
               std::equal(ours.begin(), ours.end(), state.begin(), state.end(),
                          [](const auto& a, const auto& b) { return a.key() == b.key(); }),
               "the state dict has other names, or in another order");

  auto keys = nlohmann::ordered_json::array();
  for (const auto& [key, entry] : root.as_dict()) keys.push_back(key.as_string());
  if (info.contains("checkpoint_keys")) c.check_json(file + " keys", keys, info["checkpoint_keys"]);
  for (const char* key : {"epoch", "name"})
    if (info.contains(key))
      c.check_json(file + " " + key, root.find(key) ? to_json(*root.find(key)) : nlohmann::ordered_json(), info[key]);

  const auto* saved = root.find("optimizer");
  if (!saved) throw Error({.doing = "reading", .where = c.file(file).string(), .found = "no 'optimizer'"});
  if (const auto* groups = saved->find("param_groups"); groups && info.contains("optimizer_param_groups"))
    c.check_json(file + " optimizer groups", to_json(*groups), info["optimizer_param_groups"]);

  // Our optimizer must be able to go on from theirs, and must have come to the same place itself.
  training::AdamW loaded(run.student->trainable(), {});
  loaded.load_state_dict(*saved);
  auto indices = nlohmann::ordered_json::array();
  std::int64_t index = 0;
  for (const auto* parameters : {&loaded.undecayed(), &loaded.decayed()})
    for (const auto& [name, parameter] : *parameters) {
      const auto [first, second] = loaded.moments(name);
      const auto [our_first, our_second] = run.optimizer.moments(name);
      if (first.defined()) indices.push_back(index);
      ++index;
      c.check_that(file + " optimizer has state of " + name, first.defined() == our_first.defined(),
                   "one has state and the other has none", file + " optimizer has state.*");
      if (!first.defined() || !our_first.defined()) continue;
      c.check_value(file + " exp_avg." + name, our_first, first, kFirstMoment, file + " exp_avg.*");
      c.check_value(file + " exp_avg_sq." + name, our_second, second, kSecondMoment, file + " exp_avg_sq.*");
    }
  if (info.contains("optimizer_state_indices"))
    c.check_json(file + " optimizer state", indices, info["optimizer_state_indices"]);
}

}  // namespace

void verify_main_run(Case& c) {
  const auto info = c.json("info.json");
  const auto where = c.file("info.json").string(), input = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  c.load_expected("expected.safetensors");
  const CommandLine line(value<std::vector<std::string>>(info, "argv", where), where);
  const auto& settings = member(info, "optimizer", where);
  const auto betas = value<std::array<double, 2>>(settings, "betas", where);
  const auto alpha = value<double>(info, "alpha", where);
  const auto steps = value<std::int64_t>(info, "steps", where),
             epochs = static_cast<std::int64_t>(line.count("--epochs", 1));
  if (steps < 1 || steps > 10000 || epochs < 1 || steps % epochs != 0)
    throw Error({.doing = "reading", .where = where, .found = fmt::format("{} steps in {} epochs", steps, epochs)});
  Run run(c, line.folder("--cache-dir", "../eva_b_like"), value<std::int64_t>(info, "unlocked_groups", where),
          adamw_options(betas[0], betas[1], value<double>(settings, "eps", where), line.number("--wd", 0.1)), 1.0);
  for (const auto& [key, group] :
       {std::pair("no_decay", &run.optimizer.undecayed()), std::pair("decay", &run.optimizer.decayed())})
    if (info.contains(key)) c.check_json(key, names_of(*group), info[key]);

  training::Schedule schedule;
  schedule.kind = training::schedule_kind(line.text("--lr-scheduler", "cosine"));
  schedule.base_lr = line.number("--lr", value<double>(settings, "lr", where));
  schedule.warmup_steps = line.count("--warmup", 0);
  schedule.total_steps = steps;
  const double clip = line.number("--grad-clip-norm", 0);

  const auto ensembled = [&] { return distillation::ensemble(run.student->state(), run.teacher->state(), alpha); };
  const auto& metrics = member(info, "metrics_per_evaluation", where);
  const auto evaluate = [&](std::size_t epoch) {
    if (epoch < metrics.size())
      check_evaluation(c, run, epoch == 0 ? run.student->state() : ensembled(), line, metrics[epoch],
                       fmt::format("metrics.{}", epoch), where, epoch > 0);
  };
  evaluate(0);
  std::vector<double> losses;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto name = fmt::format("step{}.", step);
    const auto batch = make_batch(inputs, name + "images_u8", name + "boxes", name + "crops_u8", input);
    Rng rng(0, 0, static_cast<std::uint64_t>(step));
    losses.push_back(training::train_step(*run.objective, run.optimizer, {batch}, schedule.at(step),
                                          clip > 0 ? std::optional(clip) : std::nullopt, rng)
                         .loss);
    if ((step + 1) % (steps / epochs) == 0) evaluate(static_cast<std::size_t>((step + 1) / (steps / epochs)));
  }
  c.check("losses", at::tensor(losses, at::kDouble), Tolerance::abs(2e-5));
  if (info.contains("losses"))
    c.check_value("info.losses", at::tensor(losses, at::kDouble),
                  at::tensor(value<std::vector<double>>(info, "losses", where), at::kDouble), Tolerance::abs(2e-5));
  for (const auto& item : run.student->state())
    c.check("student_after_training." + item.key(), item.value(), Tolerance::stepped(), "student_after_training.*");
  const auto final_weights = ensembled();
  for (const auto& item : final_weights)
    c.check("state_dict." + item.key(), item.value(), Tolerance::stepped(), "state_dict.*");
  check_checkpoint(c, run, final_weights, fmt::format("epoch_{}.pt", epochs), info);
}

}  // namespace clipself::cli::verify
