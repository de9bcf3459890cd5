// clipself classify: names for pictures, or for boxes in them by their place in the dense map and by their crop.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/box_file.h"
#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/pictures.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/datasets/regions.h"
#include "clipself/datasets/transforms.h"
#include "clipself/evaluation/features.h"
#include "clipself/evaluation/image_level.h"
#include "clipself/visualization/dense_view.h"
#include "clipself/visualization/overlays.h"
#include "clipself/visualization/sheet.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
namespace vis = visualization;
using Json = nlohmann::ordered_json;

struct ClassifyFlags {
  ModelFlags model;
  NamesFlags classes;
  std::vector<std::string> images;
  std::string boxes, out;
  int image_size = 1024, top = 5;
  double crop_scale = 1.5;
  bool json = false;
};

struct Guess {
  std::string name;
  double similarity = 0, probability = 0;
};
using Guesses = std::vector<Guess>;  ///< the best first

Json json_of(const Guesses& guesses) {
  Json list = Json::array();
  for (const Guess& guess : guesses)
    list.push_back({{"name", guess.name}, {"similarity", guess.similarity}, {"probability", guess.probability}});
  return list;
}

std::string text_of(const Guesses& guesses) {
  std::string text;
  for (const Guess& guess : guesses)
    text += fmt::format("{}{} {:.0f} % ({:.2f})", text.empty() ? "" : ", ", guess.name, 100 * guess.probability,
                        guess.similarity);
  return text;
}

class Classifier {
 public:
  Classifier(const ClassifyFlags& flags, models::ClipModel& model, models::ClassEmbeddings classes)
      : flags_(flags), model_(model), classes_(std::move(classes)) {}

  Guesses whole(const fs::path& file) const {
    return guesses(evaluation::encode_images(model_, {&file, 1}, {.workers = 0}))[0];
  }

  /// By the dense map, then by the crops.
  std::array<std::vector<Guesses>, 2> boxes(const formats::Image& picture, const std::vector<ops::Box>& list) const {
    const at::NoGradGuard no_grad;
    const double scale = datasets::longest_scale(picture.width, picture.height, flags_.image_size);
    const int size = model_.visual().image_size();
    const at::Device device = model_.logit_scale().device();
    at::Tensor places = at::empty({static_cast<std::int64_t>(list.size()), 4});
    std::vector<at::Tensor> crops, features;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto row = datasets::normalized_box(list[i], scale, flags_.image_size);
      places[static_cast<std::int64_t>(i)] = at::tensor(at::ArrayRef<float>(row));
      const ops::Box crop = datasets::enlarged_crop(list[i], flags_.crop_scale, picture.width, picture.height);
      crops.push_back(datasets::to_tensor(datasets::crop_and_resize(picture, crop, size)));
    }
    const at::Tensor square = vis::dense_square(model_, picture, flags_.image_size);
    const at::Tensor dense =
        evaluation::unit_features(models::pool_boxes(square, {places.to(device)}), "encoding boxes");
    constexpr std::int64_t kCropsAtOnce = 32;
    for (const at::Tensor& batch : at::stack(crops).split(kCropsAtOnce)) {
      const at::Tensor embedded = model_.encode_image(datasets::model_input(model_, batch));
      features.push_back(evaluation::unit_features(embedded, "encoding crops"));
    }
    return {guesses(dense), guesses(at::cat(features))};
  }

 private:
  std::vector<Guesses> guesses(const at::Tensor& features) const {
    const at::Tensor cosine = features.matmul(classes_.rows.t());
    const double scale = std::exp(model_.logit_scale().to(at::kDouble).item<double>());
    const at::Tensor probability = at::softmax(cosine.to(at::kDouble) * scale, 1);
    const auto [sorted, order] = cosine.sort(/*stable=*/true, 1, /*descending=*/true);
    std::vector<Guesses> all;
    for (std::int64_t row = 0; row < features.size(0); ++row) {
      Guesses& best = all.emplace_back();
      for (std::int64_t i = 0; i < std::min<std::int64_t>(flags_.top, cosine.size(1)); ++i) {
        const auto label = order[row][i].item<std::int64_t>();
        best.push_back({classes_.names[static_cast<std::size_t>(label)], sorted[row][i].item<float>(),
                        probability[row][label].item<double>()});
      }
    }
    return all;
  }

  const ClassifyFlags& flags_;
  models::ClipModel& model_;
  models::ClassEmbeddings classes_;
};

/// Result of one picture: for programs, for people, and to look at.
struct Classified {
  Json json;
  std::string table;
  vis::Sheet sheet;
};

std::string head_of(const fs::path& file, const formats::Image& picture) {
  return fmt::format("{}  {} x {}", file.string(), picture.width, picture.height);
}

Classified classify_whole(const Classifier& classifier, const fs::path& file) {
  const formats::Image picture = read_rgb(file);
  const Guesses guesses = classifier.whole(file);
  Classified result;
  result.json = {{"image", file.string()}, {"width", picture.width}, {"height", picture.height}};
  result.json["top"] = json_of(guesses);
  result.table = head_of(file, picture) + "\n";
  result.sheet.title = file.filename().string();
  result.sheet.panels.push_back({"", enlarged_to_see(picture)});
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const Guess& guess = guesses[i];
    result.table += fmt::format("  {:>5.1f} %  {:.3f}  {}\n", 100 * guess.probability, guess.similarity, guess.name);
    // A bar chart without bars: the colour says how sure.
    result.sheet.legend.push_back(
        {vis::viridis(guess.probability), fmt::format("{:.1f} %  {}", 100 * guess.probability, guess.name)});
  }
  return result;
}

Classified classify_boxes(const Classifier& classifier, const fs::path& file, const std::vector<NamedBox>& boxes) {
  const formats::Image picture = read_rgb(file);
  Classified result;
  result.json = {
      {"image", file.string()}, {"width", picture.width}, {"height", picture.height}, {"boxes", Json::array()}};
  result.table = head_of(file, picture) + "\n";
  std::vector<ops::Box> places;
  for (const NamedBox& box : boxes) places.push_back(box.box);
  const auto [dense, crops] = classifier.boxes(picture, places);
  std::map<std::string, int> colour_of;
  std::vector<vis::LabelledBox> drawn;
  int agreeing = 0;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const ops::Box& box = boxes[i].box;
    const std::string known = boxes[i].category.empty() ? "" : "  [" + boxes[i].category + "]";
    Json entry = {{"box", {box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0}}};
    if (!known.empty()) entry["category"] = boxes[i].category;
    entry["dense"] = json_of(dense[i]);
    entry["crop"] = json_of(crops[i]);
    result.json["boxes"].push_back(std::move(entry));
    result.table +=
        fmt::format("  box {}: x {:.0f}, y {:.0f}, {:.0f} x {:.0f}{}\n    dense  {}\n    crop   {}\n", i + 1, box.x0,
                    box.y0, box.x1 - box.x0, box.y1 - box.y0, known, text_of(dense[i]), text_of(crops[i]));
    const Guess &by_dense = dense[i][0], &by_crop = crops[i][0];
    const bool agree = by_dense.name == by_crop.name;
    agreeing += agree ? 1 : 0;
    const int number = colour_of.emplace(by_dense.name, static_cast<int>(colour_of.size())).first->second;
    const vis::Colour colour = vis::distinct_colours(number + 1).back();
    drawn.push_back({box, fmt::format("{} {}", i + 1, by_dense.name), colour});
    std::string text = fmt::format("{}  {} {:.0f} %", i + 1, by_dense.name, 100 * by_dense.probability);
    if (!agree) text += fmt::format(", crop: {} {:.0f} %", by_crop.name, 100 * by_crop.probability);
    if (result.sheet.legend.size() < 40) result.sheet.legend.push_back({colour, std::move(text)});
  }
  const formats::Image large = enlarged_to_see(picture);
  const int factor = large.width / picture.width;
  for (vis::LabelledBox& box : drawn)
    box.box = {box.box.x0 * factor, box.box.y0 * factor, box.box.x1 * factor, box.box.y1 * factor};
  const vis::SheetStyle style(std::max(large.width, large.height));
  vis::Canvas canvas(large);
  vis::draw_boxes(canvas, drawn, style.text, 2 * style.unit);
  result.sheet.title = file.filename().string();
  result.sheet.subtitle =
      fmt::format("{} boxes named by the dense map; their crops say the same of {}", boxes.size(), agreeing);
  result.sheet.panels.push_back({"", canvas.image()});
  return result;
}

void run_classify(const ClassifyFlags& flags) {
  const auto type = parse_precision(flags.model.precision);
  if (!flags.classes.given())
    throw Error({.doing = "choosing classes", .found = "none", .expected = "--names or --embed-path"});
  auto files = find_pictures(flags.images);
  require_pictures(files);
  std::map<fs::path, std::vector<NamedBox>> boxes;
  if (!flags.boxes.empty()) {
    boxes = read_boxes(flags.boxes, files);
    const std::size_t before = files.size();
    std::erase_if(files, [&](const fs::path& file) { return !boxes.contains(file); });
    if (files.size() < before)
      spdlog::warn("{} of {} pictures left out: {} has no box for them", before - files.size(), before, flags.boxes);
  }
  auto model = flags.model.load(flags.classes.need_text());
  if (!flags.boxes.empty()) require_whole_patches(flags.image_size, *model);
  auto classes = flags.classes.load(flags.model, *model);
  model->freeze(type);
  if (!flags.out.empty()) require_writable_folder(flags.out);

  const StopRequest stop;
  const Classifier classifier(flags, *model, std::move(classes));
  Json report = {{"model", model->config().name}, {"weights", flags.model.pretrained}, {"images", Json::array()}};
  ResultNames names;
  Progress bar("classifying", static_cast<std::int64_t>(files.size()));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const fs::path& file = files[i];
    const Classified result =
        flags.boxes.empty() ? classify_whole(classifier, file) : classify_boxes(classifier, file, boxes.at(file));
    bar.clear();
    if (!flags.json) fmt::print("{}", result.table);
    report["images"].push_back(result.json);
    if (!flags.out.empty())
      formats::write_png(fs::path(flags.out) / (names.of(file) + "_classes.png"), vis::compose(result.sheet));
    bar.update(static_cast<std::int64_t>(i + 1));
    if (stop.signal() != 0) {
      bar.clear();
      spdlog::warn("interrupted after {} of {} pictures", i + 1, files.size());
      throw ExitCode{128 + stop.signal()};
    }
  }
  bar.clear();
  const std::string text = report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (flags.json) fmt::print("{}", text);
  if (!flags.out.empty()) write_text(fs::path(flags.out) / "classes.json", text);
}

}  // namespace

void add_classify(CLI::App& app) {
  auto* sub = app.add_subcommand("classify", "Name pictures, or boxes in them by dense feature and by crop");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto flags = std::make_shared<ClassifyFlags>();
  sub->add_option("IMAGE", flags->images, "Pictures, or folders of them")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  sub->add_option("--config", "TOML file of these settings");
  flags->model.add_to(*sub);
  flags->classes.add_to(*sub);
  sub->add_option(
      "--boxes", flags->boxes,
      "Name these instead of whole pictures: COCO-format JSON, or {\"file.jpg\": [[x, y, width, height], ...]}");
  sub->add_option("--top", flags->top, "Names for each, the best first")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  sub->add_option("--det-image-size", flags->image_size, "Longer side of what the dense map sees, in pixels")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  sub->add_option("--crop-scale", flags->crop_scale, "A crop is its box enlarged by this about its centre")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 100.0));
  sub->add_flag("--json", flags->json, "Print JSON instead of tables");
  sub->add_option("--out", flags->out, "Folder for a picture of each result, and the JSON");
  sub->callback([flags] { run_classify(*flags); });
}

}  // namespace clipself::cli
