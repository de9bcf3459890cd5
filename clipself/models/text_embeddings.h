// Class embeddings: names into prompts, prompts through the text tower, and the files that keep the result.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/clip_model.h"
#include "clipself/models/tokenizer.h"

namespace clipself::models {

/// One row a class. All but `rows` are empty when the file does not say (the published .npy files do not).
struct ClassEmbeddings {
  at::Tensor rows;  ///< float32 (classes, D), unit length
  std::vector<std::string> names;
  std::string model;         ///< name of the model whose text tower made them
  std::string text_tower{};  ///< fingerprint of that tower (text_fingerprint)
};

/// Tells a model's text tower from others whatever the model is called: a hash of its weights rounded to bfloat16, so
/// that neither --precision nor refining the vision tower changes it. Empty when the model has none.
std::string text_fingerprint(ClipModel& model);

/// "single", "vild" (the original's 63, both with the "This is " that the original puts in front) or "openai" (the 80
/// of ImageNet as open_clip has them), or the lines of a file, each with "{}" for the name and optionally "{article}".
/// Throws Error naming the known ones otherwise.
std::vector<std::string> prompt_templates(const std::string& name_or_file);

/// The prompts of a class as the original makes them: "_" to a blank, "/" to " or ", lower case, trailing dots removed;
/// "a" or "an" by the first letter of the raw name.
std::vector<std::string> class_prompts(const std::string& name, std::span<const std::string> templates);

/// Per class the mean of the prompts' unit features, again at unit length. Throws Error when the model has no text
/// tower.
ClassEmbeddings embed_classes(ClipModel& model, const Tokenizer& tokenizer, std::span<const std::string> names,
                              std::span<const std::string> templates,
                              const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

/// .npy (the rest follows the array, where numpy does not look), .safetensors ("embeddings" and metadata) or .pt
/// (a dictionary of names as F-ViT reads, "clipself" holding the rest), by the file's suffix. Atomically.
void write_class_embeddings(const std::filesystem::path& path, const ClassEmbeddings& embeddings);
/// The same three, told by content; of a .pt dictionary without order the names come in file order. Rows are
/// brought to unit length. Throws Error, also for a row of zeros and for numbers that are not finite.
ClassEmbeddings read_class_embeddings(const std::filesystem::path& path);
/// Throws Error unless they have the model's width and come from its text tower: by the tower's fingerprint where both
/// are known, else, when they name a model, by that name. `flag` is for the message.
void require_embeddings_of(const ClassEmbeddings& embeddings, ClipModel& model, const std::string& flag,
                           const std::string& source);

}  // namespace clipself::models
