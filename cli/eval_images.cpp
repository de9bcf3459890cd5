#include "cli/eval_images.h"

#include "cli/class_names.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/captions.h"
#include "clipself/datasets/labelled_images.h"
#include "clipself/evaluation/image_level.h"
#include "clipself/evaluation/retrieval.h"

namespace clipself::cli {
namespace {

evaluation::ImageOptions image_options(const ImageTaskFlags& flags, const EvalFlags& data, Progress& bar,
                                       const std::function<bool()>& interrupted) {
  return {.workers = data.workers,
          .batch_size = flags.batch_size,
          .progress = [&bar, interrupted](std::int64_t done, std::int64_t) {
            bar.update(done);
            if (interrupted()) throw Interrupted{};
          }};
}

}  // namespace

void ImageTaskFlags::add_to(CLI::App& app) {
  app.add_option("--image-folder", image_folder,
                 "classification: a folder of images for each class; --class-names is then a file of lines "
                 "'folder name of the class'");
  app.add_option("--captions", captions, "retrieval: COCO captions JSON; --val-image-root has its images");
  app.add_option("--captions-per-image", captions_per_image, "retrieval: the first so many count (0: all)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--eval-batch-size", batch_size, "classification, retrieval: images at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 14));
}

void ImageTaskFlags::prefix(const std::string& data_root) {
  for (auto* path : {&image_folder, &captions}) *path = under(data_root, *path);
}

EvalReport classification_report(const ImageTaskFlags& flags, const EvalFlags& data, const ModelFlags& model_flags,
                                 bool per_class, const std::function<bool()>& interrupted) {
  if (flags.image_folder.empty())
    throw Error({.doing = "--task classification", .found = "no images", .expected = "--image-folder"});
  const auto type = parse_precision(model_flags.precision);
  require_folder(flags.image_folder, "--image-folder");
  if (!data.classes.names.empty()) require_file(data.classes.names, "--class-names");
  const auto images = datasets::read_labelled_folders(flags.image_folder, data.classes.names);
  auto model = model_flags.load(data.embeddings.empty());
  models::ClassEmbeddings classes;
  if (data.embeddings.empty()) {
    classes = embed_names(images.names, data.classes.templates, model_flags, *model);
  } else {
    require_file(data.embeddings, "--embed-path");
    classes = models::read_class_embeddings(data.embeddings);
    models::require_embeddings_of(classes, *model, "--embed-path", data.embeddings);
    classes = embeddings_by_name(std::move(classes), images.names, "--image-folder", data.embeddings);
  }
  model->freeze(type);
  spdlog::info("{}, {}", counted(std::ssize(images.files), "image"),
               counted(std::ssize(images.names), "class", "classes"));
  Progress bar("evaluating", static_cast<std::int64_t>(images.files.size()));
  const auto result =
      evaluation::evaluate_classification(*model, images, classes.rows, image_options(flags, data, bar, interrupted));
  return {evaluation::classification_json(result), evaluation::classification_table(result, per_class)};
}

EvalReport retrieval_report(const ImageTaskFlags& flags, const EvalFlags& data, const ModelFlags& model_flags,
                            const std::function<bool()>& interrupted) {
  if (flags.captions.empty())
    throw Error({.doing = "--task retrieval", .found = "no captions", .expected = "--captions, a COCO captions JSON"});
  const auto type = parse_precision(model_flags.precision);
  require_file(flags.captions, "--captions");
  require_folder(data.image_root, "--val-image-root");
  const auto captions = datasets::read_coco_captions(flags.captions);
  auto model = model_flags.load(/*with_text=*/true);
  const auto tokenizer = tokenizer_of(model_flags, *model);
  model->freeze(type);
  std::int64_t total = 0;
  for (const auto& image : captions) {
    const auto count = static_cast<std::int64_t>(image.captions.size());
    total += 1 + (flags.captions_per_image > 0 ? std::min<std::int64_t>(flags.captions_per_image, count) : count);
  }
  spdlog::info("{}, {}", counted(std::ssize(captions), "image"), counted(total - std::ssize(captions), "caption"));
  Progress bar("evaluating", total);
  const auto result = evaluation::evaluate_retrieval(
      *model, *tokenizer, captions, data.image_root,
      {.captions_per_image = flags.captions_per_image, .image = image_options(flags, data, bar, interrupted)});
  return {evaluation::retrieval_json(result), evaluation::retrieval_table(result)};
}

}  // namespace clipself::cli
