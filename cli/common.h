// What several commands share: flags for models and data, configuration files, tables of settings.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/datasets/panoptic.h"
#include "clipself/evaluation/zero_shot.h"
#include "clipself/models/clip_model.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::cli {

/// Checks of a flag's value: finite numbers in a range, said shortly when they are not.
CLI::Validator not_negative();
CLI::Validator above_zero();
CLI::Validator part_below_one();  ///< [0, 1)

/// Throws Error naming the first of these flags that is not a finite number: ranges let "nan" through, and one such
/// number would spoil every weight.
void require_finite(std::initializer_list<std::pair<const char*, double>> flags);

/// --extract-type: v1 or v2.
models::BoxFeature parse_extract_type(const std::string& name, const models::ClipConfig& config);

/// "32,44": whole numbers, not negative, below 10^9, between commas; none of an empty text. Throws Error naming `flag`.
std::vector<std::int64_t> parse_numbers(const std::string& text, const std::string& flag);
/// "fp32" or "bf16" (and open_clip's names for it) as a type. Throws Error for anything else.
at::ScalarType parse_precision(const std::string& name);
/// "auto", "cpu", "cuda" or "cuda:1". Throws Error when there is no such device.
at::Device parse_device(const std::string& name);

/// --model, --pretrained, --tokenizer, --precision, --device, --threads, --seed
struct ModelFlags {
  std::string model = "EVA02-CLIP-B-16";
  std::string pretrained;
  std::string tokenizer;
  std::string precision = "bf16";
  std::string device = "auto";
  int threads = 0;
  std::uint64_t seed = 0;

  void add_to(CLI::App& app);
  /// The model on its device with its weights; says so in the log, loudly when they are random. Without a text
  /// tower when the weights have none; `with_text`: throws Error then.
  std::shared_ptr<models::ClipModel> load(bool with_text = false) const;
};

/// --class-names and --templates: class embeddings made in the run by the model's own text tower.
struct ClassFlags {
  std::string names;
  std::string templates = "vild";
};

/// The vocabulary that --tokenizer names or that lies beside the weights. Throws Error when there is none, and when the
/// model has no text tower.
std::shared_ptr<const models::Tokenizer> tokenizer_of(const ModelFlags& flags, models::ClipModel& model);
/// Embeddings of these names by the model's own text tower, with a progress bar.
models::ClassEmbeddings embed_names(std::span<const std::string> names, const std::string& templates,
                                    const ModelFlags& model_flags, models::ClipModel& model);

/// --val-data, --val-image-root, --val-segm-root, --embed-path or --class-names, and how they are read
struct EvalFlags {
  std::string data, image_root, segmentation_root, embeddings;
  ClassFlags classes;
  int image_size = 1024;
  int downsample_factor = 0;  ///< 0: the model's patch size
  int workers = 2;
  bool image_average_pool = false;
  bool half_precision_means = false;
  std::string mask_rule = "bicubic";
  std::string extract_type = "v2";

  void add_to(CLI::App& app, bool required);
  bool given() const { return !data.empty(); }
  void prefix(const std::string& data_root);
};

/// Everything evaluation reads, checked and opened.
class Evaluator {
 public:
  /// Throws Error when a file is missing or the embeddings do not fit `model` or the categories. `model_flags` are
  /// those the model was loaded by.
  Evaluator(const EvalFlags& flags, const ModelFlags& model_flags, models::ClipModel& model);
  /// With a progress bar; `interrupted` is asked after each image and ends it by Interrupted when true. Processes
  /// divide the images among them, and all have the result.
  evaluation::ZeroShotResult run(models::ClipModel& model, const std::function<bool()>& interrupted = {},
                                 const std::shared_ptr<distributed::Processes>& processes = {}) const;
  const datasets::PanopticDataset& data() const { return *data_; }

 private:
  std::unique_ptr<datasets::PanopticDataset> data_;
  at::Tensor embeddings_;
  evaluation::ZeroShotOptions options_;
};

/// `root` in front of a relative path; an empty path stays empty.
std::string under(const std::string& root, const std::string& path);

/// The arguments with every "--config FILE" of `command` replaced by the file's settings, which later flags override.
/// TOML with the command's own flag names as keys. Throws Error for an unreadable file or an unknown key.
std::vector<std::string> expand_config(CLI::App& app, std::vector<std::string> arguments);

/// A command's options by name, in the order they were declared.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// Names and values of all of a command's options in the order they were declared, defaults included.
Settings settings_of(const CLI::App& command);
std::string settings_table(const Settings& settings);
std::string settings_json(const Settings& settings);

/// A line for what was thrown and is no Error: memory that ran out, or a defect of ours.
std::string failure_message(const std::exception& error);

/// Peak resident memory of this process in bytes.
double peak_memory();

}  // namespace clipself::cli
