// clipself bench ap: average precision of made-up detections.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace clipself::cli {

struct BenchApFlags {
  int images = 5000, detections = 100, classes = 80, truths = 7;
  std::string iou_type = "bbox", folder;

  void add_to(CLI::App& app);
};

/// Makes gt.json and results.json in --folder (else in a temporary folder, removed afterwards), reads and evaluates
/// them `steps` times, and puts times and AP into `out`.
void bench_ap(const BenchApFlags& flags, int steps, nlohmann::ordered_json& out);

}  // namespace clipself::cli
