// What `clipself verify` prints.
#pragma once

#include <string>
#include <vector>

#include "cli/verify_case.h"

namespace clipself::cli::verify {

/// A folder that looks like a case but whose name is no known kind.
struct UnknownCase {
  std::string label;
};

struct Totals {
  int passed = 0;
  int failed = 0;      ///< cases with a comparison beyond its tolerance
  int unreadable = 0;  ///< cases with a file that cannot be used (they may also have failed)
  std::int64_t comparisons = 0;
};
Totals count(const std::vector<Case>& cases);

/// The column titles; `label_width` is the width of the first column.
std::string table_header(std::size_t label_width);
/// A finished case's lines. Groups become one line with their worst member, and one for each failed member, unless
/// `verbose`.
std::string table_rows(const Case& finished, std::size_t label_width, bool verbose);
std::string summary(const std::vector<Case>& cases, const std::vector<UnknownCase>& unknown);
/// Everything, one entry a tensor.
std::string json_report(const std::vector<Case>& cases, const std::vector<UnknownCase>& unknown);

}  // namespace clipself::cli::verify
