#include "clipself/base/error.h"

namespace clipself {
namespace {

// Control characters (a path or key read from a hostile file may hold them) would break the one-line promise.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

std::string compose(const ErrorParts& parts) {
  std::string text = parts.doing;
  if (!parts.where.empty()) text += " '" + parts.where + "'";
  if (!parts.found.empty()) text += ": found " + parts.found;
  if (!parts.expected.empty()) text += (parts.found.empty() ? ": expected " : "; expected ") + parts.expected;
  if (!parts.hint.empty()) text += " (hint: " + parts.hint + ")";
  return one_line(std::move(text));
}

}  // namespace

Error::Error(const ErrorParts& parts) : std::runtime_error(compose(parts)) {}

}  // namespace clipself
