// A detector's masks, as bitmaps and as the run lengths of its result files.
#include <fmt/format.h>

#include <algorithm>

#include "cli/verify_detector.h"
#include "clipself/base/error.h"
#include "clipself/formats/rle.h"
#include "clipself/ops/masks.h"

namespace clipself::cli::verify {
namespace {

using nlohmann::ordered_json;

/// Thresholds of bilinear values may fall either way on a border.
constexpr double kMaskShare = 2e-3;

at::Tensor mask_of_runs(const ordered_json& in, const std::string& where) {
  const auto [height, width] = extent_of(member(in, "size", where), where);
  const auto text = value<std::string>(in, "counts", where);
  try {
    return ops::decode_mask(formats::read_rle(text, height, width)).to(at::kBool);
  } catch (const formats::RleError& error) {
    throw Error({.doing = "reading a run-length mask of",
                 .where = where,
                 .found = error.found(),
                 .expected = error.expected()});
  }
}

}  // namespace

void check_masks(Case& c, const std::string& tensor, const at::Tensor& masks, const std::string& file) {
  c.check_share(tensor, masks, kMaskShare);
  const auto where = c.file(file).string();
  std::vector<at::Tensor> expected;
  for (const auto& entry : c.json(file)) {
    if (entry.is_array()) {
      for (const auto& mask : entry) expected.push_back(mask_of_runs(mask, where));
    } else {
      expected.push_back(mask_of_runs(entry, where));
    }
  }
  const auto group = file + ": share of other elements";
  c.check_number(file + ": masks", static_cast<double>(masks.size(0)), static_cast<double>(expected.size()),
                 Tolerance::exact());
  for (std::int64_t i = 0; i < std::min(masks.size(0), std::ssize(expected)); ++i)
    c.check_share_of(fmt::format("{}[{}]", file, i), masks[i].unsqueeze(0),
                     expected[static_cast<std::size_t>(i)].unsqueeze(0), kMaskShare, group);
}

}  // namespace clipself::cli::verify
