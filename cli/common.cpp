#include "cli/common.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/class_lists.h"
#include "clipself/models/weights.h"

namespace clipself::cli {
namespace fs = std::filesystem;

at::ScalarType parse_precision(const std::string& name) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16" || name == "amp_bf16" || name == "amp_bfloat16") return at::kBFloat16;
  throw Error(
      {.doing = "--precision",
       .where = name,
       .found = "an unknown precision",
       .expected = "fp32 or bf16",
       .hint = name == "amp" || name == "fp16" ? "bf16 takes the place of fp16 here and needs no loss scaling" : ""});
}

at::Device parse_device(const std::string& name) {
  if (name == "auto") return torch::cuda::is_available() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  const bool known =
      name == "cpu" || name == "cuda" ||
      (name.starts_with("cuda:") && name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos);
  if (!known)
    throw Error(
        {.doing = "--device", .where = name, .found = "an unknown device", .expected = "auto, cpu, cuda or cuda:N"});
  const at::Device device(name);
  if (device.is_cuda() &&
      (!torch::cuda::is_available() || device.index() >= static_cast<int>(torch::cuda::device_count()))) {
    throw Error({.doing = "--device",
                 .where = name,
                 .found = c10::str(torch::cuda::device_count(), " CUDA devices"),
                 .expected = "that device",
                 .hint = "is this a CPU build of LibTorch?"});
  }
  return device;
}

void ModelFlags::add_to(CLI::App& app) {
  app.add_option("--model", model, "Model name, or the path of an open_clip-style .json configuration")
      ->capture_default_str();
  app.add_option("--pretrained,--checkpoint", pretrained,
                 "Weights to start from: a .pt, .pth or .safetensors file, or 'none' for seeded random ones")
      ->required();
  app.add_option(
      "--tokenizer", tokenizer,
      "Vocabulary of the text tower (default: the one beside the weights); see 'clipself embed-text --help'");
  app.add_option("--precision", precision,
                 "Activations and matrix products: fp32 or bf16 (weights stay fp32 where trained)")
      ->capture_default_str();
  app.add_option("--device", device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", threads, "CPU threads for computing (0: one a core)")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  app.add_option("--seed", seed, "Seed of everything random")->capture_default_str()->check(CLI::NonNegativeNumber);
}

std::shared_ptr<models::ClipModel> ModelFlags::load(bool with_text) const {
  const auto config = models::model_config(model);
  const auto target = parse_device(device);
  parse_precision(precision);
  if (threads > 0) at::set_num_threads(threads);
  if (pretrained != "none") require_file(pretrained, "--pretrained");
  torch::manual_seed(seed);
  auto result = std::make_shared<models::ClipModel>(config);
  if (pretrained == "none") {
    spdlog::warn(
        "--pretrained none: the weights of {} are RANDOM (seed {}); results mean nothing beyond that the program runs",
        config.name, seed);
  } else {
    const auto report = models::load_checkpoint(*result, pretrained);
    spdlog::info("weights from {}", pretrained);
    for (const auto& line : report.resized) spdlog::warn("resized {}", line);
    if (with_text && report.text_missing) {
      throw Error({.doing = "--pretrained",
                   .where = pretrained,
                   .found = "weights without a text tower",
                   .expected = "those of the whole model, to embed class names"});
    }
    if (report.text_missing)
      spdlog::warn("{} has no text tower: the model's is random and will not be used", pretrained);
  }
  result->to(target);
  return result;
}

void EvalFlags::add_to(CLI::App& app, bool required) {
  auto* annotations = app.add_option("--val-data", data, "COCO panoptic JSON to evaluate on");
  app.add_option("--val-image-root", image_root, "Folder of its images");
  app.add_option("--val-segm-root", segmentation_root,
                 "Folder of its panoptic PNGs (default: the JSON's path without .json)");
  app.add_option("--embed-path", embeddings,
                 "Class embeddings, one row a category by category id: .npy, .safetensors or .pt");
  app.add_option("--class-names", classes.names,
                 "In place of --embed-path: embed these names with the model's text tower (a known list or a file)");
  app.add_option("--templates", classes.templates, "Prompts of --class-names: single, vild, openai or a file")
      ->capture_default_str();
  app.add_option("--det-image-size", image_size, "Longer side of an image, in pixels; images are padded to this square")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  app.add_option("--downsample-factor", downsample_factor,
                 "Pixels a token of the dense map (0: the model's patch size)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 10));
  app.add_option("--workers", workers, "Threads that load images")->capture_default_str()->check(CLI::Range(0, 256));
  app.add_flag("--image-ave-pool", image_average_pool, "Embed crops by the mean of their dense map");
  app.add_flag("--half-precision-means", half_precision_means,
               "Round class accuracies to float16 before averaging, as the Python original does");
  app.add_option(
         "--mask-rule", mask_rule,
         "How masks are brought to the token grid: bicubic (the paper's) or bicubic-antialias (torchvision >= 0.17)")
      ->capture_default_str()
      ->check(CLI::IsMember({"bicubic", "bicubic-antialias"}));
  if (required) annotations->required();
}

void EvalFlags::prefix(const std::string& data_root) {
  for (auto* path : {&data, &image_root, &segmentation_root, &embeddings}) *path = under(data_root, *path);
  std::error_code ignored;
  if (const auto file = under(data_root, classes.names); fs::is_regular_file(file, ignored)) classes.names = file;
}

std::shared_ptr<const models::Tokenizer> tokenizer_of(const ModelFlags& flags, models::ClipModel& model) {
  model.text();  // before a vocabulary is looked for
  if (!flags.tokenizer.empty()) require_file(flags.tokenizer, "--tokenizer");
  const auto beside = flags.pretrained == "none" ? fs::path(flags.model) : fs::path(flags.pretrained);
  return models::find_tokenizer(model.config(), flags.tokenizer, beside);
}

models::ClassEmbeddings embed_names(std::span<const std::string> names, const std::string& templates,
                                    const ModelFlags& model_flags, models::ClipModel& model) {
  const auto prompts = models::prompt_templates(templates);
  const auto tokenizer = tokenizer_of(model_flags, model);
  Progress bar("embedding classes", static_cast<std::int64_t>(names.size()));
  return models::embed_classes(model, *tokenizer, names, prompts,
                               [&](std::int64_t done, std::int64_t) { bar.update(done); });
}

models::ClassEmbeddings embed_class_list(const ClassFlags& flags, const ModelFlags& model_flags,
                                         models::ClipModel& model, const std::string& flag, bool background) {
  auto names = datasets::class_list(flags.names, flag);
  if (background) names.emplace_back("background");
  return embed_names(names, flags.templates, model_flags, model);
}

namespace {

models::ClassEmbeddings evaluation_embeddings(const EvalFlags& flags, const ModelFlags& model_flags,
                                              models::ClipModel& model) {
  if (!flags.classes.names.empty()) {
    if (!flags.embeddings.empty()) {
      throw Error({.doing = "--class-names",
                   .where = flags.classes.names,
                   .found = "--embed-path as well",
                   .expected = "one of the two"});
    }
    return embed_class_list(flags.classes, model_flags, model, "--class-names");
  }
  if (flags.embeddings.empty())
    throw Error({.doing = "choosing class embeddings", .found = "none", .expected = "--embed-path or --class-names"});
  require_file(flags.embeddings, "--embed-path");
  auto embeddings = models::read_class_embeddings(flags.embeddings);
  models::require_embeddings_of(embeddings, model.config(), "--embed-path", flags.embeddings);
  return embeddings;
}

}  // namespace

Evaluator::Evaluator(const EvalFlags& flags, const ModelFlags& model_flags, models::ClipModel& model) {
  const auto& vision = model.config().vision;
  if (flags.image_size % vision.patch_size != 0) {
    throw Error({.doing = "--det-image-size",
                 .where = std::to_string(flags.image_size),
                 .found = "no multiple of the patch size",
                 .expected = "a multiple of " + std::to_string(vision.patch_size)});
  }
  const int factor = flags.downsample_factor > 0 ? flags.downsample_factor : vision.patch_size;
  if (flags.image_size / factor != flags.image_size / vision.patch_size) {
    throw Error({.doing = "--downsample-factor",
                 .where = std::to_string(factor),
                 .found = "another grid than the dense map's",
                 .expected = "the patch size " + std::to_string(vision.patch_size)});
  }
  require_file(flags.data, "--val-data");
  require_folder(flags.image_root, "--val-image-root");
  const auto segmentation =
      flags.segmentation_root.empty() ? fs::path(flags.data).replace_extension() : fs::path(flags.segmentation_root);
  require_folder(segmentation, "--val-segm-root");
  auto index = datasets::read_coco_panoptic(flags.data);
  const auto embeddings = evaluation_embeddings(flags, model_flags, model);
  embeddings_ = embeddings.rows;
  if (embeddings_.size(0) < static_cast<std::int64_t>(index.categories.size())) {
    const bool from_names = flags.embeddings.empty();
    throw Error({.doing = from_names ? "--class-names" : "--embed-path",
                 .where = from_names ? flags.classes.names : flags.embeddings,
                 .found = c10::str(embeddings_.size(0), " rows"),
                 .expected = c10::str("one for each of the ", index.categories.size(), " categories")});
  }
  datasets::PanopticOptions options;
  options.image_size = flags.image_size;
  options.crop_size = vision.image_size;
  options.downsample_factor = factor;
  options.mask_rule =
      flags.mask_rule == "bicubic" ? datasets::MaskRule::kBicubic : datasets::MaskRule::kBicubicAntialias;
  data_ = std::make_unique<datasets::PanopticDataset>(std::move(index), flags.image_root, segmentation, options);
  options_.workers = flags.workers;
  options_.image_average_pool = flags.image_average_pool;
  options_.half_precision_means = flags.half_precision_means;
}

evaluation::ZeroShotResult Evaluator::run(models::ClipModel& model, const std::function<bool()>& interrupted) const {
  Progress bar("evaluating", data_->size());
  auto options = options_;
  options.progress = [&](std::int64_t done, std::int64_t) {
    bar.update(done);
    if (interrupted && interrupted()) throw Interrupted{};
  };
  return evaluation::evaluate_zero_shot(model, *data_, embeddings_, options);
}

std::string under(const std::string& root, const std::string& path) {
  if (root.empty() || path.empty() || fs::path(path).is_absolute()) return path;
  return (fs::path(root) / path).string();
}

std::vector<std::string> expand_config(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> result;
  CLI::App* command = nullptr;
  std::size_t insert_at = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    if (command == nullptr) {
      result.push_back(argument);
      for (auto* each : app.get_subcommands([](const CLI::App*) { return true; })) {
        if (each->get_name() == argument) command = each;
      }
      insert_at = result.size();
      continue;
    }
    std::string file;
    if (argument == "--config" && i + 1 < arguments.size()) {
      file = arguments[++i];
    } else if (argument.starts_with("--config=")) {
      file = argument.substr(9);
    } else {
      result.push_back(argument);
      continue;
    }
    require_file(file, "--config");
    std::ifstream stream(file);
    std::vector<CLI::ConfigItem> items;
    try {
      items = CLI::ConfigTOML().from_config(stream);
    } catch (const CLI::Error& error) {
      throw Error(
          {.doing = "reading configuration", .where = file, .found = error.what(), .expected = "TOML: key = value"});
    }
    std::vector<std::string> settings;
    for (const auto& item : items) {
      auto name = item.name;
      for (auto& c : name) c = c == '_' ? '-' : c;
      const auto* option = command->get_option_no_throw("--" + name);
      if (!item.parents.empty() || option == nullptr || name == "config") {
        throw Error({.doing = "reading configuration",
                     .where = file,
                     .found = "key '" + item.fullname() + "'",
                     .expected = "a flag of 'clipself " + command->get_name() + "' without its dashes"});
      }
      for (const auto& input : item.inputs) {
        settings.push_back("--" + name + "=" + input);
      }
    }
    // Before every flag of the command line, so that those have the last word.
    result.insert(result.begin() + static_cast<std::ptrdiff_t>(insert_at), settings.begin(), settings.end());
    insert_at += settings.size();
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> settings_of(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const auto* option : command.get_options()) {
    const auto name = option->get_single_name();
    if (name == "help" || name == "config") continue;
    std::string value;
    for (const auto& part : option->results()) value += (value.empty() ? "" : " ") + part;
    if (option->count() == 0) value = option->get_expected_max() == 0 ? "false" : option->get_default_str();
    settings.emplace_back(name, value);
  }
  return settings;
}

std::string settings_table(const std::vector<std::pair<std::string, std::string>>& settings) {
  std::size_t width = 0;
  for (const auto& [name, value] : settings) width = std::max(width, name.size());
  std::string table;
  for (const auto& [name, value] : settings)
    table += fmt::format("  {:<{}}  {}\n", name, width, value.empty() ? "-" : value);
  return table;
}

std::string settings_json(const std::vector<std::pair<std::string, std::string>>& settings) {
  nlohmann::ordered_json out;
  for (const auto& [name, value] : settings) out[name] = value;
  return out.dump();
}

double peak_memory() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

}  // namespace clipself::cli
