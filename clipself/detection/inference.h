// A trained detector on pictures and on whole data sets.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/datasets/detection.h"
#include "clipself/detection/objective.h"
#include "clipself/evaluation/detections.h"
#include "clipself/evaluation/share.h"

namespace clipself::detection {

/// What is found in pictures of one square size, in their own pixels, on the CPU.
std::vector<Detections> detect_images(Detector& detector, const std::vector<datasets::DetectionImage>& images,
                                      const models::PixelStatistics& pixels);
/// Boxes of anything, the best first, in the pictures' own pixels, on the CPU.
std::vector<Proposals> propose_images(Detector& detector, const std::vector<datasets::DetectionImage>& images,
                                      const models::PixelStatistics& pixels);

/// Calls `take` for the images of a data set (all, or a process's share of them) in order, `batch` at a time, read ahead by `workers` threads (0: none).
/// `take` says whether to go on. One that cannot be read is told to `unreadable` and left out; without it, throws
/// Error.
void for_each_batch(const datasets::DetectionTestDataset& data, int batch, int workers,
                    const std::function<bool(const std::vector<datasets::DetectionImage>& images)>& take,
                    const std::function<void(const Error& error)>& unreadable = {},
                    std::optional<evaluation::Share> share = {});

/// Appends what was found in an image: class c as category `category_ids[c]`, boxes as x, y, width, height, masks as
/// run lengths.
void append_detections(const Detections& found, std::int64_t image_id, const std::vector<std::int64_t>& category_ids,
                       evaluation::Detections& to);

}  // namespace clipself::detection
