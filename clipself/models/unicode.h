// Text as code points, with what tokenizers need to know of them (by ICU).
#pragma once

#include <string>
#include <string_view>

namespace clipself::models {

/// Bytes that are no UTF-8 become U+FFFD, as Python's errors="replace" does it.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);

/// Full lower-casing without a language: one letter may become several, a capital sigma depends on its neighbours.
std::u32string lower_case(std::u32string_view text);
/// Composed form (NFC).
std::u32string compose(std::u32string_view text);

bool is_letter(char32_t c);  ///< general category L*
bool is_number(char32_t c);  ///< general category N*
bool is_space(char32_t c);   ///< property White_Space
/// Without what Python's str.strip() takes off both ends: white space and the four separators U+001C to U+001F.
std::u32string_view strip(std::u32string_view text);
/// Each run of white space made one blank.
std::u32string collapse_spaces(std::u32string_view text);
/// The words between white space as Python's str.split() sees it, one blank between them.
std::u32string join_words(std::u32string_view text);

}  // namespace clipself::models
