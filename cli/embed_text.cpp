// clipself embed-text: class names into class embeddings.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/class_names.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/class_lists.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::cli {
namespace {

struct EmbedTextCommand {
  ModelFlags model;
  ClassFlags classes;
  std::string out;
  bool background = false;
};

void run(const EmbedTextCommand& command) {
  const auto suffix = std::filesystem::path(command.out).extension();
  if (suffix != ".npy" && suffix != ".safetensors" && suffix != ".pt" && suffix != ".pth") {
    throw Error({.doing = "--out",
                 .where = command.out,
                 .found = "an unknown suffix",
                 .expected = ".npy, .safetensors or .pt"});
  }
  require_writable_file(command.out);  // before minutes of work
  // Before a model is loaded for them.
  auto names = parse_names(command.classes.names, "--names");
  if (command.background) names.emplace_back("background");
  const auto templates = models::prompt_templates(command.classes.templates).size();
  const auto type = parse_precision(command.model.precision);
  const auto model = command.model.load(/*with_text=*/true);
  model->freeze(type);
  const auto embeddings = embed_names(names, command.classes.templates, command.model, *model);
  models::write_class_embeddings(command.out, embeddings);
  fmt::print("{}: {}, {}, {} numbers each, by the text tower of {}\n", command.out,
             counted(embeddings.rows.size(0), "class", "classes"),
             counted(static_cast<std::int64_t>(templates), "template"), embeddings.rows.size(1), embeddings.model);
}

}  // namespace

void add_embed_text(CLI::App& app) {
  auto* sub = app.add_subcommand("embed-text", "Make class embeddings from names with a model's text tower");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const auto command = std::make_shared<EmbedTextCommand>();
  command->model.precision = "fp32";
  sub->add_option("--config", "TOML file of these settings");
  command->model.add_to(*sub);
  sub->add_option(
         "--names", command->classes.names,
         fmt::format("{}, or names between commas, or a file: a name a line, a JSON array, or a COCO-format JSON",
                     fmt::join(datasets::known_class_lists(), ", ")))
      ->required();
  sub->add_option("--templates", command->classes.templates,
                  "single (This is a photo of a ...), vild (63), openai (80), or a file with a template a line")
      ->capture_default_str();
  sub->add_flag("--background", command->background, "Append the row 'background', as F-ViT's dictionaries have it");
  sub->add_option("--out", command->out, "File to write: .npy, .safetensors, or .pt (the dictionary F-ViT reads)")
      ->required();
  sub->footer(
      "The vocabulary is --tokenizer FILE or a file beside the weights (or, with --pretrained none, beside --model's "
      "file):\n"
      "bpe_simple_vocab_16e6.txt.gz (github.com/openai/CLIP, folder clip/), tokenizer.json, vocab.json with "
      "merges.txt,\n"
      "spiece.model or tokenizer.model (from the checkpoint's page at Hugging Face).");
  sub->callback([command] { run(*command); });
}

}  // namespace clipself::cli
