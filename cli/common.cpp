#include "cli/common.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "cli/class_names.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/class_lists.h"
#include "clipself/datasets/dataset.h"
#include "clipself/formats/fingerprint.h"
#include "clipself/models/config_beside.h"
#include "clipself/models/weights.h"

namespace clipself::cli {
namespace fs = std::filesystem;

namespace {

CLI::Validator number_that(const char* what, bool (*fits)(double)) {
  return {[=](std::string& text) {
            double value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool number = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
            return number && fits(value) ? std::string() : fmt::format("'{}' is not {}", text, what);
          },
          ""};
}

}  // namespace

CLI::Validator not_negative() {
  return number_that("a number of at least 0", [](double value) { return value >= 0; });
}

CLI::Validator above_zero() {
  return number_that("a number above 0", [](double value) { return value > 0; });
}

CLI::Validator part_below_one() {
  return number_that("a number from 0 up to, not including, 1", [](double value) { return value >= 0 && value < 1; });
}

void require_finite(std::initializer_list<std::pair<const char*, double>> flags) {
  for (const auto& [name, value] : flags) {
    if (!std::isfinite(value))
      throw Error({.doing = name, .found = fmt::format("{}", value), .expected = "a finite number"});
  }
}

std::vector<std::int64_t> parse_numbers(const std::string& text, const std::string& flag) {
  std::vector<std::int64_t> numbers;
  std::stringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    word.erase(std::remove(word.begin(), word.end(), ' '), word.end());
    const bool digits = std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
    if (word.empty() || !digits || word.size() > 9)
      throw Error(
          {.doing = flag, .where = text, .found = "'" + word + "'", .expected = "whole numbers between commas"});
    numbers.push_back(std::stoll(word));
  }
  return numbers;
}

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

models::BoxFeature parse_extract_type(const std::string& name, const models::ClipConfig& config) {
  if (name == "v2") return models::BoxFeature::kRoiAlign;
  if (config.vision.backbone == "vit") return models::BoxFeature::kMaskAttention;
  throw Error({.doing = "--extract-type",
               .where = name,
               .found = "a backbone '" + config.vision.backbone + "', which has no such feature",
               .expected = "v2, or a plain CLIP ViT"});
}

at::Device parse_device(const std::string& name) {
  const int count = torch::cuda::is_available() ? static_cast<int>(torch::cuda::device_count()) : 0;
  if (name == "cpu" || (name == "auto" && count == 0)) return at::Device(at::kCPU);
  if (name == "auto" || name == "cuda") {
    // Each process of a machine has a device of its own, as far as they go.
    const auto place = distributed::find_place();
    if (count > 0) return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(place ? place->local_rank % count : 0));
  } else if (!name.starts_with("cuda:")) {
    throw Error(
        {.doing = "--device", .where = name, .found = "an unknown device", .expected = "auto, cpu, cuda or cuda:N"});
  }
  int index = 0;
  const char* const first = name.data() + std::min<std::size_t>(5, name.size());
  const char* const last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, index);
  if (count == 0 || error != std::errc() || end != last || index < 0 || index >= count) {
    throw Error({.doing = "--device",
                 .where = name,
                 .found = fmt::format("{} CUDA devices", count),
                 .expected = "one of them by its number",
                 .hint = count > 0                  ? ""
                         : at::Context::hasCUDART() ? "this LibTorch is built for CUDA: does nvidia-smi show a device?"
                                                    : "this LibTorch is built for processors alone"});
  }
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
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
  app.add_option("--seed", seed, "Seed of everything random")->capture_default_str()->check(not_negative());
}

std::shared_ptr<models::ClipModel> ModelFlags::load(bool with_text) const {
  auto config = models::model_config(model);
  const auto target = parse_device(device);
  parse_precision(precision);
  if (threads > 0) at::set_num_threads(threads);
  if (pretrained.empty())
    throw Error({.doing = "--pretrained", .found = "no weights", .expected = "a file, or 'none' for random ones"});
  if (pretrained != "none") require_file(pretrained, "--pretrained");
  // A name does not tell all: weights of one architecture are published with more than one preprocessing.
  if (pretrained != "none" && fs::path(model).extension() != ".json")
    if (const auto file = models::take_preprocessing(config, pretrained))
      spdlog::info("preprocessing by {}: mean {:g}, std {:g}, {}", file->string(), fmt::join(config.pixels.mean, " "),
                   fmt::join(config.pixels.std, " "), config.squash ? "images stretched" : "images cropped");
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
    if (report.text_missing) {
      // Not a random one either: it would be saved with the rest and then pass for a trained one.
      spdlog::warn("{} has no text tower: the model goes without", pretrained);
      auto without_text = std::make_shared<models::ClipModel>(config, /*with_text=*/false);
      models::load_weights(*without_text, result->state(), pretrained);
      result = std::move(without_text);
    }
  }
  result->to(target);
  return result;
}

void EvalFlags::add_to(CLI::App& app, bool required) {
  auto* annotations = app.add_option("--val-data", data, "COCO panoptic JSON to evaluate on");
  app.add_option("--val-image-root", image_root, "Folder of its images");
  app.add_option("--val-segm-root", segmentation_root,
                 "Folder of its panoptic PNGs (default: the JSON's path without .json)");
  app.add_option(
      "--embed-path", embeddings,
      "Class embeddings (.npy, .safetensors or .pt), one row a category: by name where the file names its rows, "
      "else by category id");
  app.add_option(
      "--class-names", classes.names,
      "In place of --embed-path: embed these names with the model's text tower (a known list or a file); the "
      "categories' own, or other words for them by category id");
  app.add_option("--templates", classes.templates,
                 "Prompts of names that the model embeds: single, vild, openai or a file")
      ->capture_default_str();
  app.add_option("--det-image-size", image_size, "Longer side of an image, in pixels; images are padded to this square")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  app.add_option("--downsample-factor", downsample_factor,
                 "Pixels a token of the dense map (0: the model's patch size)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 10));
  app.add_option("--workers", workers, "Threads that load images")->capture_default_str()->check(CLI::Range(0, 256));
  app.add_option(
         "--extract-type", extract_type,
         "Where the feature of a box (or mask) comes from: v2, RoIAlign on the dense map (or its mean over the mask), "
         "or v1, attention over its patches (plain CLIP ViTs only)")
      ->capture_default_str()
      ->check(CLI::IsMember({"v1", "v2"}));
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
  auto tokenizer = models::find_tokenizer(model.config(), flags.tokenizer, beside);
  if (const int rows = model.text().config().vocab_size; tokenizer->vocab_size() < rows)
    spdlog::warn("the vocabulary has {} tokens, the text tower of {} is made for {}: is it this model's?",
                 tokenizer->vocab_size(), model.config().name, rows);
  return tokenizer;
}

models::ClassEmbeddings embed_names(std::span<const std::string> names, const std::string& templates,
                                    const ModelFlags& model_flags, models::ClipModel& model) {
  const auto prompts = models::prompt_templates(templates);
  const auto tokenizer = tokenizer_of(model_flags, model);
  std::set<std::string_view> seen;
  for (const auto& name : names)
    if (!seen.insert(name).second) spdlog::warn("the name '{}' stands twice: its rows will be equal", name);
  Progress bar("embedding classes", static_cast<std::int64_t>(names.size()));
  return models::embed_classes(model, *tokenizer, names, prompts,
                               [&](std::int64_t done, std::int64_t) { bar.update(done); });
}

namespace {

at::Tensor evaluation_embeddings(const EvalFlags& flags, const ModelFlags& model_flags, models::ClipModel& model,
                                 const datasets::AnnotationIndex& data) {
  const auto& names = flags.classes.names;
  if (!names.empty()) {
    if (!flags.embeddings.empty()) {
      throw Error(
          {.doing = "--class-names", .where = names, .found = "--embed-path as well", .expected = "one of the two"});
    }
    auto embeddings =
        embed_names(datasets::class_list(names, "--class-names"), flags.classes.templates, model_flags, model);
    const auto& made = embeddings.names;
    const auto missing = [&](const datasets::Category& category) {
      return std::find(made.begin(), made.end(), category.name) == made.end();
    };
    // Other words for the categories, in their order.
    if (std::any_of(data.categories.begin(), data.categories.end(), missing)) embeddings.names.clear();
    return rows_of_categories(std::move(embeddings), data, "--class-names", names);
  }
  if (flags.embeddings.empty())
    throw Error({.doing = "choosing class embeddings", .found = "none", .expected = "--embed-path or --class-names"});
  require_file(flags.embeddings, "--embed-path");
  auto embeddings = models::read_class_embeddings(flags.embeddings);
  models::require_embeddings_of(embeddings, model, "--embed-path", flags.embeddings);
  return rows_of_categories(std::move(embeddings), data, "--embed-path", flags.embeddings);
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
  auto index = datasets::read_coco_panoptic(flags.data);
  require_folder(segmentation, flags.segmentation_root.empty() ? "--val-segm-root (by default, beside --val-data)"
                                                               : "--val-segm-root");
  embeddings_ = evaluation_embeddings(flags, model_flags, model, index);
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
  options_.box_feature = parse_extract_type(flags.extract_type, model.config());
}

evaluation::ZeroShotResult Evaluator::run(models::ClipModel& model, const std::function<bool()>& interrupted,
                                          const std::shared_ptr<distributed::Processes>& processes) const {
  if (processes) {
    formats::TensorDict embeddings;
    embeddings.insert("embeddings", embeddings_);
    processes->check_equal("images of --val-data", datasets::fingerprint_of(data_->index()));
    processes->check_equal("class embeddings", formats::fingerprint(embeddings));
  }
  Progress bar("evaluating", data_->size());
  auto options = options_;
  options.progress = [&](std::int64_t done, std::int64_t total) { bar.update(done * data_->size() / total); };
  options.interrupted = interrupted;
  options.processes = processes;
  return evaluation::evaluate_zero_shot(model, *data_, embeddings_, options);
}

std::string under(const std::string& root, const std::string& path) {
  if (root.empty() || path.empty() || fs::path(path).is_absolute()) return path;
  return (fs::path(root) / path).string();
}

std::vector<std::string> expand_config(CLI::App& app, std::vector<std::string> arguments) {
  const auto find_command = [](CLI::App& parent, const std::string& name) -> CLI::App* {
    for (auto* each : parent.get_subcommands([](const CLI::App*) { return true; }))
      if (each->get_name() == name) return each;
    return nullptr;
  };
  std::vector<std::string> result;
  CLI::App *command = nullptr, *group = nullptr;
  std::size_t insert_at = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    // A command, or right behind it one of its own.
    auto* found = insert_at == result.size() ? find_command(command == nullptr ? app : *command, argument) : nullptr;
    if (found != nullptr || command == nullptr) {
      if (found != nullptr) group = std::exchange(command, found);
      result.push_back(argument);
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
      // One file serves all commands of a group.
      const bool of_sibling =
          option == nullptr && group != nullptr &&
          std::ranges::any_of(group->get_subcommands([](const CLI::App*) { return true; }),
                              [&](const auto* each) { return each->get_option_no_throw("--" + name) != nullptr; });
      if (of_sibling && item.parents.empty()) continue;
      if (!item.parents.empty() || option == nullptr || name == "config") {
        throw Error({.doing = "reading configuration",
                     .where = file,
                     .found = "key '" + item.fullname() + "'",
                     .expected = "a flag of 'clipself " + (group != nullptr ? group->get_name() + " " : "") +
                                 command->get_name() + "' without its dashes"});
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

Settings settings_of(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const auto* option : command.get_options()) {
    const auto name = option->get_single_name();
    if (name == "help" || name == "config") continue;
    std::string value;
    for (const auto& part : option->reduced_results()) value += (value.empty() ? "" : " ") + part;
    if (option->count() == 0) value = option->get_expected_max() == 0 ? "false" : option->get_default_str();
    settings.emplace_back(name, value);
  }
  return settings;
}

std::string settings_table(const Settings& settings) {
  std::size_t width = 0;
  for (const auto& [name, value] : settings) width = std::max(width, name.size());
  std::string table;
  for (const auto& [name, value] : settings)
    table += fmt::format("  {:<{}}  {}\n", name, width, value.empty() ? "-" : value);
  return table;
}

std::string settings_json(const Settings& settings) {
  nlohmann::ordered_json out;
  for (const auto& [name, value] : settings) out[name] = value;
  return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);  // names may be any bytes
}

std::string failure_message(const std::exception& error) {
  const std::string text = error.what();
  // What LibTorch's allocator throws is no std::bad_alloc.
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || text.find("t allocate memory") != std::string::npos)
    return "out of memory (hint: a smaller --batch-size, fewer --workers or --grad-checkpointing need less)";
  return "internal: " + first_line(text);
}

double peak_memory() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
}

}  // namespace clipself::cli
