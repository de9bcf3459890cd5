// SentencePiece vocabularies as SigLIP uses them.
#include <sentencepiece_processor.h>

#include <cstring>
#include <functional>
#include <optional>

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

/// Takes a protobuf's variable-length integer from the front.
std::optional<std::uint64_t> take_varint(std::string_view& text) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !text.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

/// Hands over each field of a protobuf that is a run of bytes, with its number. False when it is no protobuf, and when
/// the field is not to `accepts`.
bool check_fields(std::string_view message,
                  const std::function<bool(std::uint32_t number, std::string_view bytes)>& accepts) {
  constexpr std::uint32_t kVarint = 0, kEightBytes = 1, kBytes = 2, kFourBytes = 5;
  while (!message.empty()) {
    const auto tag = take_varint(message);
    if (!tag) return false;
    const auto narrow = static_cast<std::uint32_t>(*tag);  // as the library reads it
    const std::uint32_t kind = narrow & 7U;
    std::optional<std::uint64_t> size = kind == kEightBytes ? 8 : 4;
    if (kind == kVarint || kind == kBytes) size = take_varint(message);
    if (!size || (kind != kVarint && kind != kEightBytes && kind != kBytes && kind != kFourBytes)) return false;
    if (kind == kVarint) continue;
    if (*size > message.size()) return false;
    if (kind == kBytes && !accepts(narrow >> 3U, message.substr(0, *size))) return false;
    message.remove_prefix(*size);
  }
  return true;
}

/// Whether a map of characters leads nowhere outside itself; the library follows it unchecked. It is a trie as a double
/// array (darts.h of github.com/s-yata/darts-clone), its size in front, and the texts that its leaves point to.
bool is_sound_map(std::string_view map) {
  if (map.empty()) return true;  // none
  constexpr std::uint32_t kValue = 1U << 31U, kHasLeaf = 1U << 8U, kFar = 1U << 9U;
  std::uint32_t bytes = 0;
  if (map.size() < sizeof(bytes)) return false;
  std::memcpy(&bytes, map.data(), sizeof(bytes));
  map.remove_prefix(sizeof(bytes));
  if (bytes >= map.size() || bytes % sizeof(std::uint32_t) != 0 || map.back() != '\0') return false;
  std::vector<std::uint32_t> units(bytes / sizeof(std::uint32_t));
  if (units.empty()) return false;
  std::memcpy(units.data(), map.data(), bytes);
  const std::size_t texts = map.size() - bytes;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::uint32_t unit = units[i];
    if ((unit & kValue) != 0) continue;  // met as another's leaf only
    const std::size_t children = i ^ (std::size_t{unit >> 10U} << ((unit & kFar) != 0 ? 8U : 0U));
    if ((children | 0xFFU) >= units.size()) return false;
    if ((unit & kHasLeaf) != 0 && (units[children] & ~kValue) >= texts) return false;
  }
  return (units[0] & kValue) == 0;
}

/// Of a whole model: the maps of the two ways, from text and back.
bool has_sound_maps(std::string_view model) {
  constexpr std::uint32_t kNormalizer = 3, kDenormalizer = 5, kMap = 2;
  return check_fields(model, [](std::uint32_t number, std::string_view part) {
    if (number != kNormalizer && number != kDenormalizer) return true;
    return check_fields(
        part, [](std::uint32_t inner, std::string_view bytes) { return inner != kMap || is_sound_map(bytes); });
  });
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view model, const std::string& where) {
    if (!has_sound_maps(model) || !load(model) || processor_.GetPieceSize() < 1)
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
  bool load(std::string_view model) {
    try {
      return processor_.LoadFromSerializedProto({model.data(), model.size()}).ok();
    } catch (const std::exception&) {  // of its trie, for a piece without characters
      return false;
    }
  }

  sentencepiece::SentencePieceProcessor processor_;
  RowFrame frame_;
};

}  // namespace

std::shared_ptr<const Tokenizer> parse_sentencepiece(std::string_view model, const std::string& where) {
  return std::make_shared<SentencePieceTokenizer>(model, where);
}

}  // namespace clipself::models
