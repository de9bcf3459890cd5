// clipself eval: zero-shot classification of boxes, crops and masks.
#include <cstdio>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/signals.h"

namespace clipself::cli {
namespace {

struct EvalCommand {
  ModelFlags model;
  EvalFlags data;
  std::string data_root, out;
  bool json = false;
  bool per_class = false;
};

void run(EvalCommand& command) {
  command.data.prefix(command.data_root);
  const auto type = parse_precision(command.model.precision);
  auto model = command.model.load(!command.data.classes.names.empty());
  const Evaluator evaluator(command.data, command.model, *model);
  model->freeze(type);
  const StopRequest stop;
  spdlog::info("{} images, {} segments, {} classes", evaluator.data().size(),
               evaluator.data().index().annotation_count(), evaluator.data().index().categories.size());
  evaluation::ZeroShotResult result;
  try {
    result = evaluator.run(*model, [&] { return stop.signal() != 0; });
  } catch (const Interrupted&) {
    spdlog::warn("interrupted: nothing was written");
    throw ExitCode{128 + stop.signal()};
  }
  const auto report = evaluation::report_json(result);
  if (!command.out.empty()) {
    write_text(command.out, report);
    spdlog::info("report written to {}", command.out);
  }
  if (command.json) {
    std::fputs(report.c_str(), stdout);
  } else {
    std::fputs(evaluation::report_table(result, command.per_class).c_str(), stdout);
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto* sub = app.add_subcommand("eval", "Measure zero-shot classification of boxes, crops and masks (COCO panoptic)");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<EvalCommand>();
  sub->add_option("--config", "TOML file of these settings");
  command->model.add_to(*sub);
  command->data.add_to(*sub, true);
  sub->add_option("--data-root", command->data_root, "Put in front of every relative data path");
  sub->add_option("--out", command->out, "Also write the JSON report to this file");
  sub->add_flag("--json", command->json, "Print the JSON report instead of tables");
  sub->add_flag("--per-class", command->per_class, "Print a row for every class");
  sub->callback([command] { run(*command); });
}

}  // namespace clipself::cli
