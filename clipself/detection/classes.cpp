#include "clipself/detection/classes.h"

#include <algorithm>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/models/layers.h"

namespace clipself::detection {

DetectionClasses make_classes(const models::ClassEmbeddings& embeddings, const std::vector<std::string>& names,
                              const std::vector<std::string>& base, const std::string& source) {
  const auto refuse = [&](const std::string& found, const std::string& expected, const std::string& hint = {}) {
    throw Error({.doing = "choosing the classes to detect",
                 .where = source,
                 .found = found,
                 .expected = expected,
                 .hint = hint});
  };
  if (names.empty()) refuse("no class names", "one at least");
  std::unordered_map<std::string, std::int64_t> row_of;
  for (std::size_t i = 0; i < embeddings.names.size(); ++i)
    row_of.emplace(embeddings.names[i], static_cast<std::int64_t>(i));
  if (row_of.empty())
    refuse("embeddings without names", "a file that names its rows",
           "'clipself embed-text --background --out FILE.pt' writes one");
  if (std::ranges::find(names, "background") != names.end())
    refuse("'background' among the classes", "things alone; background stands behind them by itself");
  std::vector<std::int64_t> rows;
  auto wanted = names;
  wanted.emplace_back("background");
  for (const auto& name : wanted) {
    const auto found = row_of.find(name);
    if (found == row_of.end())
      refuse("no embedding of '" + name + "'", "one of each class and of 'background'",
             name == "background" ? "'clipself embed-text --background' adds it" : "");
    rows.push_back(found->second);
  }
  DetectionClasses classes{.names = names, .is_base = std::vector<bool>(names.size(), base.empty()), .embeddings = {}};
  for (const auto& name : base) {
    const auto place = std::find(names.begin(), names.end(), name);
    if (place == names.end()) refuse("a base class '" + name + "' that is none of the classes", "one of them");
    classes.is_base[static_cast<std::size_t>(place - names.begin())] = true;
  }
  classes.embeddings = models::unit_length(embeddings.rows.to(at::kFloat).index_select(0, at::tensor(rows, at::kLong)));
  return classes;
}

}  // namespace clipself::detection
