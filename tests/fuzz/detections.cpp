// A detector's results file, compared by boxes and by masks.
#include "clipself/evaluation/detections.h"

#include "tests/fuzz/fuzz.h"

namespace {

clipself::datasets::AnnotationIndex make_truth() {
  clipself::fuzz::InputFile file;
  return clipself::datasets::read_coco(file.holding(
      R"({"images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 8}, {"id": 2, "file_name": "b.jpg"}],
          "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]})"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static const auto truth = make_truth();
  static fuzz::InputFile file;
  const auto& path = file.holding(data, size);
  for (const auto kind : {evaluation::RegionKind::kBoxes, evaluation::RegionKind::kMasks}) {
    fuzz::expect_error_or_success([&] {
      const auto detections = evaluation::read_detections(path, truth, kind);
      for (const auto& each : detections.list) {
        if (each.segmentation == datasets::kNoSegmentation) continue;
        fuzz::expect_error_or_success(
            [&] { static_cast<void>(detections.segmentations.mask(each.segmentation, 8, 8)); });
      }
    });
  }
  return 0;
}
