// Words for scenes: captions, a vocabulary of whole words, and the token rows a text tower reads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/scenes/world.h"

namespace clipself::scenes {

/// "a photo of a striped red star and a blue ring on grass": patterns, surfaces and the opening come and go, the order
/// of the things is drawn. Without things, the surfaces alone. At least one of both must be given.
std::string describe(const std::vector<const Thing*>& things, const std::vector<int>& stuff, Rng& rng);
/// Everything in the scene: the caption of a data set's image.
std::string describe_scene(const Scene& scene, Rng& rng);

/// Sentences that name one class, for its embedding; a class's embedding is the mean over them.
std::vector<std::string> class_prompts(int label);

/// Every word a caption may have, sorted. Token 0 is padding, word i is token i + 1, then come the start token and,
/// with the highest id as the text tower wants it, the end token.
const std::vector<std::string>& vocabulary();
inline constexpr int kContextLength = 24;
int vocabulary_size();  ///< words + 3
/// The vocabulary as Hugging Face's tokenizer.json (whole words in lower case), for models::read_tokenizer.
std::string tokenizer_json();
/// kContextLength tokens: start, the words (as many as fit), end, padding. Throws Error for a word the vocabulary
/// lacks.
std::vector<std::int64_t> tokenize(std::string_view text);
/// Templates for names of this world, a line each, made of its words alone.
std::string prompt_template_lines();

}  // namespace clipself::scenes
