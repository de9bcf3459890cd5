// clipself verify DIR: runs reference cases (numbers of the Python original) through the library and compares.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/common.h"
#include "cli/verify_case.h"
#include "cli/verify_kinds.h"
#include "cli/verify_report.h"
#include "clipself/base/error.h"

namespace clipself::cli {
namespace verify {

const std::map<std::string, Runner>& kinds() {
  static const std::map<std::string, Runner> table{
      {"a_anchors", verify_anchors},
      {"adamw_only", verify_adamw},
      {"checkpoints", verify_checkpoints},
      {"clip_vit_like", verify_forward},
      {"clip_vit_quickgelu", verify_forward},
      {"clipself_step", verify_clipself_step},
      {"clipself_step_vit", verify_clipself_step_vit},
      {"datasets", verify_datasets},
      {"eva_b_like", verify_forward},
      {"eva_l_like", verify_forward},
      {"evaluation", verify_evaluation},
      {"i_dataset", verify_detection_dataset},
      {"i_resize", verify_detection_resize},
      {"i_test_pipeline", verify_detection_test_pipeline},
      {"i_train_pipeline_coco", verify_detection_pipeline_boxes},
      {"i_train_pipeline_lvis", verify_detection_pipeline_masks},
      {"j_coco_eval", verify_coco_eval},
      {"j_lvis_eval", verify_lvis_eval},
      {"j_rle", verify_rle},
      {"j_voc_eval", verify_voc_eval},
      {"load_resize", verify_load_resize},
      {"lr_schedules", verify_schedules},
      {"main_run", verify_main_run},
      {"preprocess", verify_preprocess},
      {"regionclip_step", verify_regionclip_step},
      {"text_embeddings", verify_text_embeddings},
      {"tokenizer", verify_tokenizer},
      {"trainable", verify_trainable},
      {"b_bbox_coder", verify_box_coder},
      {"c_assigner", verify_assigner},
      {"d_backbone_fpn", verify_pyramid},
      {"d_backbone_fpn_b", verify_pyramid},
      {"e_rpn", verify_rpn},
      {"e_rpn_bn", verify_rpn},
      {"f_boxhead_coco", verify_box_head},
      {"f_boxhead_lvis", verify_box_head},
      {"f_maskhead", verify_mask_head},
      {"g_detector_coco", verify_detector},
      {"g_detector_lvis", verify_detector},
      {"g_detector_transfer", verify_detector},
      {"h_lr_schedule", verify_detector_schedule},
      {"h_train_coco", verify_detector_step},
      {"h_train_lvis", verify_detector_step},
      {"k_roi_extract", verify_roi_extract},
      {"l_batched_nms", verify_batched_nms},
  };
  return table;
}

namespace {

/// The kinds that are also checked in bfloat16.
const std::set<std::string> kRounded{"clip_vit_like",     "clip_vit_quickgelu", "clipself_step",
                                     "clipself_step_vit", "eva_b_like",         "eva_l_like"};

namespace fs = std::filesystem;

struct Found {
  std::vector<Case> cases;
  std::vector<UnknownCase> unknown;
};

/// Something that only a reference case holds: tells a case of an unknown kind from a folder of pictures.
bool looks_like_case(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto file = entry.path().filename().string();
    if (file == "inputs.safetensors" || file == "files.json" || file == "trainable.json" || file == "manifest.json" ||
        (file.starts_with("expected") && (file.ends_with(".safetensors") || file.ends_with(".json"))))
      return true;
  }
  return false;
}

/// A run's checkpoints lie in a folder of a kind's name.
bool is_case(const fs::path& folder, const std::string& kind) {
  return kinds().contains(kind) && (kind != "checkpoints" || looks_like_case(folder));
}

void discover(const fs::path& folder, const std::string& kind, const std::string& label, Found& found) {
  if (is_case(folder, kind)) {
    found.cases.emplace_back(folder, kind, label);
    return;
  }
  if (looks_like_case(folder)) {
    found.unknown.push_back({label});
    return;
  }
  std::vector<fs::path> children;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code unknown;
    if (entry.is_directory(unknown) && !entry.is_symlink(unknown)) children.push_back(entry.path());
    // A link to a folder is followed one step, to a case; a link to anything deeper could lead round in circles.
    else if (entry.is_directory(unknown) && kinds().contains(entry.path().filename().string()))
      children.push_back(entry.path());
  }
  if (error) throw Error({.doing = "looking for reference cases", .where = folder.string(), .found = error.message()});
  std::sort(children.begin(), children.end());
  for (const auto& child : children) {
    const auto name = child.filename().string();
    discover(child, name, label.empty() ? name : label + "/" + name, found);
  }
}

Found discover(const fs::path& root) {
  std::error_code error;
  const auto folder = fs::canonical(root, error);
  if (error || !fs::is_directory(folder))
    throw Error({.doing = "looking for reference cases",
                 .where = root.string(),
                 .found = error ? error.message() : "a file",
                 .expected = "a folder with reference cases"});
  Found found;
  const auto name = folder.filename().string();
  // DIR may be a case itself.
  if (is_case(folder, name) || looks_like_case(folder))
    discover(folder, name, name, found);
  else
    discover(folder, "", "", found);
  return found;
}

void run(Case& c) {
  const auto start = std::chrono::steady_clock::now();
  bool complete = false;
  try {
    kinds().at(c.kind())(c);
    complete = true;
  } catch (const Error& error) {
    c.unreadable(error.what());
  } catch (const std::exception& error) {
    c.check_that("(the whole case)", false, "internal error: " + first_line(error.what()));
  }
  // What an aborted case did not get to is not counted against it one by one.
  if (complete) c.finish();
  c.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Options {
  fs::path folder;
  std::vector<std::string> only;
  fs::path vocabulary;
  std::string precision = "fp32";
  bool json = false;
  bool verbose = false;
};

void verify(const Options& options) {
  std::error_code ignored;
  auto found = fs::is_regular_file(options.folder, ignored) ? Found{} : discover(options.folder);
  if (found.cases.empty() && found.unknown.empty() && options.only.empty() &&
      parse_precision(options.precision) == at::kFloat) {
    if (!verify_files(options.folder, options.json)) throw ExitCode{2};
    return;
  }
  const auto precision = parse_precision(options.precision);
  if (precision != at::kFloat) {
    std::erase_if(found.cases, [](const Case& c) { return !kRounded.contains(c.kind()); });
    found.unknown.clear();
  }
  std::set<std::string> there;
  for (const auto& c : found.cases) there.insert(c.kind());
  for (const auto& kind : options.only)
    if (!there.contains(kind))
      throw Error({.doing = "--kind",
                   .where = kind,
                   .found = "no case of that kind in " + options.folder.string(),
                   .expected = there.empty() ? "another folder" : fmt::format("one of {}", fmt::join(there, ", "))});
  if (!options.only.empty()) {
    const auto unwanted = [&](const Case& c) {
      return std::find(options.only.begin(), options.only.end(), c.kind()) == options.only.end();
    };
    std::erase_if(found.cases, unwanted);
    found.unknown.clear();
  }
  if (found.cases.empty() && found.unknown.empty())
    throw Error({.doing = "looking for reference cases",
                 .where = options.folder.string(),
                 .found = "none",
                 .expected = "folders named after a kind",
                 .hint = "the kinds are listed by 'clipself verify --help'"});
  std::size_t width = 4;
  for (const auto& c : found.cases) width = std::max(width, c.label().size());
  if (!options.json) fmt::print("{}", table_header(width));
  for (auto& c : found.cases) {
    c.vocabulary = options.vocabulary;
    c.precision = precision;
    run(c);
    if (!options.json) {
      fmt::print("{}", table_rows(c, width, options.verbose));
      std::fflush(stdout);
    }
  }
  if (options.json)
    fmt::print("{}", json_report(found.cases, found.unknown));
  else
    fmt::print("\n{}", summary(found.cases, found.unknown));
  if (found.cases.empty())
    throw Error({.doing = "looking for reference cases",
                 .where = options.folder.string(),
                 .found = "none of a kind this program knows",
                 .expected = "folders named after a kind",
                 .hint = "the kinds are listed by 'clipself verify --help'"});
  const auto totals = count(found.cases);
  if (totals.failed > 0) throw ExitCode{1};
  if (totals.unreadable > 0) throw ExitCode{2};
}

}  // namespace
}  // namespace verify

void add_verify(CLI::App& app) {
  auto* command = app.add_subcommand(
      "verify", "Compare this program's numbers with reference cases; of other files, tell which are whole");
  const auto options = std::make_shared<verify::Options>();
  std::string known;
  for (const auto& [kind, runner] : verify::kinds()) known += (known.empty() ? "" : ", ") + kind;
  command
      ->add_option("dir", options->folder,
                   "Folder with reference cases, a case's kind being its folder's name; or checkpoints, arrays, "
                   "images, annotations, or a folder of them")
      ->required()
      ->type_name("DIR");
  command->add_option("--kind", options->only, "Only these kinds: " + known)
      ->check([](const std::string& kind) {
        return verify::kinds().contains(kind) ? std::string() : "unknown kind '" + kind + "'";
      })
      ->type_name("KIND");
  command->add_option("--vocabulary", options->vocabulary,
                      "Vocabulary of text cases (default: one in a folder above the case, or in 'data' there)");
  command
      ->add_option("--precision", options->precision,
                   fmt::format("fp32, or bf16: image towers in bfloat16, with bounds of its own, for the kinds {}",
                               fmt::join(verify::kRounded, ", ")))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print a JSON document with every comparison");
  command->add_flag("--verbose", options->verbose, "List every tensor instead of the worst of a case");
  command->footer(
      "Columns: the worst absolute difference; the worst difference relative to the expected value (values above the\n"
      "absolute tolerance only). Exit code: 0 all within tolerance or whole, 1 something beyond it, 2 a case or file\n"
      "cannot be read.");
  command->callback([options] { verify::verify(*options); });
}

}  // namespace clipself::cli
