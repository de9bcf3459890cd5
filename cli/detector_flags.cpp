#include "cli/detector_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/class_names.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/formats/state_dict.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kBeside = "detector.json";
constexpr const char* kConfigBeside = "open_clip_config.json";
/// Flags that describe a detector rather than its use on a machine: they stand in detector.json.
const std::set<std::string> kDescription{"model",
                                         "image-size",
                                         "taps",
                                         "head-channels",
                                         "proposals",
                                         "anchor-scale",
                                         "rpn-norm",
                                         "masks",
                                         "temperature",
                                         "alpha",
                                         "beta",
                                         "dense-temperature",
                                         "background-weight",
                                         "pixel-stats",
                                         "score-threshold",
                                         "nms-iou",
                                         "max-per-image",
                                         "mask-threshold",
                                         "roi-low-quality"};

/// Gives the options that the command line left alone the values of `settings`.
void fill_options(const CLI::App& command, const Json& settings, const std::string& source) {
  for (const auto& [name, value] : settings.items()) {
    auto* option = const_cast<CLI::Option*>(command.get_option_no_throw("--" + name));  // NOLINT: ours
    if (option == nullptr || option->count() > 0 || !value.is_string() || value.get<std::string>().empty()) continue;
    try {
      option->add_result(value.get<std::string>());
      option->run_callback();
    } catch (const CLI::Error& error) {
      throw Error({.doing = "reading what describes a detector", .where = source, .found = error.what()});
    }
  }
}

}  // namespace

std::optional<DetectorDescription> read_beside(const fs::path& detector) {
  const fs::path file = detector.parent_path() / kBeside;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  std::string key;
  try {
    auto document = Json::parse(read_text(file));
    const auto field = [&](const char* name) -> Json& {
      key = name;
      return document.at(name);
    };
    DetectorDescription beside;
    beside.settings = field("settings");
    if (beside.settings.value("model", "") == kConfigBeside)
      beside.settings["model"] = (detector.parent_path() / kConfigBeside).string();
    beside.names = field("classes").get<std::vector<std::string>>();
    beside.base = field("base").get<std::vector<std::string>>();
    beside.pixels = {.mean = field("mean").get<std::array<float, 3>>(),
                     .std = field("std").get<std::array<float, 3>>()};
    return beside;
  } catch (const nlohmann::json::exception&) {
    throw Error({.doing = "reading what describes a detector",
                 .where = file.string(),
                 .found = key.empty() ? "no JSON" : "no \"" + key + "\", or another kind of value there",
                 .expected = "\"settings\", \"classes\", \"base\", \"mean\" and \"std\", as training wrote them"});
  }
}

std::vector<std::string> LoadedDetector::names(bool base) const {
  const auto& classes = detector->box_head().classes();
  std::vector<std::string> result;
  for (std::size_t i = 0; i < classes.names.size(); ++i)
    if (classes.is_base[i] == base) result.push_back(classes.names[i]);
  return result;
}

void DetectorFlags::add_to(CLI::App& app) {
  const auto part = CLI::Range(0.0, 1.0);
  model.add_to(app);
  app.get_option("--pretrained")->required(false);
  app.add_option("--image-size", image_size, "Side of the square that pictures are fitted into, in pixels")
      ->capture_default_str()
      ->check(CLI::Range(16, 1 << 14));
  app.add_option("--taps", taps, "The four blocks of the tower that feed the pyramid, counted from 0")
      ->capture_default_str();
  app.add_option("--pixel-stats", pixels, "Normalise pixels by imagenet's statistics, as published, or the model's own")
      ->capture_default_str()
      ->check(CLI::IsMember({"imagenet", "model"}));
  app.add_option("--head-channels", config.channels, "Channels of pyramid and heads")
      ->capture_default_str()
      ->check(CLI::Range(8, 4096));
  app.add_option("--anchor-scale", config.anchor_scale, "Side of the anchors in places of their level")
      ->capture_default_str()
      ->check(above_zero());
  app.add_option("--proposals", config.proposals.count,
                 "Boxes of the proposal network that the heads look at, a picture")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app.add_option("--roi-samples", config.roi_sample.count, "Boxes of a picture that the heads are trained on")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app.add_flag("--rpn-norm", config.rpn_norm, "Batch norms in the proposal network (OV-LVIS)");
  app.add_flag("--masks", config.masks, "Also masks");
  app.add_flag("--roi-low-quality", config.roi_assign.low_quality,
               "An object's best boxes are its own from IoU 0.5 on even where another object has more (OV-LVIS)");
  app.add_option("--temperature", config.temperature, "Logits of the box head: cosine times this; learned from here on")
      ->capture_default_str()
      ->check(above_zero());
  app.add_option("--background-weight", config.background_weight, "Of background in the class loss")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--dense-temperature", config.fusion.dense_temperature,
                 "Logits of the tower's own dense features: cosine times this")
      ->capture_default_str()
      ->check(above_zero());
  app.add_option("--alpha", config.fusion.alpha, "Weight of the dense features' probability for base classes")
      ->capture_default_str()
      ->check(part);
  app.add_option("--beta", config.fusion.beta, "The same for novel classes")->capture_default_str()->check(part);
  app.add_option("--score-threshold", config.selection.score_threshold, "Detections score more than this")
      ->capture_default_str()
      ->check(part);
  app.add_option("--nms-iou", config.selection.iou_threshold, "Of a class, boxes that overlap a better one by more go")
      ->capture_default_str()
      ->check(part);
  app.add_option("--max-per-image", config.selection.most, "Detections of a picture at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app.add_option("--mask-threshold", config.selection.mask_threshold, "Probability from which a pixel is a mask's")
      ->capture_default_str()
      ->check(part);
  app.add_option("--class-names", classes,
                 "The classes in the order of the embeddings: a known list (ov_coco), names or a file (default: the "
                 "categories of the annotations)");
  app.add_option("--base-classes", base,
                 "Those seen in training (default: the classes that the training data shows); the others are novel");
  app.add_option("--embed-path", embeddings,
                 "Embeddings of the classes and of \"background\" by name, from 'clipself embed-text --background' or "
                 "F-ViT's .pt (default: the model's own text tower)");
  app.add_option("--data-root", data_root, "Put in front of every relative data path");
  app.add_option("--templates", templates, "Prompts of the text tower: single, vild, openai or a file")
      ->capture_default_str();
}

void DetectorFlags::add_detector_to(CLI::App& app) {
  app.add_option("--detector", detector, "A trained detector: a checkpoint of 'detect train', or F-ViT's .pth")
      ->required();
  app.add_flag("--transfer", transfer,
               "Use it for other classes than it was trained for: a fixed --temperature, no masks, --alpha for all");
}

const formats::TensorDict& DetectorFlags::tensors() {
  if (!tensors_) {
    require_file(detector, "--detector");
    tensors_ = formats::read_state_dict(detector).tensors;
  }
  return *tensors_;
}

bool DetectorFlags::has_masks() {
  return !transfer && detection::has_masks(tensors());
}

void DetectorFlags::finish_config(const models::ClipConfig& clip) {
  require_finite({{"--anchor-scale", config.anchor_scale},
                  {"--temperature", config.temperature},
                  {"--background-weight", config.background_weight},
                  {"--dense-temperature", config.fusion.dense_temperature},
                  {"--alpha", config.fusion.alpha},
                  {"--beta", config.fusion.beta},
                  {"--score-threshold", config.selection.score_threshold},
                  {"--nms-iou", config.selection.iou_threshold},
                  {"--mask-threshold", config.selection.mask_threshold}});
  config.taps.clear();
  for (const auto tap : parse_numbers(taps, "--taps")) {
    if (tap >= clip.vision.layers)
      throw Error({.doing = "--taps",
                   .where = taps,
                   .found = fmt::format("block {}", tap),
                   .expected = fmt::format("four blocks of {}, 0 to {}", clip.name, clip.vision.layers - 1)});
    config.taps.push_back(static_cast<int>(tap));
  }
  if (config.taps.size() != 4 || !std::ranges::is_sorted(config.taps, std::less_equal<>()))
    throw Error({.doing = "--taps", .where = taps, .found = "no four rising numbers", .expected = "such as 3,5,7,11"});
  if (image_size % clip.vision.patch_size != 0)
    throw Error({.doing = "--image-size",
                 .where = std::to_string(image_size),
                 .found = "no multiple of the patch size",
                 .expected = fmt::format("a multiple of {}", clip.vision.patch_size)});
  config.fc_width = clip.embed_dim;
  config.fixed_temperature = transfer;
}

models::PixelStatistics DetectorFlags::statistics(const models::ClipConfig& clip) const {
  return pixels == "model" ? clip.pixels : detection::kImageNetPixels;
}

detection::DetectionClasses DetectorFlags::classes_of(const std::vector<std::string>& names,
                                                      const std::vector<std::string>& base_names,
                                                      models::ClipModel* clip, const at::Tensor& background) const {
  models::ClassEmbeddings rows;
  std::string source = "--class-names";
  if (!embeddings.empty()) {
    source = under(data_root, embeddings);
    require_file(source, "--embed-path");
    rows = models::read_class_embeddings(source);
    if (const int width = models::model_config(model.model).embed_dim; rows.rows.size(1) != width)
      throw Error({.doing = "--embed-path",
                   .where = source,
                   .found = fmt::format("embeddings of width {}", rows.rows.size(1)),
                   .expected = fmt::format("{}, the width of {}", width, model.model)});
    if (rows.names.empty() && rows.rows.size(0) == std::ssize(names) + 1) {
      spdlog::warn("{} does not name its rows: they are taken for the classes in order, the last for background",
                   source);
      rows.names = names;
      rows.names.emplace_back("background");
    }
  } else {
    auto wanted = names;
    if (!background.defined()) wanted.emplace_back("background");
    rows = embed_names(wanted, templates, model, *clip);
  }
  if (background.defined() && background.size(0) == rows.rows.size(1) && !rows.names.empty() &&
      std::ranges::find(rows.names, "background") == rows.names.end()) {
    rows.rows = at::cat({rows.rows.to(at::kFloat), background.unsqueeze(0)});
    rows.names.emplace_back("background");
  }
  return detection::make_classes(rows, names, base_names, source);
}

LoadedDetector DetectorFlags::make(const std::vector<std::string>& names, const std::vector<std::string>& base_names) {
  const auto type = parse_precision(model.precision);
  finish_config(models::model_config(model.model));
  const auto clip = model.load(/*with_text=*/embeddings.empty());
  LoadedDetector made{
      .detector = nullptr, .clip = clip->config(), .pixels = statistics(clip->config()), .image_size = image_size};
  made.detector =
      std::make_shared<detection::Detector>(clip->config(), config, classes_of(names, base_names, clip.get(), {}));
  const at::NoGradGuard no_grad;
  const auto tower = clip->visual().named_parameters();
  for (const auto& item : made.detector->tower().named_parameters()) item.value().copy_(tower[item.key()]);
  const auto buffers = clip->visual().named_buffers();
  for (const auto& item : made.detector->tower().named_buffers()) item.value().copy_(buffers[item.key()]);
  made.detector->to(parse_device(model.device));
  made.detector->tower().set_compute_type(type);
  return made;
}

LoadedDetector DetectorFlags::load(const CLI::App& command, const std::vector<std::string>& names,
                                   const std::vector<std::string>& other_names) {
  const bool made_for_masks = has_masks();
  const auto tensors = this->tensors();
  tensors_.reset();  // a detector is loaded once
  const std::int64_t vocabulary = detection::vocabulary_of(tensors);
  if (vocabulary <= 0)
    throw Error({.doing = "--detector",
                 .where = detector,
                 .found = "weights without class embeddings",
                 .expected = "a detector, of 'clipself detect train' or F-ViT's"});
  const auto beside = read_beside(detector);
  if (!beside) spdlog::warn("no {} beside {}: flags and their defaults say what it is", kBeside, detector);
  if (command.count("--masks") > 0 && config.masks && !made_for_masks)
    throw Error({.doing = "--masks",
                 .where = detector,
                 .found = transfer ? "a transfer, which has none" : "a detector without masks",
                 .expected = "one trained with --masks"});
  if (beside) fill_options(command, beside->settings, (fs::path(detector).parent_path() / kBeside).string());
  const auto type = parse_precision(model.precision);
  const auto device = parse_device(model.device);
  if (model.threads > 0) at::set_num_threads(model.threads);
  const auto clip = models::model_config(model.model);
  finish_config(clip);
  config.masks = made_for_masks;
  config.rpn_norm = std::ranges::any_of(tensors, [](const auto& item) {
    return item.key().starts_with("rpn_head.") && item.key().ends_with("running_mean");
  });

  auto own_names = !classes.empty() ? parse_names(classes, "--class-names") : beside ? beside->names : names;
  if (own_names.empty() && !names_matter)
    for (std::int64_t i = 0; i < vocabulary; ++i) own_names.push_back("class " + std::to_string(i));
  const auto& wanted = other_names.empty() ? own_names : other_names;
  auto base_names = !base.empty() ? parse_names(base, "--base-classes") : beside ? beside->base : own_names;
  const bool own_rows = embeddings.empty() && other_names.empty() && !transfer;
  // Rows are named in the order of the training data's categories, which need not be that of the flag.
  if (own_rows && beside && !classes.empty()) {
    if (!std::ranges::is_permutation(own_names, beside->names))
      throw Error({.doing = "--class-names",
                   .where = detector,
                   .found = "other classes than it was trained for",
                   .expected = "those, or --embed-path to use it for others"});
    own_names = beside->names;
  }
  if (!beside && base.empty() && !transfer && names_matter)
    spdlog::warn("--base-classes is not given: every class counts as seen in training");
  if (own_rows && std::ssize(own_names) != vocabulary)
    throw Error({.doing = "--class-names",
                 .where = detector,
                 .found = fmt::format("a detector of {} for {}", counted(vocabulary, "class", "classes"),
                                      counted(std::ssize(own_names), "name")),
                 .expected = "its own names in order, or --embed-path (or --pretrained) to use it for others"});
  const auto own = tensors.find("roi_head.bbox_head.all_embeddings")->to(at::kFloat).t().contiguous();
  detection::DetectionClasses found;
  if (own_rows) {
    found = detection::make_classes({.rows = own,
                                     .names =
                                         [&] {
                                           auto all = own_names;
                                           all.emplace_back("background");
                                           return all;
                                         }(),
                                     .model = {}},
                                    own_names, base_names, detector);
  } else {
    // A class it was trained for is still one; all others are new to it.
    if (base.empty() || !other_names.empty())
      std::erase_if(base_names, [&](const auto& name) { return std::ranges::find(wanted, name) == wanted.end(); });
    std::shared_ptr<models::ClipModel> text;
    if (embeddings.empty()) {
      if (model.pretrained.empty())
        throw Error({.doing = "naming other classes than the detector's",
                     .found = "neither --embed-path nor --pretrained",
                     .expected = "embeddings of them and of \"background\", or the CLIP whose text tower makes them"});
      text = model.load(/*with_text=*/true);
    }
    found = classes_of(wanted, base_names.empty() ? std::vector<std::string>{} : base_names, text.get(),
                       own.select(0, vocabulary));
    if (base_names.empty()) found.is_base.assign(found.names.size(), transfer);
  }
  if (transfer) config.fusion.beta = config.fusion.alpha;
  LoadedDetector made{.detector = nullptr,
                      .clip = clip,
                      .pixels = beside ? beside->pixels : statistics(clip),
                      .image_size = image_size};
  made.detector = std::make_shared<detection::Detector>(clip, config, std::move(found));
  detection::load_detector(*made.detector, tensors, detector, !own_rows);
  spdlog::info("detector {}: {}, {} of them novel{}", detector, counted(std::ssize(wanted), "class", "classes"),
               made.names(false).size(), config.masks ? ", with masks" : "");
  made.detector->to(device);
  made.detector->tower().set_compute_type(type);
  return made;
}

void DetectorFlags::save_beside(const fs::path& folder, const CLI::App& command, const LoadedDetector& made) const {
  Json settings = Json::object();
  for (const auto& [name, value] : settings_of(command))
    if (kDescription.contains(name)) settings[name] = value;
  // A model's configuration file may lie elsewhere tomorrow.
  if (fs::path(model.model).extension() == ".json") {
    write_text(folder / kConfigBeside, models::config_json(made.clip));
    settings["model"] = kConfigBeside;
  }
  const Json document = {{"settings", settings},
                         {"classes", made.names()},
                         {"base", made.names(true)},
                         {"mean", made.pixels.mean},
                         {"std", made.pixels.std}};
  write_text(folder / kBeside, document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace clipself::cli
