// Pascal VOC. The input: the list of a split, a zero byte, and the XML of every image in it.
#include "clipself/datasets/voc.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static const fuzz::Folder folder;
  static fuzz::InputFile split(folder.path() / "ImageSets/Main/split.txt");
  static fuzz::InputFile annotation(folder.path() / "Annotations/1.xml"), odd(folder.path() / "Annotations/\xff.xml");
  const auto input = fuzz::text(data, size);
  const auto end = std::min(input.find('\0'), input.size());
  split.holding(input.substr(0, end));
  annotation.holding(input.substr(std::min(end + 1, input.size())));
  odd.holding(input.substr(std::min(end + 1, input.size())));
  fuzz::expect_error_or_success(
      [&] { static_cast<void>(datasets::voc_to_coco(folder.path(), "split", folder.path() / "out.json")); });
  return 0;
}
