// clipself prepare: the annotation files of open-vocabulary detection from those that data sets are published with.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/class_lists.h"
#include "clipself/datasets/coco_filter.h"
#include "clipself/datasets/voc.h"

namespace clipself::cli {
namespace {

namespace fs = std::filesystem;

std::set<std::string> names_of(const char* list) {
  const auto names = datasets::class_list(list, "classes");
  return {names.begin(), names.end()};
}

void refuse_same_file(const std::string& in, const std::string& out, const char* flag) {
  std::error_code ignored;
  if (fs::equivalent(in, out, ignored))
    throw Error({.doing = flag, .where = out, .found = "the file that is read", .expected = "another"});
}

void report(const std::string& path, const datasets::CocoFilterResult& result) {
  fmt::print("{}: {} of {} images, {} of {} annotations, {} of {} categories\n", path, result.images.kept,
             result.images.found, result.annotations.kept, result.annotations.found, result.categories.kept,
             result.categories.found);
}

struct OvCocoCommand {
  std::string annotations, out, split = "train";
};

void run(const OvCocoCommand& command) {
  require_file(command.annotations, "--annotations");
  refuse_same_file(command.annotations, command.out, "--out");
  const auto all = names_of("ov_coco");
  const auto annotated = command.split == "train" ? names_of("ov_coco_base") : all;
  AtomicFile out(command.out);
  const auto result = datasets::filter_coco(
      command.annotations, out,
      {.keep_category = [&](const datasets::Category& category) { return all.contains(category.name); },
       .keep_annotations = [&](const datasets::Category& category) { return annotated.contains(category.name); },
       .required = {all.begin(), all.end()}});
  out.commit();
  report(command.out, result);
}

struct OvLvisCommand {
  std::string annotations, out, frequencies;
};

/// The categories with the number of images that still show them, which the federated loss draws its classes by: 0 for
/// the rare ones.
std::string frequencies_json(const datasets::CocoFilterResult& result) {
  auto list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < result.listed.size(); ++i) {
    auto entry = nlohmann::ordered_json::parse(result.categories_json[i]);
    const auto images = result.images_of.find(result.listed[i].id);
    entry["image_count"] = images == result.images_of.end() ? 0 : images->second;
    list.push_back(std::move(entry));
  }
  return list.dump() + "\n";
}

void run(const OvLvisCommand& command) {
  require_file(command.annotations, "--annotations");
  const fs::path frequencies = command.frequencies.empty()
                                   ? fs::path(command.out).parent_path() / "lvis_v1_train_cat_norare_info.json"
                                   : fs::path(command.frequencies);
  refuse_same_file(command.annotations, command.out, "--out");
  refuse_same_file(command.annotations, frequencies.string(), "--frequencies");
  if (fs::path(command.out).lexically_normal() == frequencies.lexically_normal())
    throw Error(
        {.doing = "--frequencies", .where = frequencies.string(), .found = "the file of --out", .expected = "another"});
  AtomicFile out(command.out), table(frequencies);
  const auto result = datasets::filter_coco(
      command.annotations, out,
      {.keep_category = [](const datasets::Category&) { return true; },
       .keep_annotations = [](const datasets::Category& category) { return category.frequency != 'r'; },
       .required = {},
       .keep_empty_images = true});
  for (const auto& category : result.listed) {
    if (std::string_view("rcf").find(category.frequency) != std::string_view::npos) continue;
    throw Error({.doing = "reading annotations",
                 .where = command.annotations,
                 .found = fmt::format("category '{}' without a frequency", category.name),
                 .expected = "an LVIS file, whose categories are r, c or f"});
  }
  table.write(frequencies_json(result));
  out.commit();
  table.commit();
  report(command.out, result);
  const auto rare = std::count_if(result.listed.begin(), result.listed.end(),
                                  [](const auto& category) { return category.frequency == 'r'; });
  fmt::print("{}: {}, {} of them rare and held out\n", frequencies.string(),
             counted(result.categories.kept, "category", "categories"), rare);
}

struct VocCommand {
  std::string root, split = "test", out;
};

void run(const VocCommand& command) {
  require_folder(command.root, "--root");
  require_writable_file(command.out);
  const auto counts = datasets::voc_to_coco(command.root, command.split, command.out);
  fmt::print("{}: {}, {}, {} of them difficult\n", command.out, counted(counts.images, "image"),
             counted(counts.objects, "object"), counts.difficult);
}

template <typename Command>
CLI::App* add(CLI::App& parent, const char* name, const char* description, const std::shared_ptr<Command>& command) {
  auto* sub = parent.add_subcommand(name, description);
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  sub->callback([command] { run(*command); });
  return sub;
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto* prepare = app.add_subcommand("prepare", "Make the annotation files of open-vocabulary detection");
  prepare->require_subcommand(1);
  prepare->footer(
      "The files that F-ViT's configurations name:\n"
      "  zero-shot/instances_train2017_seen_2_65_cat.json  ov-coco --annotations instances_train2017.json\n"
      "  zero-shot/instances_val2017_all_2.json            ov-coco --annotations instances_val2017.json --split val\n"
      "  lvis_v1_train_seen_1203_cat.json                  ov-lvis --annotations lvis_v1_train.json\n"
      "  lvis_v1_train_cat_norare_info.json                written beside it");

  const auto coco = std::make_shared<OvCocoCommand>();
  auto* sub = add(*prepare, "ov-coco", "COCO's instances for 48 base and 17 novel classes (Bansal et al. 2018)", coco);
  sub->add_option("--annotations", coco->annotations, "instances_train2017.json or instances_val2017.json")->required();
  sub->add_option("--split", coco->split,
                  "train: annotations of the 48 base classes; val: of all 65. Images without any are left out")
      ->check(CLI::IsMember({"train", "val"}))
      ->capture_default_str();
  sub->add_option("--out", coco->out, "File to write")->required();

  const auto lvis = std::make_shared<OvLvisCommand>();
  sub =
      add(*prepare, "ov-lvis", "LVIS without the annotations of its rare classes, and the classes' frequencies", lvis);
  sub->add_option("--annotations", lvis->annotations, "lvis_v1_train.json")->required();
  sub->add_option("--out", lvis->out, "File to write")->required();
  sub->add_option("--frequencies", lvis->frequencies,
                  "File of the classes' frequencies to write [lvis_v1_train_cat_norare_info.json beside --out]");

  const auto voc = std::make_shared<VocCommand>();
  sub = add(*prepare, "voc", "Pascal VOC's XML as one COCO-format file", voc);
  sub->add_option("--root", voc->root, "VOCdevkit/VOC2007, with Annotations, ImageSets and JPEGImages")->required();
  sub->add_option("--split", voc->split, "Name of a list in ImageSets/Main")->capture_default_str();
  sub->add_option("--out", voc->out, "File to write; its file names are below --root")->required();
}

}  // namespace clipself::cli
