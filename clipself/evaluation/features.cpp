#include "clipself/evaluation/features.h"

#include "clipself/base/error.h"
#include "clipself/models/layers.h"

namespace clipself::evaluation {

at::Tensor unit_features(const at::Tensor& features, const char* doing) {
  const at::Tensor numbers = features.to(at::kFloat);
  if (!numbers.isfinite().all().item<bool>())
    throw Error({.doing = doing,
                 .found = "features that are not finite",
                 .expected = "numbers",
                 .hint = "do the weights hold NaN, or does the model overflow at this --precision?"});
  return models::unit_length(numbers).cpu();
}

}  // namespace clipself::evaluation
