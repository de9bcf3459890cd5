// The kinds of reference cases, one runner each. A runner reads the case's inputs, computes through the library's
// public functions and compares; it throws Error when the case cannot be read.
#pragma once

#include <map>
#include <string>

#include "cli/verify_case.h"

namespace clipself::cli::verify {

using Runner = void (*)(Case&);
/// By the name of the case's folder.
const std::map<std::string, Runner>& kinds();

/// Of files that are no reference cases, whether each is whole: prints a line for each. False when one is not.
bool verify_files(const std::filesystem::path& root, bool json);

// Forward passes (verify_models.cpp).
void verify_forward(Case& c);
void verify_load_resize(Case& c);
// What is trained and how (verify_optimizer.cpp).
void verify_trainable(Case& c);
void verify_adamw(Case& c);
void verify_schedules(Case& c);
// Whole training steps (verify_training.cpp, verify_regionclip.cpp).
void verify_clipself_step(Case& c);
void verify_clipself_step_vit(Case& c);
void verify_regionclip_step(Case& c);
void verify_main_run(Case& c);
// Data (verify_preprocess.cpp, verify_datasets.cpp).
void verify_preprocess(Case& c);
void verify_datasets(Case& c);
// A detector's data (verify_detection_data.cpp).
void verify_detection_resize(Case& c);
void verify_detection_dataset(Case& c);
void verify_detection_test_pipeline(Case& c);
void verify_detection_pipeline_boxes(Case& c);
void verify_detection_pipeline_masks(Case& c);
// verify_evaluation.cpp
void verify_evaluation(Case& c);
// Masks and average precision (verify_detection_eval.cpp).
void verify_rle(Case& c);
void verify_coco_eval(Case& c);
void verify_lvis_eval(Case& c);
void verify_voc_eval(Case& c);
// Text (verify_text.cpp).
void verify_tokenizer(Case& c);
void verify_text_embeddings(Case& c);
// The detector (verify_boxes.cpp, verify_detector*.cpp).
void verify_anchors(Case& c);
void verify_box_coder(Case& c);
void verify_assigner(Case& c);
void verify_roi_extract(Case& c);
void verify_batched_nms(Case& c);
void verify_pyramid(Case& c);
void verify_rpn(Case& c);
void verify_box_head(Case& c);
void verify_mask_head(Case& c);
void verify_detector(Case& c);
void verify_detector_schedule(Case& c);
void verify_detector_step(Case& c);
// verify_checkpoints.cpp
void verify_checkpoints(Case& c);

}  // namespace clipself::cli::verify
