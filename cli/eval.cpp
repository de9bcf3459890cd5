// clipself eval: zero-shot classification of boxes, crops and masks, of whole images, retrieval, and average precision.
#include <fmt/format.h>

#include <cstdio>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/eval_ap.h"
#include "cli/eval_images.h"
#include "cli/together.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/formats/fingerprint.h"

namespace clipself::cli {
namespace {

struct EvalCommand {
  ModelFlags model;
  EvalFlags data;
  ImageTaskFlags images;
  ApTaskFlags detections;
  ProcessFlags processes;
  std::string task = "regions";
  std::string data_root, out;
  bool json = false;
  bool per_class = false;
};

EvalReport region_report(const EvalCommand& command, const Settings& settings, const std::function<bool()>& interrupted,
                         const std::shared_ptr<distributed::Processes>& processes) {
  if (!command.data.given())
    throw Error({.doing = "--task regions", .found = "no annotations", .expected = "--val-data, a COCO panoptic JSON"});
  const auto type = parse_precision(command.model.precision);
  auto model = command.model.load(!command.data.classes.names.empty());
  const Evaluator evaluator(command.data, command.model, *model);
  if (processes->size() > 1) {
    compare_settings(*processes, settings);
    processes->check_equal("weights", formats::fingerprint(model->state()));
  }
  model->freeze(type);
  const auto& index = evaluator.data().index();
  spdlog::info("{}, {}, {}", counted(evaluator.data().size(), "image"), counted(index.annotation_count(), "segment"),
               counted(std::ssize(index.categories), "class", "classes"));
  const auto result = evaluator.run(*model, interrupted, processes);
  return {evaluation::report_json(result), evaluation::report_table(result, command.per_class)};
}

/// Throws Error when so many processes cannot divide the task among them.
void check_divisible(const std::string& task, int processes) {
  if (processes > 1 && task != "regions")
    throw Error({.doing = "--task",
                 .where = task,
                 .found = fmt::format("{} processes", processes),
                 .expected = "one: only regions are divided among several"});
}

void run(EvalCommand& command, const Settings& settings, const std::shared_ptr<distributed::Processes>& processes) {
  check_divisible(command.task, processes->size());
  command.data.prefix(command.data_root);
  command.images.prefix(command.data_root);
  command.detections.prefix(command.data_root);
  if (processes->first() && !command.out.empty()) require_writable_file(command.out);
  const StopRequest stop;
  const auto interrupted = [&] { return stop.signal() != 0; };
  EvalReport report;
  try {
    if (command.task == "classification")
      report = classification_report(command.images, command.data, command.model, command.per_class, interrupted);
    else if (command.task == "retrieval")
      report = retrieval_report(command.images, command.data, command.model, interrupted);
    else if (ApTaskFlags::is_task(command.task))
      report = ap_report(command.task, command.detections, command.model.threads, command.per_class);
    else
      report = region_report(command, settings, interrupted, processes);
  } catch (const Interrupted&) {
    end_without_result(*processes, stop);
  }
  if (!processes->first()) return;
  std::fputs((command.json ? report.json : report.table).c_str(), stdout);
  if (command.out.empty()) return;
  write_text(command.out, report.json);
  spdlog::info("report written to {}", command.out);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "eval",
      "Measure zero-shot classification of boxes, crops and masks (COCO panoptic) or of images, retrieval, or a "
      "detector's average precision");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<EvalCommand>();
  sub->add_option("--config", "TOML file of these settings");
  sub->add_option(
         "--task", command->task,
         "regions: boxes, crops and masks of COCO panoptic; classification: whole images, a folder a class; "
         "retrieval: images by captions and captions by images; coco-ap, lvis-ap, voc-ap: average precision of a "
         "detector's --results")
      ->capture_default_str()
      ->check(CLI::IsMember({"regions", "classification", "retrieval", "coco-ap", "lvis-ap", "voc-ap"}));
  command->model.add_to(*sub);
  sub->get_option("--pretrained")->required(false);  // average precision needs no model
  command->data.add_to(*sub, false);
  command->images.add_to(*sub);
  command->processes.add_to(*sub);
  command->detections.add_to(*sub);
  sub->add_option("--data-root", command->data_root, "Put in front of every relative data path");
  sub->add_option("--out", command->out, "Also write the JSON report to this file");
  sub->add_flag("--json", command->json, "Print the JSON report instead of tables");
  sub->add_flag("--per-class", command->per_class, "Print a row for every class");
  sub->callback([command, sub] {
    if (command->processes.launches()) check_divisible(command->task, command->processes.processes);
    run_together(command->processes, [&](const auto& processes) { run(*command, settings_of(*sub), processes); });
  });
}

}  // namespace clipself::cli
