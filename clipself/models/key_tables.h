// Publishers' names for what a model's parameters are called here.
#pragma once

#include <string>

#include "clipself/formats/tensor_dict.h"

namespace clipself::models {

/// A checkpoint's tensors under the official names: "visual.*" as the model's tower has them, "text.*" for the text
/// tower, "logit_scale", "logit_bias". Understands, told apart by their keys, open_clip's two layouts (text tower below
/// "text." or at top level), OpenAI's archives (the latter, with three numbers beside), and Hugging Face's CLIP and
/// SigLIP layouts, whose separate query, key and value projections are put together and whose projections are
/// transposed. Names that no table has stay as they are. Throws Error, naming `source`, when parts of one tensor are
/// missing or do not fit together.
formats::TensorDict official_names(const formats::TensorDict& tensors, const std::string& source);

/// One name of the layouts with the text tower at top level: "transformer.*" to "text.transformer.*" and so on.
std::string below_text(const std::string& name);

/// True for an archive of OpenAI's, whose models use QuickGELU whatever the shapes say.
bool is_openai(const formats::TensorDict& tensors);

}  // namespace clipself::models
