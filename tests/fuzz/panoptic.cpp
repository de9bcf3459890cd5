// COCO panoptic JSON and its PNG of segments, as evaluation reads them. The input is the JSON; where it ends in a zero
// byte followed by a PNG, that is the image and its segments both.
#include "clipself/datasets/panoptic.h"

#include "clipself/base/file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  static const fuzz::Folder folder;
  static fuzz::InputFile picture(folder.path() / "a.png");
  const auto input = fuzz::text(data, size);
  const auto end = std::min(input.find('\0'), input.size());
  picture.holding(input.substr(std::min(end + 1, input.size())));
  fuzz::expect_error_or_success([&] {
    const datasets::PanopticDataset dataset(datasets::read_coco_panoptic(file.holding(input.substr(0, end))),
                                            folder.path(), folder.path(),
                                            {.image_size = 32, .crop_size = 8, .min_size = 1, .masked_crops = true});
    for (std::int64_t i = 0; i < std::min<std::int64_t>(dataset.size(), 2); ++i)
      fuzz::expect_error_or_success([&] { static_cast<void>(dataset.get(i)); });
  });
  return 0;
}
