// clipself visualize: what a model's dense map says about pictures, drawn over them.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "cli/pictures.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/base/signals.h"
#include "clipself/visualization/clustering.h"
#include "clipself/visualization/dense_view.h"
#include "clipself/visualization/overlays.h"
#include "clipself/visualization/principal_components.h"
#include "clipself/visualization/row_sample.h"
#include "clipself/visualization/sheet.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
namespace vis = visualization;
using Json = nlohmann::ordered_json;

/// Enough for any number of clusters, and about a gigabyte of memory.
constexpr std::int64_t kJointTokens = 100'000;

struct VisualizeFlags {
  ModelFlags model;
  NamesFlags classes;
  std::vector<std::string> images;
  std::string kind, out, scale = "common";
  int image_size = 1024, clusters = 8, top = 12;
  bool joint = false, plain = false;
};

/// One picture's result: the sheet, or without it the panels after the first, and numbers.
struct Drawing {
  vis::Sheet sheet;
  Json numbers;
};

/// Class numbers by falling value.
std::vector<std::int64_t> falling(const at::Tensor& values) {
  const at::Tensor order = std::get<1>(values.sort(/*stable=*/true, 0, /*descending=*/true)).contiguous();
  const auto* first = order.const_data_ptr<std::int64_t>();
  return {first, first + order.numel()};
}

std::vector<double> shares_of(const std::vector<int>& labels, std::size_t classes) {
  std::vector<double> shares(classes);
  for (const int label : labels) ++shares[static_cast<std::size_t>(label)];
  for (double& share : shares) share /= static_cast<double>(labels.size());
  return shares;
}

std::string percent_of(double share) {
  return share >= 0.0995 ? fmt::format("{:.0f} %", 100 * share) : fmt::format("{:.1f} %", 100 * share);
}

class Visualizer {
 public:
  Visualizer(const VisualizeFlags& flags, models::ClipModel& model, std::optional<models::ClassEmbeddings> classes)
      : flags_(flags), model_(model), classes_(std::move(classes)) {}

  /// Clusters or components of these tokens (N, D) for every drawing; with --joint, before the first.
  void fit(const at::Tensor& tokens) {
    if (flags_.kind == "kmeans") {
      Rng rng(flags_.model.seed);
      clusters_ = vis::cluster(tokens, {.clusters = flags_.clusters}, rng);
    } else {
      components_ = vis::principal_components(tokens, 3);
      range_ = vis::robust_range(vis::project(components_, tokens));
    }
  }

  vis::DenseView view(const formats::Image& picture) const {
    return vis::dense_view(model_, picture, flags_.image_size);
  }

  Drawing draw(const formats::Image& picture, const vis::DenseView& view) {
    if (flags_.kind == "similarity") return similarity(picture, view);
    if (flags_.kind == "segment") return segment(picture, view);
    if (!flags_.joint) fit(view.features.flatten(1).t());
    return flags_.kind == "kmeans" ? kmeans(picture, view) : pca(picture, view);
  }

 private:
  Drawing similarity(const formats::Image& picture, const vis::DenseView& view) const {
    const at::Tensor maps = vis::similarities(view, classes_->rows);
    const at::Tensor highest = maps.amax({1, 2}), mean = maps.mean({1, 2});
    auto chosen = falling(highest);
    const bool all = static_cast<int>(chosen.size()) <= flags_.top;
    if (!all) chosen.resize(static_cast<std::size_t>(flags_.top));
    if (all) std::sort(chosen.begin(), chosen.end());
    const at::Tensor shown = maps.index_select(0, at::tensor(chosen, at::kLong));
    const double low = shown.min().item<double>(), high = shown.max().item<double>();
    const bool common = flags_.scale == "common";
    Drawing drawing;
    drawing.sheet.panels.push_back({"picture", picture});
    for (const std::int64_t i : chosen) {
      const at::Tensor map = vis::enlarge(view, maps.narrow(0, i, 1), picture.width, picture.height)[0];
      const double least = common ? low : maps[i].min().item<double>();
      const double most = common ? high : highest[i].item<double>();
      drawing.sheet.panels.push_back({fmt::format("{}  (max {:.2f})", name(i), highest[i].item<double>()),
                                      vis::heat_overlay(picture, map, least, most)});
    }
    drawing.sheet.bar = common ? vis::ColourBar{fmt::format("cosine {:.2f}", low), fmt::format("{:.2f}", high)}
                               : vis::ColourBar{"each map's lowest cosine", "its highest"};
    drawing.numbers["classes"] = Json::array();
    for (std::int64_t i = 0; i < maps.size(0); ++i)
      drawing.numbers["classes"].push_back({{"name", name(i)},
                                            {"mean_similarity", mean[i].item<float>()},
                                            {"max_similarity", highest[i].item<float>()}});
    return drawing;
  }

  Drawing segment(const formats::Image& picture, const vis::DenseView& view) {
    const at::Tensor maps = vis::similarities(view, classes_->rows);
    const at::Tensor highest = maps.amax({1, 2}), mean = maps.mean({1, 2});
    const std::vector<int> labels = vis::best_of(view, maps, picture.width, picture.height);
    const std::vector<double> shares = shares_of(labels, classes_->names.size());
    Drawing drawing;
    drawing.numbers["classes"] = Json::array();
    std::size_t unlisted = 0;
    for (const std::int64_t i : falling(at::tensor(shares, at::kDouble))) {
      const double share = shares[static_cast<std::size_t>(i)];
      drawing.numbers["classes"].push_back({{"name", name(i)},
                                            {"share", share},
                                            {"mean_similarity", mean[i].item<float>()},
                                            {"max_similarity", highest[i].item<float>()}});
      if (share <= 0) continue;
      // Colours in the order in which classes appear, so that those in use differ as much as they can.
      const int number = colour_of_.emplace(i, static_cast<int>(colour_of_.size())).first->second;
      if (drawing.sheet.legend.size() < 30 && share >= 0.0005)
        drawing.sheet.legend.push_back({vis::distinct_colours(number + 1).back(), name(i) + "  " + percent_of(share)});
      else
        ++unlisted;
    }
    if (unlisted > 0) drawing.sheet.subtitle = fmt::format("; {} smaller classes are not listed", unlisted);
    std::vector<vis::Colour> colours(classes_->names.size());
    for (const auto& [label, number] : colour_of_)
      colours[static_cast<std::size_t>(label)] = vis::distinct_colours(number + 1).back();
    add_map(drawing, picture, labels, colours, classes_->names, "nearest class");
    return drawing;
  }

  Drawing kmeans(const formats::Image& picture, const vis::DenseView& view) const {
    const std::vector<int> labels =
        vis::best_of(view, vis::similarities(view, clusters_.centres), picture.width, picture.height);
    const auto count = clusters_.sizes.size();
    const std::vector<double> shares = shares_of(labels, count);
    const auto colours = vis::distinct_colours(static_cast<int>(count));
    std::vector<std::string> names;
    Drawing drawing;
    drawing.numbers["mean_cosine"] = clusters_.mean_cosine;
    drawing.numbers["clusters"] = Json::array();
    for (std::size_t i = 0; i < count; ++i) {
      names.push_back(std::to_string(i + 1));
      Json entry = {{"cluster", i + 1}, {"tokens", clusters_.sizes[i]}, {"share", shares[i]}};
      std::string text = fmt::format("{}  {}", i + 1, percent_of(shares[i]));
      if (classes_) {
        const at::Tensor cosine = classes_->rows.mv(clusters_.centres[static_cast<std::int64_t>(i)]);
        const auto nearest = cosine.argmax().item<std::int64_t>();
        entry["nearest_class"] = name(nearest);
        entry["similarity"] = cosine[nearest].item<float>();
        text += "  " + name(nearest);
      }
      drawing.numbers["clusters"].push_back(std::move(entry));
      if (shares[i] > 0) drawing.sheet.legend.push_back({colours[i], std::move(text)});
    }
    add_map(drawing, picture, labels, colours, names, fmt::format("{} clusters", count));
    return drawing;
  }

  Drawing pca(const formats::Image& picture, const vis::DenseView& view) const {
    const at::Tensor tokens = view.features.flatten(1).t();
    const at::Tensor values = vis::in_range(vis::project(components_, tokens), range_);
    const at::Tensor channels = values.t().reshape({3, view.features.size(1), view.features.size(2)});
    Drawing drawing;
    drawing.sheet.panels.push_back({"picture", picture});
    drawing.sheet.panels.push_back(
        {"principal components", vis::colour_image(vis::enlarge(view, channels, picture.width, picture.height))});
    constexpr std::array<vis::Colour, 3> kChannels{{{214, 40, 40}, {40, 160, 60}, {40, 80, 220}}};
    for (std::size_t i = 0; i < 3; ++i)
      drawing.sheet.legend.push_back(
          {kChannels[i], fmt::format("component {}: {} of the variance", i + 1, percent_of(components_.explained[i]))});
    drawing.numbers["explained_variance"] = components_.explained;
    return drawing;
  }

  static void add_map(Drawing& drawing, const formats::Image& picture, const std::vector<int>& labels,
                      const std::vector<vis::Colour>& colours, const std::vector<std::string>& names,
                      const std::string& heading) {
    const vis::SheetStyle style(std::max(picture.width, picture.height));
    vis::Canvas map(vis::class_overlay(picture, labels, colours, {.line = style.unit}));
    vis::write_names(map, 0, 0, labels, picture.width, picture.height, names, style.text);
    drawing.sheet.panels = {{"picture", picture}, {heading, map.image()}};
  }

  const std::string& name(std::int64_t i) const { return classes_->names[static_cast<std::size_t>(i)]; }

  const VisualizeFlags& flags_;
  models::ClipModel& model_;
  std::optional<models::ClassEmbeddings> classes_;
  std::map<std::int64_t, int> colour_of_;
  vis::Clusters clusters_;
  vis::PrincipalComponents components_;
  vis::ValueRange range_;
};

// A name as part of a file's.
std::string in_file_name(const std::string& name) {
  std::string result;
  for (const char c : name)
    result += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80) != 0 ? c : '-';
  return result;
}

/// Writes the sheet, or its overlays alone; gives the files' names.
Json write_drawing(const VisualizeFlags& flags, const Drawing& drawing, const std::string& base) {
  Json written = Json::array();
  const auto write = [&](const std::string& name, const formats::Image& image) {
    formats::write_png(fs::path(flags.out) / name, image);
    written.push_back(name);
  };
  const auto& panels = drawing.sheet.panels;
  if (!flags.plain) {
    write(fmt::format("{}_{}.png", base, flags.kind), vis::compose(drawing.sheet));
  } else if (panels.size() == 2) {
    write(fmt::format("{}_{}.png", base, flags.kind), panels[1].image);
  } else {
    for (std::size_t i = 1; i < panels.size(); ++i)
      write(fmt::format("{}_{}_{}_{}.png", base, flags.kind, i,
                        in_file_name(panels[i].heading.substr(0, panels[i].heading.rfind("  (")))),
            panels[i].image);
  }
  return written;
}

void run_visualize(const VisualizeFlags& flags) {
  const auto type = parse_precision(flags.model.precision);
  const bool need_classes = flags.kind == "similarity" || flags.kind == "segment";
  if (need_classes && !flags.classes.given())
    throw Error({.doing = "--kind " + flags.kind, .found = "no classes", .expected = "--names or --embed-path"});
  if (flags.classes.given() && flags.kind == "pca") spdlog::warn("--kind pca uses no names");
  const auto files = find_pictures(flags.images);
  require_pictures(files);
  const bool use_classes = flags.classes.given() && flags.kind != "pca";
  auto model = flags.model.load(use_classes && flags.classes.need_text());
  require_whole_patches(flags.image_size, *model);
  std::optional<models::ClassEmbeddings> classes;
  if (use_classes) classes = flags.classes.load(flags.model, *model);
  model->freeze(type);
  require_writable_folder(flags.out);

  const StopRequest stop;
  Visualizer visualizer(flags, *model, std::move(classes));
  Progress bar("visualizing", static_cast<std::int64_t>(files.size()));
  const auto check_stop = [&](std::size_t done) {
    bar.update(static_cast<std::int64_t>(done));
    if (stop.signal() == 0) return;
    bar.clear();
    spdlog::warn("interrupted after {} of {} pictures", done, files.size());
    throw ExitCode{128 + stop.signal()};
  };
  if (flags.joint && !need_classes) {
    vis::RowSample tokens(kJointTokens, flags.model.seed);
    for (const fs::path& file : files) {
      tokens.add(visualizer.view(read_rgb(file)).features.flatten(1).t());
      check_stop(0);
    }
    if (tokens.seen() > kJointTokens)
      spdlog::info("--joint: fitted to {} of {} tokens, drawn by the seed", kJointTokens, tokens.seen());
    visualizer.fit(tokens.rows());
  }
  Json report = {{"kind", flags.kind},
                 {"model", model->config().name},
                 {"weights", flags.model.pretrained},
                 {"image_size", flags.image_size},
                 {"images", Json::array()}};
  ResultNames names;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const formats::Image picture = read_rgb(files[i]);
    Drawing drawing = visualizer.draw(flags.plain ? picture : enlarged_to_see(picture), visualizer.view(picture));
    drawing.sheet.title = files[i].filename().string();
    drawing.sheet.subtitle = fmt::format("{}, dense map of {} px{}", fs::path(model->config().name).stem().string(),
                                         flags.image_size, drawing.sheet.subtitle);
    Json entry = {{"image", files[i].string()}, {"width", picture.width}, {"height", picture.height}};
    entry["files"] = write_drawing(flags, drawing, names.of(files[i]));
    entry.update(drawing.numbers);
    report["images"].push_back(std::move(entry));
    check_stop(i + 1);
  }
  bar.clear();
  const fs::path numbers = fs::path(flags.out) / (flags.kind + ".json");
  write_text(numbers, report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  spdlog::info("{} pictures drawn in {}, numbers in {}", files.size(), flags.out, numbers.string());
}

}  // namespace

void add_visualize(CLI::App& app) {
  auto* sub =
      app.add_subcommand("visualize", "Draw what the dense map says: similarity to names, classes, clusters, PCA");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto flags = std::make_shared<VisualizeFlags>();
  sub->add_option("IMAGE", flags->images, "Pictures, or folders of them")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  sub->add_option(
         "--kind", flags->kind,
         "similarity: a heat map a name; segment: the nearest name of each pixel; kmeans: clusters of features; "
         "pca: three principal components as colours")
      ->required()
      ->check(CLI::IsMember({"similarity", "segment", "kmeans", "pca"}));
  sub->add_option("--config", "TOML file of these settings");
  flags->model.add_to(*sub);
  flags->classes.add_to(*sub);
  sub->add_option("--det-image-size", flags->image_size, "Longer side of what the model sees, in pixels")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  sub->add_option("--clusters", flags->clusters, "kmeans: how many")->capture_default_str()->check(CLI::Range(1, 1000));
  sub->add_flag(
      "--joint", flags->joint,
      "kmeans, pca: fit once for all pictures (to 100000 of their tokens at most), so that a colour means the same in "
      "each; the dense maps are then computed twice");
  sub->add_option("--scale", flags->scale,
                  "similarity: colours from the lowest to the highest cosine of all maps of a "
                  "picture (common) or of each map (own)")
      ->capture_default_str()
      ->check(CLI::IsMember({"common", "own"}));
  sub->add_option("--top", flags->top, "similarity: at most so many names a picture, those with the highest maximum")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  sub->add_flag("--plain", flags->plain, "The overlay alone, of the picture's size: no picture beside it, no legend");
  sub->add_option("--out", flags->out, "Folder for the PNGs and a JSON file of numbers")->required();
  sub->callback([flags, sub] {
    const auto only_for = [&](const char* flag, std::initializer_list<std::string_view> kinds) {
      if (sub->count(flag) > 0 && std::find(kinds.begin(), kinds.end(), flags->kind) == kinds.end())
        spdlog::warn("{} means nothing to --kind {}", flag, flags->kind);
    };
    only_for("--clusters", {"kmeans"});
    only_for("--joint", {"kmeans", "pca"});
    only_for("--scale", {"similarity"});
    only_for("--top", {"similarity"});
    run_visualize(*flags);
  });
}

}  // namespace clipself::cli
