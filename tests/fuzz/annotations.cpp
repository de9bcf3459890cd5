// COCO's and LVIS's annotation JSON with its polygons and run lengths, and the masks they make.
#include "clipself/datasets/annotations.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  fuzz::expect_error_or_success([&] {
    const auto index = datasets::read_coco(file.holding(data, size), {.segmentations = true, .federated = true});
    for (std::size_t i = 0; i < index.images.size(); ++i) {
      const auto& image = index.images[i];
      fuzz::expect_error_or_success([&] { static_cast<void>(datasets::resolve_below("/root", image.file_name)); });
      for (const auto& annotation : index.annotations_of(i)) {
        fuzz::expect_error_or_success([&] { static_cast<void>(index.label_of(annotation.category_id)); });
        fuzz::expect_error_or_success([&] { static_cast<void>(index.mask_of(image, annotation)); });
      }
    }
  });
  return 0;
}
