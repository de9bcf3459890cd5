// Names of the classes of known data sets, and of any list in a file.
#pragma once

#include <string>
#include <vector>

namespace clipself::datasets {

/// "ade20k", "coco", ...: what class_list takes, sorted.
std::vector<std::string> known_class_lists();

/// The names in the order of their labels: a known list, or a file with a name a line, a JSON array of names, or a
/// COCO-format JSON, whose categories are taken by id, or names between commas. Throws Error naming the known lists
/// when it is neither, for a file without names, and for text that is not UTF-8. `flag` is for the message.
std::vector<std::string> class_list(const std::string& name_or_file, const std::string& flag);

/// "cat, hot dog": the names between commas, one when there is none. Throws Error for an empty one and for text that is
/// not UTF-8.
std::vector<std::string> listed_names(const std::string& text);

}  // namespace clipself::datasets
