// Columns of text with names in UTF-8.
#pragma once

#include <algorithm>
#include <string>

namespace clipself::evaluation {

/// Columns a text takes on a terminal: UTF-8 continuation bytes take none.
inline std::size_t columns(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// `text` with blanks up to `width` columns.
inline std::string padded(const std::string& text, std::size_t width) {
  const std::size_t used = columns(text);
  return text + std::string(width > used ? width - used : 0, ' ');
}

}  // namespace clipself::evaluation
