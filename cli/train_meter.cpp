#include "cli/train_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"

namespace clipself::cli {
namespace {

// The lines of `file` that tell of what happened before `step`.
// `evaluated` gets the steps after which it tells of an evaluation.
std::string lines_before(const std::filesystem::path& file, std::int64_t step, std::set<std::int64_t>& evaluated) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return {};
  std::ifstream in(file);
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer()) continue;
    const bool evaluation = !entry.contains("loss");
    const auto at = entry["step"].get<std::int64_t>();
    if (evaluation ? at > step : at >= step) continue;
    kept += line + "\n";
    if (evaluation) evaluated.insert(at);
  }
  return kept;
}

}  // namespace

TrainMeter::TrainMeter(const std::filesystem::path& metrics_file, formats::TensorBoardWriter& tensorboard,
                       std::int64_t total_steps, std::int64_t first_step, int log_every)
    : file_(metrics_file),
      tensorboard_(tensorboard),
      bar_("training", total_steps),
      total_steps_(total_steps),
      first_step_(first_step),
      log_every_(log_every) {
  write_text(file_, lines_before(file_, first_step, evaluated_));
  metrics_.open(file_, std::ios::app);
  if (!metrics_) throw Error({.doing = "opening", .where = file_.string(), .found = "no permission to write"});
}

void TrainMeter::write(const std::string& line) {
  metrics_ << line << '\n' << std::flush;
  if (!metrics_)
    throw Error({.doing = "writing", .where = file_.string(), .found = "a failure", .hint = "is the disk full?"});
}

void TrainMeter::step(const training::StepReport& report) {
  if (report.left_out) {
    write(nlohmann::ordered_json{
        {"step", report.step}, {"epoch", report.epoch}, {"loss", nullptr}, {"lr", report.lr}, {"left_out", true}}
              .dump());
    bar_.update(report.step + 1);
    return;
  }
  const double usual_loss = trend_.mean();
  if (trend_.leaps(report.loss)) {
    bar_.clear();
    spdlog::warn("step {}: the loss leapt to {:.4f} from about {:.4f}", report.step + 1, report.loss, usual_loss);
  }
  // A running mean that forgets the first steps quickly: those are slow and say little.
  const double weight = std::max(0.02, 1.0 / static_cast<double>(++steps_));
  smooth_seconds_ += weight * (report.seconds - smooth_seconds_);
  const double images_per_second = static_cast<double>(report.images) / std::max(report.seconds, 1e-9);
  const double left = smooth_seconds_ * static_cast<double>(total_steps_ - report.step - 1);

  nlohmann::ordered_json entry = {{"step", report.step}, {"epoch", report.epoch}, {"loss", report.loss}};
  for (const auto& [name, value] : report.losses) entry[name] = value;
  entry["lr"] = report.lr;
  entry["grad_norm"] = report.grad_norm;
  entry["images_per_second"] = images_per_second;
  entry["seconds"] = report.seconds;
  entry["data_seconds"] = report.data_seconds;
  write(entry.dump());
  tensorboard_.scalar("train/loss", report.loss, report.step);
  for (const auto& [name, value] : report.losses) tensorboard_.scalar("train/" + name, value, report.step);
  tensorboard_.scalar("train/lr", report.lr, report.step);
  tensorboard_.scalar("train/grad_norm", report.grad_norm, report.step);
  tensorboard_.scalar("train/images_per_second", images_per_second, report.step);

  const bool first_steps = report.step < first_step_ + 3;
  if (first_steps || (report.step + 1) % log_every_ == 0 || report.step + 1 == total_steps_) {
    bar_.clear();
    std::string terms;
    if (report.losses.size() > 1)
      for (const auto& [name, value] : report.losses) terms += fmt::format(" {} {:.4f}", name, value);
    spdlog::info(
        "step {:>6}/{} | epoch {} | loss {:.5f} ({:.5f}){} | norm {:.3f} | lr {:.2e} | {:.0f} ms (data {:.0f}) | "
        "{:.2f} "
        "images/s | {} left",
        report.step + 1, total_steps_, report.epoch, report.loss, trend_.mean(), terms, report.grad_norm, report.lr,
        report.seconds * 1e3, report.data_seconds * 1e3, images_per_second, format_duration(left));
  }
  bar_.update(report.step + 1,
              fmt::format("loss {:.4f}  lr {:.1e}  {:.2f} images/s", trend_.mean(), report.lr, images_per_second));
}

void TrainMeter::evaluation(const std::string& name, std::int64_t epochs_done, std::int64_t steps_done,
                            const std::map<std::string, double>& metrics) {
  nlohmann::ordered_json entry = {{"step", steps_done}, {"epoch", epochs_done}, {name, metrics}};
  write(entry.dump());
  evaluated_.insert(steps_done);
  for (const auto& [key, value] : metrics) tensorboard_.scalar(fmt::format("{}/{}", name, key), value, steps_done);
}

}  // namespace clipself::cli
