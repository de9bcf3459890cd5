// SentencePiece vocabularies as SigLIP uses them.
#include <sentencepiece_processor.h>

#include "clipself/base/error.h"
#include "clipself/models/html_entities.h"
#include "clipself/models/tokenizer_kinds.h"
#include "clipself/models/unicode.h"

namespace clipself::models {
namespace {

/// open_clip's "canonicalize", from big_vision: "_" to a blank, ASCII punctuation removed, lower case, one blank
/// between words.
std::string canonical(std::string_view text) {
  auto clean = compose(decode_utf8(text));
  for (int i = 0; i < 2; ++i) clean = unescape_html(clean);
  std::u32string plain;
  for (const char32_t c : clean) {
    const bool punctuation =
        (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    if (c == '_') plain += U' ';
    if (!punctuation) plain += c;
  }
  return encode_utf8(join_words(lower_case(plain)));
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view model, const std::string& where) {
    if (!processor_.LoadFromSerializedProto({model.data(), model.size()}).ok() || processor_.GetPieceSize() < 1)
      bad_vocabulary(
          where, "none of the known kinds of vocabulary",
          "bpe_simple_vocab_16e6.txt.gz, tokenizer.json, vocab.json with merges.txt, or a SentencePiece .model");
    if (processor_.eos_id() < 0)
      bad_vocabulary(where, "a SentencePiece model without an end token", "one with </s> or <eos>");
    frame_.end = processor_.eos_id();
    // T5's vocabularies, which have no start token, are padded with the end token (SigLIP); Gemma's with its own
    // (SigLIP 2).
    frame_.padding = processor_.bos_id() >= 0 && processor_.pad_id() >= 0 ? processor_.pad_id() : processor_.eos_id();
  }

  std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto clean = canonical(text);
    if (const auto status = processor_.Encode({clean.data(), clean.size()}, &ids); !status.ok())
      throw Error({.doing = "tokenizing", .where = clean.substr(0, 80), .found = status.ToString()});
    return {ids.begin(), ids.end()};
  }
  std::string decode(std::span<const std::int64_t> ids) const override {
    std::vector<int> narrow;
    for (const auto id : ids) {
      if (id < 0 || id >= vocab_size())
        throw Error(
            {.doing = "decoding tokens", .found = "id " + std::to_string(id), .expected = "one of the vocabulary's"});
      narrow.push_back(static_cast<int>(id));
    }
    std::string text;
    if (const auto status = processor_.Decode(narrow, &text); !status.ok())
      throw Error({.doing = "decoding tokens", .found = status.ToString()});
    return text;
  }
  at::Tensor tokenize(std::span<const std::string> texts, int context_length) const override {
    return token_rows(*this, texts, context_length, frame_);
  }
  std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  bool framed() const override { return false; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  RowFrame frame_;
};

}  // namespace

std::shared_ptr<const Tokenizer> parse_sentencepiece(std::string_view model, const std::string& where) {
  return std::make_shared<SentencePieceTokenizer>(model, where);
}

}  // namespace clipself::models
