// Hugging Face's tokenizer.json: byte pairs as CLIP has them, and whole words.
#include "clipself/base/error.h"
#include "clipself/formats/json.h"
#include "clipself/models/tokenizer_kinds.h"
#include "clipself/models/unicode.h"

namespace clipself::models {
namespace {

using nlohmann::json;

class WordTokenizer : public Tokenizer {
 public:
  WordTokenizer(const TokenIds& ids, bool lower, const std::string& unknown, const std::string& where)
      : ids_(ids), lower_(lower), where_(where), size_(checked_size(ids, where)), frame_(frame_of(ids)) {
    if (const auto found = ids_.find(unknown); found != ids_.end()) unknown_ = found->second;
    for (const auto& [word, id] : ids_) words_.emplace(id, word);
  }

  std::vector<std::int64_t> encode(std::string_view text) const override {
    auto clean = join_words(decode_utf8(text));
    if (lower_) clean = lower_case(clean);
    const auto words = encode_utf8(clean);
    std::vector<std::int64_t> out;
    for (std::size_t at = 0; at < words.size();) {
      const auto end = std::min(words.find(' ', at), words.size());
      const auto word = std::string_view(words).substr(at, end - at);
      at = end + 1;
      const auto found = ids_.find(word);
      if (found == ids_.end() && !unknown_)
        throw Error({.doing = "reading the words of",
                     .where = std::string(text),
                     .found = "'" + std::string(word) + "'",
                     .expected = "words of the vocabulary " + where_,
                     .hint = "a small vocabulary needs prompts of its own words (--templates FILE)"});
      out.push_back(found == ids_.end() ? *unknown_ : found->second);
    }
    return out;
  }

  std::string decode(std::span<const std::int64_t> ids) const override {
    std::string text;
    for (const auto id : ids) {
      const auto found = words_.find(id);
      if (found == words_.end())
        throw Error({.doing = "decoding tokens", .found = "id " + std::to_string(id), .expected = "one of " + where_});
      text += (text.empty() ? "" : " ") + found->second;
    }
    return text;
  }

  at::Tensor tokenize(std::span<const std::string> texts, int context_length) const override {
    return token_rows(*this, texts, context_length, frame_);
  }
  std::int64_t vocab_size() const override { return size_; }
  bool framed() const override { return frame_.start && frame_.end; }

 private:
  TokenIds ids_;
  std::map<std::int64_t, std::string> words_;
  bool lower_;
  std::string where_;
  std::int64_t size_;
  RowFrame frame_;
  std::optional<std::int64_t> unknown_;
};

/// The types of a component and, when it is a sequence, of its members.
std::vector<std::string> component_types(const json& document, const char* name, const std::string& where) {
  std::vector<std::string> types;
  const auto component = document.value(name, json());
  if (component.is_null()) return types;
  const auto type_of = [&](const json& part) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string())
      bad_vocabulary(where, std::string("a ") + name + " without a type");
    return part["type"].get<std::string>();
  };
  if (type_of(component) != "Sequence") return {type_of(component)};
  const auto parts =
      component.value(std::string(name) == "normalizer" ? "normalizers" : "pretokenizers", json::array());
  for (const auto& part : parts) types.push_back(type_of(part));
  return types;
}

TokenIds token_ids(const json& document, const std::string& where) {
  const auto& model = document["model"];
  if (!model.contains("vocab") || !model["vocab"].is_object()) bad_vocabulary(where, "no model.vocab", "token -> id");
  TokenIds ids;
  const auto add = [&](const std::string& token, const json& id) {
    if (!id.is_number_integer())
      bad_vocabulary(where, "'" + token.substr(0, 40) + "' with an id that is no number", "token -> id");
    ids[token] = id.get<std::int64_t>();
  };
  for (const auto& [token, id] : model["vocab"].items()) add(token, id);
  const auto added = document.value("added_tokens", json::array());
  for (const auto& token : added) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string() || !token.contains("id"))
      bad_vocabulary(where, "an entry of added_tokens without content and id");
    add(token["content"].get<std::string>(), token["id"]);
  }
  return ids;
}

Merges merge_list(const json& model, const std::string& where) {
  Merges merges;
  const auto list = model.value("merges", json::array());
  for (const auto& merge : list) {
    // "left right", or since 2024 ["left", "right"].
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const auto text = merge.is_string() ? merge.get<std::string>() : std::string();
    const auto blank = text.find(' ');
    if (blank == text.npos)
      bad_vocabulary(where, "model.merges[" + std::to_string(merges.size()) + "] that is no pair", "two tokens");
    merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
  }
  return merges;
}

std::string text_member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, const std::string& where) {
  const auto document = formats::parse_json(text);
  if (!document.is_object() || !document.contains("model") || !document["model"].is_object())
    bad_vocabulary(where, "JSON without a 'model'", "Hugging Face's tokenizer.json");
  const auto& model = document["model"];
  const auto type = text_member(model, "type");
  if (type == "BPE") {
    if (text_member(model, "end_of_word_suffix") != "</w>")
      bad_vocabulary(where, "byte pairs without CLIP's end of words", "model.end_of_word_suffix '</w>'",
                     "a SentencePiece vocabulary is read from its .model file");
    return byte_pair_tokenizer(token_ids(document, where), merge_list(model, where), where);
  }
  if (type != "WordLevel") {
    bad_vocabulary(where, "model type '" + type.substr(0, 40) + "'", "BPE or WordLevel",
                   type == "Unigram" ? "SentencePiece vocabularies are read from their spiece.model" : "");
  }
  bool lower = false;
  for (const auto& each : component_types(document, "normalizer", where)) {
    if (each != "Lowercase") bad_vocabulary(where, "normalizer '" + each + "'", "Lowercase or none for whole words");
    lower = true;
  }
  for (const auto& each : component_types(document, "pre_tokenizer", where)) {
    if (each != "WhitespaceSplit")
      bad_vocabulary(where, "pre_tokenizer '" + each + "'", "WhitespaceSplit for whole words");
  }
  return std::make_shared<WordTokenizer>(token_ids(document, where), lower, text_member(model, "unk_token"), where);
}

}  // namespace clipself::models
