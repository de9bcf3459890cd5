// Cutting a COCO file down to some classes, which reads it twice; what comes out must be readable again.
#include "clipself/datasets/coco_filter.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  static const fuzz::Folder folder;
  const auto& path = file.holding(data, size);
  fuzz::expect_error_or_success([&] {
    AtomicFile out(folder.path() / "out.json");
    const datasets::CocoFilter filter{.keep_category = [](const auto& category) { return category.id != 2; },
                                      .keep_annotations = [](const auto& category) { return category.id != 3; },
                                      .required = {},
                                      .keep_empty_images = size % 2 == 0};
    static_cast<void>(datasets::filter_coco(path, out, filter));
  });
  return 0;
}
