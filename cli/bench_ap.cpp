#include "cli/bench_ap.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "clipself/base/file.h"
#include "clipself/base/random.h"
#include "clipself/evaluation/average_precision.h"
#include "clipself/ops/masks.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;
using evaluation::RegionKind;

constexpr int kWidth = 640, kHeight = 480;

struct MadeRegion {
  int category = 1;
  double x = 0, y = 0, width = 0, height = 0;
};

MadeRegion made_region(Rng& rng, int classes) {
  // Sizes from 6 to 300 pixels, evenly by their logarithm: small, medium and large ones.
  const auto side = [&] { return 6 * std::exp(rng.uniform(0, std::log(50.))); };
  MadeRegion region{.category = 1 + static_cast<int>(rng.below(static_cast<std::uint64_t>(classes)))};
  region.width = side();
  region.height = side();
  region.x = rng.uniform(0, kWidth - region.width);
  region.y = rng.uniform(0, kHeight - region.height);
  return region;
}

std::vector<double> ellipse(const MadeRegion& region) {
  constexpr int kCorners = 24;
  std::vector<double> polygon;
  for (int i = 0; i < kCorners; ++i) {
    const double angle = 2 * std::numbers::pi * i / kCorners;
    polygon.push_back(std::round(100 * (region.x + region.width * (1 + std::cos(angle)) / 2)) / 100);
    polygon.push_back(std::round(100 * (region.y + region.height * (1 + std::sin(angle)) / 2)) / 100);
  }
  return polygon;
}

std::string box_text(const MadeRegion& r) {
  return fmt::format("[{:.2f},{:.2f},{:.2f},{:.2f}]", r.x, r.y, r.width, r.height);
}

/// A region near `truth`, the nearer the better the luck.
MadeRegion near(const MadeRegion& truth, Rng& rng) {
  MadeRegion region = truth;
  const double spread = 0.2 * rng.uniform();
  region.x += spread * truth.width * rng.normal();
  region.y += spread * truth.height * rng.normal();
  region.width *= std::exp(spread * rng.normal());
  region.height *= std::exp(spread * rng.normal());
  return region;
}

void write_set(const fs::path& folder, const BenchApFlags& flags, bool masks) {
  AtomicFile truth(folder / "gt.json"), results(folder / "results.json");
  std::string images, annotations, categories;
  results.write("[");
  std::int64_t id = 0;
  bool first = true;
  for (int image = 1; image <= flags.images; ++image) {
    Rng rng(1, 0, static_cast<std::uint64_t>(image));
    images += fmt::format("{}{{\"id\":{},\"file_name\":\"{}.jpg\",\"width\":{},\"height\":{}}}", image == 1 ? "" : ",",
                          image, image, kWidth, kHeight);
    std::vector<MadeRegion> true_regions;
    const auto count = rng.below(static_cast<std::uint64_t>(2 * flags.truths + 1));
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto region = true_regions.emplace_back(made_region(rng, flags.classes));
      const bool crowd = rng.below(50) == 0;
      annotations +=
          fmt::format("{}{{\"id\":{},\"image_id\":{},\"category_id\":{},\"iscrowd\":{},\"area\":{:.2f},\"bbox\":{}",
                      id == 0 ? "" : ",", id + 1, image, region.category, crowd ? 1 : 0, region.width * region.height,
                      box_text(region));
      if (masks) annotations += fmt::format(",\"segmentation\":[[{}]]", fmt::join(ellipse(region), ","));
      annotations += "}";
      ++id;
    }
    std::string lines;
    for (int i = 0; i < flags.detections; ++i) {
      const bool hit = !true_regions.empty() && rng.below(4) == 0;
      const auto region =
          hit ? near(true_regions[rng.below(true_regions.size())], rng) : made_region(rng, flags.classes);
      const double score = (hit ? 0.3 : 0) + 0.7 * rng.uniform() * rng.uniform();
      lines += fmt::format("{}{{\"image_id\":{},\"category_id\":{},\"score\":{:.4f},", first ? "" : ",\n", image,
                           region.category, score);
      if (masks) {
        const auto rle = ops::polygon_mask(ellipse(region), kHeight, kWidth);
        lines += "\"segmentation\":" +
                 nlohmann::json{{"size", {kHeight, kWidth}}, {"counts", formats::rle_text(rle)}}.dump() + "}";
      } else {
        lines += "\"bbox\":" + box_text(region) + "}";
      }
      first = false;
    }
    results.write(lines);
  }
  for (int i = 1; i <= flags.classes; ++i)
    categories += fmt::format("{}{{\"id\":{},\"name\":\"class {}\"}}", i == 1 ? "" : ",", i, i);
  results.write("]\n");
  truth.write("{\"images\":[" + images + "],\n\"annotations\":[" + annotations + "],\n\"categories\":[" + categories +
              "]}\n");
  truth.commit();
  results.commit();
}

struct BenchFolder {
  fs::path path;
  bool temporary = false;
  ~BenchFolder() {
    std::error_code ignored;
    if (temporary) fs::remove_all(path, ignored);
  }
};

}  // namespace

void BenchApFlags::add_to(CLI::App& app) {
  app.add_option("--images", images, "ap: images")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app.add_option("--detections", detections, "ap: detections an image")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  app.add_option("--classes", classes, "ap: classes")->capture_default_str()->check(CLI::Range(1, 1 << 14));
  app.add_option("--truths", truths, "ap: true regions an image on average")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
  app.add_option("--iou-type", iou_type, "ap: bbox (boxes) or segm (masks)")
      ->capture_default_str()
      ->check(CLI::IsMember({"bbox", "segm"}));
  app.add_option("--folder", folder, "ap: keep gt.json and results.json here");
}

void bench_ap(const BenchApFlags& flags, int steps, nlohmann::ordered_json& out) {
  const auto kind = flags.iou_type == "segm" ? RegionKind::kMasks : RegionKind::kBoxes;
  const BenchFolder folder{flags.folder.empty()
                               ? fs::temp_directory_path() / fmt::format("clipself-bench-{}", ::getpid())
                               : fs::path(flags.folder),
                           flags.folder.empty()};
  write_set(folder.path, flags, kind == RegionKind::kMasks);
  using Seconds = std::chrono::duration<double>;
  double reading = std::numeric_limits<double>::infinity(), evaluating = reading;
  evaluation::ApResult result;
  for (int i = 0; i < steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto truth = evaluation::read_truth(folder.path / "gt.json", kind, false);
    const auto detections = evaluation::read_detections(folder.path / "results.json", truth, kind);
    const auto read = std::chrono::steady_clock::now();
    result = evaluate_coco(truth, detections, {.regions = kind});
    const auto done = std::chrono::steady_clock::now();
    reading = std::min(reading, Seconds(read - start).count());
    evaluating = std::min(evaluating, Seconds(done - read).count());
  }
  out["iou_type"] = flags.iou_type;
  out["images"] = result.images;
  out["truths"] = result.truths;
  out["detections"] = result.detections;
  out["read_seconds_fastest"] = reading;
  out["evaluate_seconds_fastest"] = evaluating;
  for (const auto& metric : result.metrics) out[metric.key] = metric.value;
}

}  // namespace clipself::cli
