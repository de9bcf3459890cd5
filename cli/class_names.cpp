#include "cli/class_names.h"

#include <algorithm>
#include <filesystem>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/class_lists.h"

namespace clipself::cli {

namespace fs = std::filesystem;

models::ClassEmbeddings embeddings_by_name(models::ClassEmbeddings embeddings, const std::vector<std::string>& names,
                                           const std::string& flag, const std::string& path) {
  const auto rows = static_cast<std::size_t>(embeddings.rows.size(0));
  if (embeddings.names.empty()) {
    if (names.size() != rows)
      throw Error({.doing = flag,
                   .found = std::to_string(names.size()) + " names",
                   .expected = "one for each of the " + std::to_string(rows) + " rows of " + path,
                   .hint = "the file does not name its rows"});
    embeddings.names = names;
    return embeddings;
  }
  std::vector<std::int64_t> picked;
  for (const std::string& name : names) {
    const auto found = std::find(embeddings.names.begin(), embeddings.names.end(), name);
    if (found == embeddings.names.end())
      throw Error({.doing = flag,
                   .where = path,
                   .found = "no row named '" + name + "'",
                   .expected = c10::str("one among the ", rows, " that it names"),
                   .hint = "without this file the model's own text tower embeds any name"});
    picked.push_back(found - embeddings.names.begin());
  }
  embeddings.rows = embeddings.rows.index_select(0, at::tensor(picked, at::kLong));
  embeddings.names = names;
  return embeddings;
}

at::Tensor rows_of_categories(models::ClassEmbeddings embeddings, const datasets::AnnotationIndex& data,
                              const std::string& flag, const std::string& path) {
  std::vector<std::string> names;
  for (const datasets::Category& category : data.categories_by_label()) names.push_back(category.name);
  const std::int64_t rows = embeddings.rows.size(0), categories = std::ssize(names);
  // Data that does not name its categories can only be matched by position.
  const bool by_name = !embeddings.names.empty() && std::find(names.begin(), names.end(), "") == names.end();
  if (by_name) {
    if (rows > categories)
      spdlog::info("{}: rows picked by name for the {} of {}", path, counted(categories, "category", "categories"),
                   data.source);
    return embeddings_by_name(std::move(embeddings), names, flag, path).rows;
  }
  if (rows < categories)
    throw Error({.doing = flag,
                 .where = path,
                 .found = c10::str(rows, " rows"),
                 .expected = c10::str("one for each of the ", categories, " categories of ", data.source)});
  if (rows > categories)
    spdlog::warn("{} has {} rows for {} categories: row i is taken for the category with the i-th lowest id", path,
                 rows, categories);
  return embeddings.rows;
}

void NamesFlags::add_to(CLI::App& app) {
  app.add_option("--names", names, "Classes: \"a, b, c\", a file with a name a line, or a known list such as coco");
  app.add_option("--templates", templates, "Prompts of --names: single, vild, openai or a file")->capture_default_str();
  app.add_option(
      "--embed-path", embeddings,
      "Class embeddings from a file instead of the text tower; --names then names its rows or picks of them");
}

std::vector<std::string> parse_names(const std::string& text, const std::string& flag) {
  const auto known = datasets::known_class_lists();
  std::error_code ignored;
  // What could be a file's name or a list gets class_list's message when it is none.
  const bool one_name = std::find(known.begin(), known.end(), text) == known.end() && !fs::exists(text, ignored) &&
                        text.find_first_of(",./") == std::string::npos;
  return one_name ? datasets::listed_names(text) : datasets::class_list(text, flag);
}

models::ClassEmbeddings NamesFlags::load(const ModelFlags& model_flags, models::ClipModel& model) const {
  if (!given()) throw Error({.doing = "choosing classes", .found = "none", .expected = "--names or --embed-path"});
  const auto wanted = names.empty() ? std::vector<std::string>{} : parse_names(names, "--names");
  models::ClassEmbeddings result;
  if (embeddings.empty()) {
    result = embed_names(wanted, templates, model_flags, model);
  } else {
    require_file(embeddings, "--embed-path");
    result = models::read_class_embeddings(embeddings);
    models::require_embeddings_of(result, model, "--embed-path", embeddings);
    if (!wanted.empty()) result = embeddings_by_name(std::move(result), wanted, "--names", embeddings);
    if (result.names.empty()) {
      spdlog::warn("{} does not name its rows: numbers stand for them (--names names them)", embeddings);
      for (std::int64_t row = 0; row < result.rows.size(0); ++row)
        result.names.push_back("class " + std::to_string(row));
    }
  }
  result.rows = result.rows.to(at::kFloat).cpu();
  return result;
}

}  // namespace clipself::cli
