#include "clipself/scenes/coco_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "clipself/base/file.h"
#include "clipself/base/thread_pool.h"
#include "clipself/scenes/captions.h"

namespace clipself::scenes {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kJpegQuality = 95;

struct SplitPlan {
  Split split;
  const char* name;
  int images;
  std::int64_t first_id;
};

SplitPaths split_paths(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path annotations = folder / "annotations";
  return {.images = folder / name,
          .instances = annotations / ("instances_" + name + ".json"),
          .captions = annotations / ("captions_" + name + ".json"),
          .proposals = annotations / ("proposals_" + name + ".json"),
          .panoptic = annotations / ("panoptic_" + name + ".json"),
          .panoptic_masks = annotations / ("panoptic_" + name)};
}

// The run-length text form of COCO: counts down the columns, zeros first.
Json run_lengths(const Rendering& rendering, int owner) {
  std::vector<int> counts;
  int length = 0;
  bool inside = false;
  for (int x = 0; x < rendering.image.width; ++x)
    for (int y = 0; y < rendering.image.height; ++y) {
      const bool here = rendering.owners[static_cast<std::size_t>(y) * static_cast<std::size_t>(rendering.image.width) +
                                         static_cast<std::size_t>(x)] == owner;
      if (here != inside) {
        counts.push_back(length);
        length = 0;
        inside = here;
      }
      ++length;
    }
  counts.push_back(length);
  return {{"size", {rendering.image.height, rendering.image.width}}, {"counts", counts}};
}

// A segment's colour in the panoptic PNG: near its class's, and no two alike in one image.
std::map<int, Colour> segment_colours(const std::vector<Segment>& segments) {
  std::map<int, Colour> colours;
  std::uint8_t number = 0;
  for (const Segment& segment : segments) {
    Colour colour = class_colour(segment.label);
    colour[2] = static_cast<std::uint8_t>((colour[2] & 0xE0) | ++number);  // fewer than 32 segments an image
    colours[segment.owner] = colour;
  }
  return colours;
}

// What one image adds to the split's files.
struct ImageEntries {
  Json image, instances, caption, proposals, panoptic;
};

ImageEntries write_image(const SplitPlan& plan, const SplitPaths& paths, std::uint64_t seed, int index) {
  const Scene scene = dataset_scene(seed, plan.split, index);
  const Rendering rendering = render(scene, 1.0);
  const std::int64_t id = plan.first_id + index;
  const std::string stem = fmt::format("{:012}", id);
  const int width = rendering.image.width, height = rendering.image.height;
  formats::write_jpeg(paths.images / (stem + ".jpg"), rendering.image, kJpegQuality);

  const std::vector<Segment> segments = segments_of(scene, rendering);
  const std::map<int, Colour> colours = segment_colours(segments);
  formats::Image masks{.mode = formats::ImageMode::kRGB, .width = width, .height = height, .pixels = {}};
  masks.pixels.reserve(rendering.owners.size() * 3);
  for (const int owner : rendering.owners)
    masks.pixels.insert(masks.pixels.end(), colours.at(owner).begin(), colours.at(owner).end());
  formats::write_png(paths.panoptic_masks / (stem + ".png"), masks);

  Rng rng(seed, 100 + static_cast<std::uint64_t>(plan.split), static_cast<std::uint64_t>(index));
  ImageEntries entries;
  entries.image = {{"id", id}, {"file_name", stem + ".jpg"}, {"width", width}, {"height", height}};
  entries.instances = entries.proposals = Json::array();
  Json infos = Json::array();
  for (const Segment& segment : segments) {
    const Colour& colour = colours.at(segment.owner);
    infos.push_back({{"id", colour[0] + 256 * colour[1] + 65536 * colour[2]},
                     {"category_id", segment.label + 1},
                     {"bbox", segment.box},
                     {"area", segment.area},
                     {"iscrowd", 0}});
    if (!is_thing_class(segment.label)) continue;
    const Look& look = scene.things[static_cast<std::size_t>(segment.owner)].look;
    entries.instances.push_back({{"id", id * 100 + segment.owner},
                                 {"image_id", id},
                                 {"category_id", segment.label + 1},
                                 {"bbox", segment.box},
                                 {"area", segment.area},
                                 {"iscrowd", 0},
                                 {"pattern", pattern_names()[static_cast<std::size_t>(look.pattern)]},
                                 {"segmentation", run_lengths(rendering, segment.owner)}});
  }
  entries.panoptic = {{"image_id", id}, {"file_name", stem + ".png"}, {"segments_info", infos}};
  entries.caption = {{"id", id}, {"image_id", id}, {"caption", describe_scene(scene, rng)}};
  int number = 0;
  for (const Proposal& proposal : draw_proposals(segments, width, height, rng)) {
    const double w = proposal.box.x1 - proposal.box.x0, h = proposal.box.y1 - proposal.box.y0;
    entries.proposals.push_back({{"id", id * 100 + number++},
                                 {"image_id", id},
                                 {"category_id", 1},
                                 {"bbox", {proposal.box.x0, proposal.box.y0, w, h}},
                                 {"area", w * h},
                                 {"iscrowd", 0},
                                 {"score", proposal.score}});
  }
  return entries;
}

Json category_list(bool stuff_too) {
  Json categories = Json::array();
  for (int label = 0; label < (stuff_too ? kClasses : kThings); ++label) {
    Json category{{"id", label + 1},
                  {"name", class_names()[static_cast<std::size_t>(label)]},
                  {"supercategory",
                   is_thing_class(label) ? shape_names()[static_cast<std::size_t>(label / kColours)] : "surface"}};
    if (stuff_too) {
      category["isthing"] = is_thing_class(label) ? 1 : 0;
      category["color"] = class_colour(label);
    }
    categories.push_back(std::move(category));
  }
  return categories;
}

void write_split(const SplitPlan& plan, const SplitPaths& paths, const std::vector<ImageEntries>& entries) {
  Json images = Json::array(), instances = Json::array(), captions = Json::array(), proposals = Json::array(),
       panoptic = Json::array();
  for (const ImageEntries& entry : entries) {
    images.push_back(entry.image);
    instances.insert(instances.end(), entry.instances.begin(), entry.instances.end());
    proposals.insert(proposals.end(), entry.proposals.begin(), entry.proposals.end());
    captions.push_back(entry.caption);
    panoptic.push_back(entry.panoptic);
  }
  const Json info{{"description", fmt::format("clipself's built-in world, {}", plan.name)}};
  const auto save = [&](const std::filesystem::path& path, const Json& annotations, const Json& categories) {
    Json document{{"info", info}, {"images", images}, {"annotations", annotations}};
    if (!categories.is_null()) document["categories"] = categories;
    write_text(path, document.dump());
  };
  save(paths.instances, instances, category_list(false));
  save(paths.captions, captions, nullptr);
  save(paths.proposals, proposals, Json::array({{{"id", 1}, {"name", "object"}}}));
  save(paths.panoptic, panoptic, category_list(true));
}

}  // namespace

DatasetPaths dataset_paths(const std::filesystem::path& folder) {
  return {.train = split_paths(folder, "train2017"),
          .val = split_paths(folder, "val2017"),
          .held_out = split_paths(folder, "heldout2017"),
          .classes = folder / "classes.txt"};
}

Scene dataset_scene(std::uint64_t seed, Split split, int index) {
  Rng rng(seed, 10 + static_cast<std::uint64_t>(split), static_cast<std::uint64_t>(index));
  SceneOptions options;
  if (split == Split::kHeldOut) options.combinations = Combinations::kHeldOut;
  return make_scene(options, rng);
}

DatasetPaths write_dataset(const std::filesystem::path& folder, const DatasetOptions& options) {
  const DatasetPaths paths = dataset_paths(folder);
  const std::array<SplitPlan, 3> plans{{{Split::kTrain, "train2017", options.train_images, 1},
                                        {Split::kVal, "val2017", options.val_images, 500001},
                                        {Split::kHeldOut, "heldout2017", options.val_images, 600001}}};
  const std::array<const SplitPaths*, 3> places{&paths.train, &paths.val, &paths.held_out};
  for (const SplitPaths* place : places) {
    require_writable_folder(place->images);
    require_writable_folder(place->panoptic_masks);
  }
  const std::int64_t total = options.train_images + 2 * options.val_images;
  std::int64_t done = 0;
  ThreadPool pool(std::max(1, options.threads));
  for (std::size_t s = 0; s < plans.size(); ++s) {
    std::vector<std::future<ImageEntries>> pending;
    for (int i = 0; i < plans[s].images; ++i)
      pending.push_back(pool.submit([&, s, i] { return write_image(plans[s], *places[s], options.seed, i); }));
    std::vector<ImageEntries> entries;
    for (auto& result : pending) {
      entries.push_back(result.get());
      if (options.progress) options.progress(++done, total);
    }
    write_split(plans[s], *places[s], entries);
  }
  std::string names;
  for (const std::string& name : class_names()) names += name + "\n";
  write_text(paths.classes, names);
  return paths;
}

std::vector<Segment> segments_of(const Scene& scene, const Rendering& rendering) {
  const std::size_t things = scene.things.size();
  const int width = rendering.image.width;
  std::vector<Segment> all(things + scene.surfaces.size());
  std::vector<std::array<int, 4>> corners(all.size(), {width, rendering.image.height, -1, -1});  // inclusive
  for (std::size_t at = 0; at < rendering.owners.size(); ++at) {
    const auto owner = static_cast<std::size_t>(rendering.owners[at]);
    const int x = static_cast<int>(at) % width, y = static_cast<int>(at) / width;
    std::array<int, 4>& c = corners[owner];
    c = {std::min(c[0], x), std::min(c[1], y), std::max(c[2], x), std::max(c[3], y)};
    ++all[owner].area;
  }
  std::vector<Segment> visible;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].area == 0) continue;
    Segment& segment = all[i];
    segment.owner = static_cast<int>(i);
    segment.label = i < things ? scene.things[i].look.label() : kThings + scene.surfaces[i - things].stuff;
    segment.box = {corners[i][0], corners[i][1], corners[i][2] - corners[i][0] + 1, corners[i][3] - corners[i][1] + 1};
    visible.push_back(segment);
  }
  return visible;
}

std::vector<Proposal> draw_proposals(const std::vector<Segment>& segments, int width, int height, Rng& rng) {
  std::vector<Proposal> proposals;
  const auto add = [&](double x0, double y0, double x1, double y1, double score) {
    const auto round = [](double v) { return std::round(v * 100) / 100; };
    const ops::Box box{round(std::clamp(x0, 0.0, width - 1.0)), round(std::clamp(y0, 0.0, height - 1.0)),
                       round(std::clamp(x1, 1.0, double(width))), round(std::clamp(y1, 1.0, double(height)))};
    if (box.x1 - box.x0 >= 4 && box.y1 - box.y0 >= 4) proposals.push_back({box, std::round(score * 1000) / 1000});
  };
  int things = 0;
  for (const Segment& segment : segments) {
    if (!is_thing_class(segment.label)) continue;
    ++things;
    const double chance = rng.uniform();
    const int copies = chance < 0.08 ? 0 : chance < 0.75 ? 1 : 2;  // some are missed, some found twice
    for (int i = 0; i < copies; ++i) {
      const double w = segment.box[2], h = segment.box[3];
      add(segment.box[0] + 0.08 * w * rng.normal(), segment.box[1] + 0.08 * h * rng.normal(),
          segment.box[0] + w + 0.08 * w * rng.normal(), segment.box[1] + h + 0.08 * h * rng.normal(),
          rng.uniform(0.5, 1.0));
    }
  }
  const int false_ones = 1 + static_cast<int>(rng.below(static_cast<std::uint64_t>(1 + things / 3)));
  for (int i = 0; i < false_ones; ++i) {
    const double w = rng.uniform(18, 70), h = rng.uniform(18, 70);
    const double x = rng.uniform(0, width - w), y = rng.uniform(0, height - h);
    add(x, y, x + w, y + h, rng.uniform(0.2, 0.7));
  }
  std::stable_sort(proposals.begin(), proposals.end(),
                   [](const Proposal& a, const Proposal& b) { return a.score > b.score; });
  return proposals;
}

}  // namespace clipself::scenes
