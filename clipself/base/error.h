// How clipself reports a mistake: one exception type whose text is one complete line.
//
//   throw Error({.doing = "reading checkpoint", .where = path, .found = "14 bytes",
//                .expected = "a torch zip archive or a legacy torch file", .hint = "was the download cut off?"});
//
// prints as
//
//   reading checkpoint 'x.pt': found 14 bytes; expected a torch zip archive or a legacy torch file (hint: was the
//   download cut off?)
//
// An Error is a user's mistake or bad input: the program prints it on stderr and exits with 2. Anything else that
// escapes (std::exception) is a defect of ours and exits with 1.
#pragma once

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

namespace clipself {

/// The parts of an error message; only `doing` is mandatory.
struct ErrorParts {
  std::string doing{};     ///< What was being done: "reading checkpoint", "parsing --lr".
  std::string where{};     ///< Which file, key, index or flag it concerns; quoted in the message.
  std::string found{};     ///< What was there instead.
  std::string expected{};  ///< What would have been right.
  std::string hint{};      ///< How to go on, when there is something to say.
};

/// A user's mistake or a broken input. what() is a single line.
class Error : public std::runtime_error {
 public:
  explicit Error(const ErrorParts& parts);
  /// A message that is complete as it is. (A template, so that a braced list can only mean ErrorParts.)
  template <std::convertible_to<std::string> Text>
  explicit Error(const Text& message) : Error(ErrorParts{.doing = message}) {}
};

/// Of a message of LibTorch's: what follows its first line is a stack.
inline std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace clipself
