// clipself bench: end-to-end figures with random weights of the real models.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/bench_ap.h"
#include "cli/bench_peak.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/dataset.h"
#include "clipself/detection/objective.h"
#include "clipself/distillation/methods.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/layers.h"
#include "clipself/models/weights.h"
#include "clipself/ops/cpu/level.h"
#include "clipself/training/profiler.h"
#include "clipself/training/trainer.h"

namespace clipself::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct BenchFlags {
  std::string what;
  std::string model = "EVA02-CLIP-B-16", precision = "bf16", device = "auto", image_folder, annotations;
  int image_size = 1024, crops = 16, batch_size = 1, steps = 3, threads = 0, blocks = 0;
  bool grad_checkpointing = false, profile = false, json = false;
  BenchApFlags ap;
};

// Products of a block for one token sequence of `tokens`: four projections, three MLP matrices, two attention products;
// each multiply-add counts as two operations.
double block_flops(const models::VisionConfig& vision, double tokens, bool attends) {
  const double width = vision.width;
  const double projections = attends ? 4 * width * width : 2 * width * width;
  const double mlp = 3 * width * vision.mlp_width();
  const double attention = attends ? 2 * tokens * width : 0;
  return 2 * tokens * (projections + mlp + attention);
}

// The last block for an image's embedding: of a class token all, of the others keys and values alone.
double last_block_flops(const models::VisionConfig& vision, double tokens) {
  if (vision.backbone == "siglip") return block_flops(vision, tokens, true);
  const double width = vision.width;
  return 2 * tokens * (2 * width * width + 2 * width) + 2 * (2 * width * width + 3 * width * vision.mlp_width());
}

double image_flops(const models::ClipConfig& config, int size, bool dense) {
  const auto& vision = config.vision;
  const double patches = static_cast<double>(size / vision.patch_size) * (size / vision.patch_size);
  const double embed = 2 * patches * 3 * vision.patch_size * vision.patch_size * vision.width;
  const double head = 2 * (dense ? patches : 1) * vision.width * config.embed_dim;
  return embed + head + (vision.layers - 1) * block_flops(vision, patches + 1, true) +
         (dense ? block_flops(vision, patches + 1, false) : last_block_flops(vision, patches + 1));
}

// Forward, gradients to activations and gradients to weights cost the same each; below the first trained block only the
// forward.
double step_flops(const models::ClipConfig& config, const BenchFlags& flags, int trained_blocks) {
  const auto& vision = config.vision;
  const double patches =
      static_cast<double>(flags.image_size / vision.patch_size) * (flags.image_size / vision.patch_size);
  const double student = image_flops(config, flags.image_size, true);
  const double backward =
      2 * ((trained_blocks - 1) * block_flops(vision, patches + 1, true) + block_flops(vision, patches + 1, false));
  const double again = flags.grad_checkpointing ? backward / 2 : 0;
  return flags.batch_size * (student + backward + again + flags.crops * image_flops(config, vision.image_size, false));
}

struct Timing {
  double seconds = 0;  ///< median of the timed runs
  double fastest = 0;
  std::vector<training::Profiler::Part> profile;  ///< of one more run, when asked for
};

// One warm-up, then the timed runs.
Timing time_runs(const BenchFlags& flags, const at::Device& device, const std::function<void()>& body) {
  const auto timed = [&] {
    const auto start = Clock::now();
    body();
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  timed();
  std::vector<double> seconds;
  for (int i = 0; i < flags.steps; ++i) seconds.push_back(timed());
  std::sort(seconds.begin(), seconds.end());
  Timing timing{.seconds = seconds[seconds.size() / 2], .fastest = seconds.front(), .profile = {}};
  if (flags.profile) {
    const training::Profiler profiler;
    timed();
    timing.profile = profiler.parts();
  }
  return timing;
}

std::shared_ptr<models::ClipModel> random_model(const BenchFlags& flags, const at::Device& device) {
  torch::manual_seed(0);
  auto model = std::make_shared<models::ClipModel>(models::model_config(flags.model), /*with_text=*/false);
  model->to(device);
  return model;
}

datasets::Batch random_batch(const BenchFlags& flags, const models::ClipConfig& config) {
  datasets::Batch batch;
  const int side = config.vision.image_size;
  batch.images = at::randint(256, {flags.batch_size, 3, flags.image_size, flags.image_size}, at::kByte);
  batch.crops = at::randint(256, {flags.batch_size * flags.crops, 3, side, side}, at::kByte);
  const int columns = std::max(1, static_cast<int>(std::lround(std::sqrt(flags.crops))));
  for (int i = 0; i < flags.batch_size; ++i) {
    auto boxes = at::empty({flags.crops, 4});
    for (int c = 0; c < flags.crops; ++c) {
      const double x = static_cast<double>(c % columns) / columns;
      const double y = static_cast<double>(c / columns % columns) / columns;
      boxes[c] = at::tensor({x, y, x + 1.0 / columns, y + 1.0 / columns}, at::kFloat);
    }
    batch.boxes.push_back(boxes);
    batch.image_ids.push_back(i);
  }
  return batch;
}

void add_rates(Json& out, const Timing& timing, double images, double flops) {
  out["seconds"] = timing.seconds;
  out["seconds_fastest"] = timing.fastest;
  out["images_per_second"] = images / timing.seconds;
  if (flops > 0) {
    out["tflop"] = flops / 1e12;
    out["tflop_per_second"] = flops / timing.seconds / 1e12;
  }
  if (timing.profile.empty()) return;
  auto& profile = out["profile"] = Json::array();
  for (const auto& part : timing.profile)
    profile.push_back({{"operator", part.name}, {"calls", part.calls}, {"seconds", part.seconds}});
}

// The slowest operators, the others in one line, and the sum.
void print_profile(const Json& profile) {
  constexpr std::size_t kShown = 30;
  double whole = 0, others = 0;
  for (const auto& part : profile) whole += part["seconds"].get<double>();
  const auto line = [&](const std::string& name, const std::string& calls, double seconds) {
    fmt::print("  {:<44}{:>8}{:>10.3f} s{:>8.1f} %\n", name, calls, seconds, 100 * seconds / whole);
  };
  fmt::print("one run by operator, own time:\n");
  for (std::size_t i = 0; i < profile.size(); ++i) {
    const auto& part = profile[i];
    const double seconds = part["seconds"].get<double>();
    if (i < kShown)
      line(part["operator"].get<std::string>(), std::to_string(part["calls"].get<std::int64_t>()), seconds);
    else
      others += seconds;
  }
  if (profile.size() > kShown) line(fmt::format("{} others", profile.size() - kShown), "", others);
  line("whole", "", whole);
}

void bench_step(const BenchFlags& flags, Json& out) {
  const auto device = parse_device(flags.device);
  const auto type = parse_precision(flags.precision);
  auto student = random_model(flags, device);
  auto teacher = random_model(flags, device);
  teacher->freeze(type);
  const int blocks = flags.blocks > 0 ? std::min(flags.blocks, student->visual().depth()) : student->visual().depth();
  student->lock_image_tower(blocks);
  student->visual().set_compute_type(type);
  student->visual().set_grad_checkpointing(flags.grad_checkpointing);
  const auto objective =
      distillation::make_objective(distillation::find_method("clipself"), student, {.frozen = teacher});
  training::AdamW optimizer(objective->parameters(), {});
  const auto batch = random_batch(flags, student->config());
  Rng rng(0);
  const auto timing =
      time_runs(flags, device, [&] { training::train_step(*objective, optimizer, {batch}, 1e-5, std::nullopt, rng); });
  out["trained_blocks"] = blocks;
  add_rates(out, timing, flags.batch_size, step_flops(student->config(), flags, blocks));
}

// A step of OV-COCO's detector: 65 classes of random embeddings, seven boxes an image.
void bench_detector_step(const BenchFlags& flags, Json& out) {
  const auto device = parse_device(flags.device);
  torch::manual_seed(0);
  const auto clip = models::model_config(flags.model);
  detection::DetectorConfig config;
  const int layers = clip.vision.layers;
  config.taps = {layers / 4, layers / 2 - 1, 2 * layers / 3 - 1, layers - 1};
  constexpr std::int64_t kClassCount = 65, kBoxes = 7;
  detection::DetectionClasses classes;
  for (std::int64_t i = 0; i < kClassCount; ++i) classes.names.push_back(std::to_string(i));
  classes.is_base.assign(kClassCount, true);
  classes.embeddings = models::unit_length(at::randn({kClassCount + 1, clip.embed_dim}));
  const auto detector = std::make_shared<detection::Detector>(clip, config, std::move(classes));
  detector->to(device);
  detector->tower().set_compute_type(parse_precision(flags.precision));
  detector->train(true);
  detection::DetectionObjective objective(detector, detection::kImageNetPixels);
  training::AdamW optimizer(objective.parameters(), {.decay_all = true});
  datasets::Batch batch;
  batch.images = at::randint(256, {flags.batch_size, 3, flags.image_size, flags.image_size}, at::kByte);
  for (int i = 0; i < flags.batch_size; ++i) {
    batch.image_ids.push_back(i);
    const auto corner = at::rand({kBoxes, 2}) * (0.6 * flags.image_size);
    batch.boxes.push_back(at::cat({corner, corner + (at::rand({kBoxes, 2}) * 0.3 + 0.05) * flags.image_size}, 1));
    batch.labels.push_back(at::randint(kClassCount, {kBoxes}, at::kLong));
    batch.content.push_back({flags.image_size, flags.image_size});
  }
  Rng rng(0);
  const auto timing =
      time_runs(flags, device, [&] { training::train_step(objective, optimizer, {batch}, 1e-5, std::nullopt, rng); });
  std::int64_t trained = 0;
  for (const auto& [name, parameter] : objective.parameters()) trained += parameter.numel();
  out["trained_parameters"] = trained;
  add_rates(out, timing, flags.batch_size, 0);
}

void bench_forward(const BenchFlags& flags, Json& out, bool dense) {
  const auto device = parse_device(flags.device);
  auto model = random_model(flags, device);
  const auto& config = model->config();
  model->freeze(parse_precision(flags.precision));
  const c10::InferenceMode inference;
  const int size = dense ? flags.image_size : config.vision.image_size;
  const int count = flags.batch_size * (dense ? 1 : flags.crops);
  const auto images = at::randn({count, 3, size, size}).to(device);
  const auto timing =
      time_runs(flags, device, [&] { dense ? model->encode_dense(images) : model->encode_image(images); });
  add_rates(out, timing, count, count * image_flops(config, size, dense));
}

void bench_loader(const BenchFlags& flags, Json& out) {
  if (flags.image_folder.empty()) {
    throw Error(
        {.doing = "clipself bench loader", .found = "no --image-folder", .expected = "a folder of JPEG or PNG images"});
  }
  const auto config = models::model_config(flags.model);
  datasets::DistillOptions options;
  options.image_size = flags.image_size;
  options.crop_size = config.vision.image_size;
  options.max_split = std::max(1, static_cast<int>(std::lround(std::sqrt(flags.crops))));
  options.proposals.max_boxes = flags.crops;
  const datasets::DistillDataset dataset(datasets::read_image_folder(flags.image_folder), flags.image_folder, options);
  // The grid is drawn for each image; a square one of `crops` cells makes every image the same work.
  const std::int64_t images = std::min<std::int64_t>(dataset.size(), 32);
  std::int64_t crops = 0;
  const auto timing = time_runs(flags, at::kCPU, [&] {
    crops = 0;
    for (std::int64_t i = 0; i < images; ++i) {
      Rng rng(0, 0, static_cast<std::uint64_t>(i));
      crops += dataset.get(i, rng).crops.size(0);
    }
  });
  out["threads"] = 1;
  out["crops_per_image"] = static_cast<double>(crops) / static_cast<double>(images);
  add_rates(out, timing, static_cast<double>(images), 0);
}

void bench_checkpoint(const BenchFlags& flags, Json& out) {
  torch::manual_seed(0);
  models::ClipModel model(models::model_config(flags.model));
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("clipself-bench-{}", ::getpid());
  const auto file = folder / "model.pt";
  formats::Dict items;
  double bytes = 0;
  for (const auto& item : model.state()) {
    items.emplace_back(item.key(), item.value());
    bytes += static_cast<double>(item.value().nbytes());
  }
  const auto value = formats::Value::dict(std::move(items));
  try {
    const auto writing = time_runs(flags, at::kCPU, [&] { formats::write_torch_archive(file, value); });
    const auto reading = time_runs(flags, at::kCPU, [&] { models::load_checkpoint(model, file); });
    out["bytes"] = bytes;
    out["write_seconds"] = writing.seconds;
    out["write_gb_per_second"] = bytes / writing.seconds / 1e9;
    out["load_seconds"] = reading.seconds;
    out["load_gb_per_second"] = bytes / reading.seconds / 1e9;
  } catch (...) {
    std::filesystem::remove_all(folder);
    throw;
  }
  std::filesystem::remove_all(folder);
}

void bench_index(const BenchFlags& flags, Json& out) {
  require_file(flags.annotations, "--annotations");
  datasets::AnnotationIndex index;
  const auto timing = time_runs(flags, at::kCPU, [&] { index = datasets::read_coco(flags.annotations); });
  out["images"] = index.images.size();
  out["annotations"] = index.annotation_count();
  out["bytes"] = std::filesystem::file_size(flags.annotations);
  out["seconds"] = timing.seconds;
  out["seconds_fastest"] = timing.fastest;
}

// A bench of the model and what feeds it.
Json bench_model(const BenchFlags& flags) {
  const auto config = models::model_config(flags.model);
  if (flags.image_size % config.vision.patch_size != 0) {
    throw Error({.doing = "--image-size",
                 .where = std::to_string(flags.image_size),
                 .found = "no multiple of the patch size",
                 .expected = "a multiple of " + std::to_string(config.vision.patch_size)});
  }
  Json out = {{"bench", flags.what},
              {"model", flags.model},
              {"precision", flags.precision},
              {"device", parse_device(flags.device).str()},
              {"cpu", ops::cpu::name(ops::cpu::level())},
              {"threads", at::get_num_threads()},
              {"batch_size", flags.batch_size},
              {"image_size", flags.image_size},
              {"crops", flags.crops},
              {"steps", flags.steps}};
  if (flags.what == "step") bench_step(flags, out);
  if (flags.what == "detector-step") bench_detector_step(flags, out);
  if (flags.what == "dense") bench_forward(flags, out, true);
  if (flags.what == "crops") bench_forward(flags, out, false);
  if (flags.what == "loader") bench_loader(flags, out);
  if (flags.what == "checkpoint") bench_checkpoint(flags, out);
  return out;
}

void run(const BenchFlags& flags) {
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  const auto before = peak_memory();
  Json out;
  if (flags.what == "ap") {
    out = {{"bench", flags.what}, {"threads", at::get_num_threads()}, {"steps", flags.steps}};
    bench_ap(flags.ap, flags.steps, out);
  } else if (flags.what == "index") {
    out = {{"bench", flags.what}, {"steps", flags.steps}};
    bench_index(flags, out);
  } else if (flags.what == "peak") {
    out = {{"bench", flags.what},
           {"precision", flags.precision},
           {"cpu", ops::cpu::name(ops::cpu::level())},
           {"threads", at::get_num_threads()},
           {"steps", flags.steps}};
    bench_peak(flags.precision, flags.steps, out);
  } else {
    out = bench_model(flags);
  }
  out["start_memory_bytes"] = before;
  out["peak_memory_bytes"] = peak_memory();
  if (flags.json) {
    fmt::print("{}\n", out.dump(2));
    return;
  }
  for (const auto& [key, value] : out.items()) {
    if (key == "profile") {
      continue;
    } else if (key.ends_with("_bytes") || key == "bytes") {
      fmt::print("{:<20} {}\n", key.substr(0, key.rfind("_bytes")), format_bytes(value.get<double>()));
    } else if (value.is_number_float()) {
      fmt::print("{:<20} {:.4g}\n", key, value.get<double>());
    } else {
      fmt::print("{:<20} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  if (out.contains("profile")) print_profile(out["profile"]);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* sub = app.add_subcommand("bench", "Measure speed and memory with random weights of the real models");
  auto flags = std::make_shared<BenchFlags>();
  sub->add_option(
         "WHAT", flags->what,
         "step (one training step), detector-step (one of F-ViT's, 65 classes), dense (dense maps), crops "
         "(image embeddings), loader (decode, resize, "
         "crop), checkpoint (write and load), ap (average precision of made-up detections), index (read annotations), "
         "peak (what the cores' products reach at most)")
      ->required()
      ->check(
          CLI::IsMember({"step", "detector-step", "dense", "crops", "loader", "checkpoint", "ap", "index", "peak"}));
  sub->add_option("--model", flags->model, "Model name or configuration file")->capture_default_str();
  sub->add_option("--precision", flags->precision, "fp32 or bf16")->capture_default_str();
  sub->add_option("--device", flags->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  sub->add_option("--threads", flags->threads, "CPU threads (0: one a core)")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  sub->add_option("--image-size", flags->image_size, "Side of the student's square images")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  sub->add_option("--crops", flags->crops, "Crops an image")->capture_default_str()->check(CLI::Range(1, 4096));
  sub->add_option("--batch-size", flags->batch_size, "Images at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  sub->add_option("--steps", flags->steps, "Timed runs after one warm-up")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  sub->add_option("--unlocked-groups", flags->blocks, "step: trained blocks (0: all)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  sub->add_flag("--grad-checkpointing", flags->grad_checkpointing,
                "step: compute activations twice instead of keeping them");
  flags->ap.add_to(*sub);
  sub->add_option("--image-folder", flags->image_folder, "loader: a folder of images");
  sub->add_option("--annotations", flags->annotations, "index: a COCO or LVIS JSON");
  sub->add_flag("--profile", flags->profile,
                "Also the time of each operator in one more run; not for loader, ap and peak");
  sub->add_flag("--json", flags->json, "Print JSON");
  sub->callback([flags] { run(*flags); });
}

}  // namespace clipself::cli
