// clipself detect test: average precision of a trained detector.
#include "cli/detect.h"

#include <cstdio>

#include "cli/commands.h"
#include "cli/together.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/signals.h"
#include "clipself/formats/fingerprint.h"

namespace clipself::cli {
namespace {

struct DetectTest {
  DetectorFlags detector;
  DetectionDataFlags data;
  ProcessFlags processes;
  std::string results, out;
  bool json = false, per_class = false;
};

void run_detect_test(DetectTest& command, const CLI::App& sub, distributed::Processes& processes) {
  if (command.data.validation.empty())
    throw Error({.doing = "--val-data", .found = "no annotations", .expected = "those to test on, a COCO JSON"});
  for (const auto& file : {command.results, command.out})
    if (processes.first() && !file.empty()) require_writable_file(file);
  // Masks of the annotations cost memory: they are read when the detector has a mask head.
  const bool masks = command.data.task != "voc" && command.detector.has_masks();
  const DetectionTester tester(command.data, command.detector.data_root, masks);
  const auto loaded = command.detector.load(sub, tester.category_names());
  if (processes.size() > 1) {
    compare_settings(processes, settings_of(sub));
    processes.check_equal("weights", formats::fingerprint(loaded.detector->state()));
  }
  const StopRequest stop;
  evaluation::Detections found;
  try {
    found = tester.detect(
        loaded, [&] { return stop.signal() != 0; }, processes);
  } catch (const Interrupted&) {
    end_without_result(processes, stop);
  }
  if (!processes.first()) return;
  if (!command.results.empty()) {
    evaluation::write_detections(command.results, found);
    spdlog::info("{} detections written to {}", found.list.size(), command.results);
  }
  const auto report = tester.measure(loaded, found, command.per_class);
  std::fputs((command.json ? report.json : report.table).c_str(), stdout);
  if (command.out.empty()) return;
  write_text(command.out, report.json);
  spdlog::info("report written to {}", command.out);
}

}  // namespace

void add_detect_test(CLI::App& detect) {
  auto* sub = detect.add_subcommand("test", "Average precision of a trained detector");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto command = std::make_shared<DetectTest>();
  sub->add_option("--config", "TOML file of these settings; what it says to 'detect train' alone is passed over");
  command->detector.add_detector_to(*sub);
  command->detector.add_to(*sub);
  command->data.add_to(*sub);
  command->processes.add_to(*sub);
  sub->add_option("--results", command->results, "Also write all detections to this file, COCO results JSON");
  sub->add_option("--out", command->out, "Also write the JSON report to this file");
  sub->add_flag("--json", command->json, "Print the JSON report instead of tables");
  sub->add_flag("--per-class", command->per_class, "Print a row for every class");
  sub->callback([command, sub] {
    run_together(command->processes, [&](const auto& processes) { run_detect_test(*command, *sub, *processes); });
  });
}

}  // namespace clipself::cli
