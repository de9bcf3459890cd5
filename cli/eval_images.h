// The tasks of 'clipself eval' that look at whole images.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/common.h"

namespace clipself::cli {

/// --image-folder, --captions, --captions-per-image, --eval-batch-size
struct ImageTaskFlags {
  std::string image_folder, captions;
  int captions_per_image = 5;
  int batch_size = 32;

  void add_to(CLI::App& app);
  void prefix(const std::string& data_root);
};

struct EvalReport {
  std::string json, table;
};

/// Both check their input before the model is loaded, show a progress bar, and throw Interrupted when `interrupted`
/// says so.
EvalReport classification_report(const ImageTaskFlags& flags, const EvalFlags& data, const ModelFlags& model_flags,
                                 bool per_class, const std::function<bool()>& interrupted);
EvalReport retrieval_report(const ImageTaskFlags& flags, const EvalFlags& data, const ModelFlags& model_flags,
                            const std::function<bool()>& interrupted);

}  // namespace clipself::cli
