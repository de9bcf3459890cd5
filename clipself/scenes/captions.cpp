#include "clipself/scenes/captions.h"

#include <nlohmann/json.hpp>
#include <set>

#include "clipself/models/tokenizer.h"

namespace clipself::scenes {

namespace {

const std::vector<std::string>& openings() {
  static const std::vector<std::string> all{"", "a photo of ", "a picture of ", "there is "};
  return all;
}

const std::string& at(const std::vector<std::string>& names, int index) {
  return names[static_cast<std::size_t>(index)];
}

std::string phrase(const Look& look, bool with_pattern) {
  const std::string pattern = with_pattern ? at(pattern_names(), look.pattern) + " " : "";
  return "a " + pattern + at(colour_names(), look.colour) + " " + at(shape_names(), look.shape);
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? "" : " and ") + parts[i];
  return text;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

}  // namespace

std::string describe(const std::vector<const Thing*>& things, const std::vector<int>& stuff, Rng& rng) {
  std::vector<std::string> parts;
  for (const Thing* thing : things) parts.push_back(phrase(thing->look, rng.uniform() < 0.4));
  rng.shuffle(std::span<std::string>(parts));
  std::string text = at(openings(), static_cast<int>(rng.below(openings().size()))) + join(parts);
  if (!stuff.empty() && (things.empty() || rng.uniform() < 0.7)) {
    std::vector<std::string> surfaces;
    for (const int kind : stuff) surfaces.push_back(at(stuff_names(), kind));
    text += (things.empty() ? "" : " on ") + join(surfaces);
  }
  return text;
}

std::string describe_scene(const Scene& scene, Rng& rng) {
  std::vector<const Thing*> things;
  for (const Thing& thing : scene.things) things.push_back(&thing);
  return describe(things, stuff_in(scene, {0, 0, scene.width, scene.height}), rng);
}

std::vector<std::string> class_prompts(int label) {
  const std::string& name = at(class_names(), label);
  std::vector<std::string> prompts;
  for (const std::string& opening : openings()) prompts.push_back(opening + (is_thing_class(label) ? "a " : "") + name);
  return prompts;
}

const std::vector<std::string>& vocabulary() {
  static const std::vector<std::string> words = [] {
    std::set<std::string> all{"a", "and", "on"};
    for (const std::string& opening : openings())
      for (const std::string& word : split_words(opening)) all.insert(word);
    for (const auto* names : {&shape_names(), &colour_names(), &pattern_names(), &stuff_names()})
      all.insert(names->begin(), names->end());
    return std::vector<std::string>(all.begin(), all.end());
  }();
  return words;
}

int vocabulary_size() {
  return static_cast<int>(vocabulary().size()) + 3;
}

std::string tokenizer_json() {
  nlohmann::ordered_json ids{{"[PAD]", 0}};
  for (const std::string& word : vocabulary()) ids[word] = ids.size();
  const std::size_t start = ids.size();
  ids["<start_of_text>"] = start;
  ids["<end_of_text>"] = start + 1;
  const nlohmann::ordered_json document{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", nlohmann::ordered_json::array()},
      {"normalizer", {{"type", "Lowercase"}}},
      {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
      {"post_processor", nullptr},
      {"decoder", nullptr},
      {"model", {{"type", "WordLevel"}, {"vocab", ids}, {"unk_token", "[UNK]"}}},
  };
  return document.dump(1) + "\n";
}

std::vector<std::int64_t> tokenize(std::string_view text) {
  static const auto tokenizer = models::parse_tokenizer_json(tokenizer_json(), "the built-in world");
  const std::string one[]{std::string(text)};
  const at::Tensor row = tokenizer->tokenize(one, kContextLength);
  const auto* ids = row.const_data_ptr<std::int64_t>();
  return {ids, ids + kContextLength};
}

std::string prompt_template_lines() {
  // Capitals keep "This is", a word this world lacks, from being put in front.
  return "A {}\nA photo of a {}\nA picture of a {}\nThere is a {}\n";
}

}  // namespace clipself::scenes
