// The built-in world as a data set in COCO's formats, for every command that reads those.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "clipself/scenes/render.h"
#include "clipself/scenes/world.h"

namespace clipself::scenes {

struct DatasetOptions {
  std::uint64_t seed = 0;
  int train_images = 1200;
  int val_images = 100;  ///< each of the two evaluation sets
  int threads = 2;
  std::function<void(std::int64_t done, std::int64_t total)> progress{};  ///< called after each image
};

/// One set of images and the files that speak of it.
struct SplitPaths {
  std::filesystem::path images;          ///< folder of JPEGs
  std::filesystem::path instances;       ///< COCO instances: boxes, run-length masks
  std::filesystem::path captions;        ///< COCO captions
  std::filesystem::path proposals;       ///< class-agnostic boxes with scores
  std::filesystem::path panoptic;        ///< COCO panoptic JSON
  std::filesystem::path panoptic_masks;  ///< folder of its PNGs
};

struct DatasetPaths {
  SplitPaths train;               ///< combinations that are not held out
  SplitPaths val;                 ///< other scenes of the same combinations
  SplitPaths held_out;            ///< scenes of held-out combinations alone
  std::filesystem::path classes;  ///< class names by label, one a line
};

/// Where write_dataset puts things below `folder`.
DatasetPaths dataset_paths(const std::filesystem::path& folder);

/// Writes the three splits below `folder`, replacing what is there. The same seed gives the same files.
/// Throws Error when a file cannot be written.
DatasetPaths write_dataset(const std::filesystem::path& folder, const DatasetOptions& options);

/// The scene behind image `index` of a split.
enum class Split { kTrain, kVal, kHeldOut };
Scene dataset_scene(std::uint64_t seed, Split split, int index);

/// What can be seen of a scene's thing or surface.
struct Segment {
  int owner = 0;  ///< as in Rendering::owners
  int label = 0;
  std::array<int, 4> box{};  ///< x, y, width, height in pixels, around the visible pixels
  std::int64_t area = 0;
};
/// Segments with at least one visible pixel, things first.
std::vector<Segment> segments_of(const Scene& scene, const Rendering& rendering);

/// A box as a proposal network might give it.
struct Proposal {
  ops::Box box;
  double score = 0;
};
/// Boxes around most of the things, each edge off by some pixels, some things twice, and boxes around nothing.
std::vector<Proposal> draw_proposals(const std::vector<Segment>& segments, int width, int height, Rng& rng);

}  // namespace clipself::scenes
