// Which classes to look for: names for the text tower, or embeddings from a file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "clipself/datasets/annotations.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::cli {

/// --names, --templates, --embed-path
struct NamesFlags {
  std::string names;
  std::string templates = "vild";
  std::string embeddings;

  void add_to(CLI::App& app);
  bool given() const { return !names.empty() || !embeddings.empty(); }
  /// The names have to go through the text tower.
  bool need_text() const { return embeddings.empty() && !names.empty(); }
  /// Unit rows on the CPU and as many names: from the file (--names then names its rows, or picks among the names it
  /// has), or from the text tower of `model`, which must have its weights' own types still. Throws Error when neither
  /// flag is given and when they do not fit.
  models::ClassEmbeddings load(const ModelFlags& model_flags, models::ClipModel& model) const;
};

/// The rows for `names`: picked by name where the file at `path` names its rows, else all rows, of which there must be
/// as many. Throws Error naming `flag`.
models::ClassEmbeddings embeddings_by_name(models::ClassEmbeddings embeddings, const std::vector<std::string>& names,
                                           const std::string& flag, const std::string& path);

/// A row for each category of `data`, by label: picked by the categories' names where the file at `path` names its rows
/// (rows of other names are left out), else row i for the category with the i-th lowest id, with a warning when rows
/// are left. Throws Error naming `flag` when a category has no row.
at::Tensor rows_of_categories(models::ClassEmbeddings embeddings, const datasets::AnnotationIndex& data,
                              const std::string& flag, const std::string& path);

/// "a, b, c", a known list, a file of names, or a single name. Throws Error naming `flag` for
/// what looks like a file and is none, and for an empty name.
std::vector<std::string> parse_names(const std::string& text, const std::string& flag);

}  // namespace clipself::cli
