#include "clipself/distributed/processes.h"

#include <fmt/format.h>

#include <map>

namespace clipself::distributed {

std::shared_ptr<Processes> Processes::alone() {
  static const auto only = std::make_shared<Processes>();
  return only;
}

bool Processes::any(bool mine) {
  const auto count = at::full({1}, mine ? 1.0 : 0.0, at::kDouble);
  sum(count);
  return count.item<double>() > 0;
}

void Processes::agree(const std::function<void()>& work) {
  if (size() == 1) return work();
  std::string error;
  try {
    work();
  } catch (const Error& caught) {
    error = caught.what();
  }
  const auto errors = gather(error);
  for (std::size_t rank = 0; rank < errors.size(); ++rank)
    if (!errors[rank].empty()) throw AgreedError(fmt::format("rank {}: {}", rank, errors[rank]));
}

void Processes::check_equal(const std::string& what, const std::string& fingerprint, const std::string& hint) {
  const auto all = gather(fingerprint);
  std::map<std::string, std::vector<std::size_t>> ranks;
  for (std::size_t rank = 0; rank < all.size(); ++rank) ranks[all[rank]].push_back(rank);
  if (ranks.size() == 1) return;
  const auto* fewest = &*ranks.begin();
  for (const auto& one : ranks)
    if (one.second.size() < fewest->second.size() ||
        (one.second.size() == fewest->second.size() && one.second.front() > fewest->second.front()))
      fewest = &one;
  const auto* other = &*ranks.begin() == fewest ? &*std::next(ranks.begin()) : &*ranks.begin();
  throw AgreedError({.doing = "comparing the processes",
                     .where = what,
                     .found = fmt::format("'{}' on rank {}, but '{}' on rank {}", fewest->first,
                                          fmt::join(fewest->second, ", "), other->first, other->second.front()),
                     .expected = "the same on all " + std::to_string(all.size()),
                     .hint = hint});
}

c10::intrusive_ptr<c10d::ProcessGroup> Processes::group(at::DeviceType /*device*/) {
  return {};
}

}  // namespace clipself::distributed
