// The classes a detector looks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/text_embeddings.h"

namespace clipself::detection {

/// Background stands behind them.
struct DetectionClasses {
  std::vector<std::string> names;  ///< C, without background
  std::vector<bool> is_base;       ///< C: seen in training
  at::Tensor embeddings;           ///< float (C + 1, D), unit length, the last row background's

  std::int64_t count() const { return static_cast<std::int64_t>(names.size()); }
};

/// The rows of `names` and of "background" among named embeddings. `base`: the names that are seen in training (empty:
/// all are). Throws Error naming `source` when a name has no row, and for a base class that is none of `names`.
DetectionClasses make_classes(const models::ClassEmbeddings& embeddings, const std::vector<std::string>& names,
                              const std::vector<std::string>& base, const std::string& source);

}  // namespace clipself::detection
