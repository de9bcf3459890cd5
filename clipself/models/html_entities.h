// Character references of HTML 5 ("&eacute;", "&#233;"), replaced as Python's html.unescape replaces them.
#pragma once

#include <string>
#include <string_view>

namespace clipself::models {

/// Numeric references (those of Windows-1252 and invalid ones as the standard says), named ones, and, without a
/// semicolon, the longest name that the standard lets stand without one; anything else stays.
std::u32string unescape_html(std::u32string_view text);

/// The table behind it (html_entities_table.cpp).
extern const char* const kHtmlEntities;

}  // namespace clipself::models
