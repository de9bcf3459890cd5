// The tokenizers behind read_tokenizer, one kind a source file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clipself/models/tokenizer.h"

namespace clipself::models {

/// No vocabulary file is larger, packed or not, and no id is higher.
inline constexpr std::size_t kLargestVocabularyFile = std::size_t{1} << 26;
inline constexpr std::int64_t kHighestTokenId = (std::int64_t{1} << 24) - 1;

using TokenIds = std::map<std::string, std::int64_t, std::less<>>;
using Merges = std::vector<std::pair<std::string, std::string>>;

/// CLIP's byte-pair encoding: pieces of text as bytes, each byte a printable character, "</w>" behind the last;
/// `merges` in the order of their rank. Throws Error naming `where` when a byte, a merge's part or its result has no
/// id, or two tokens have one id.
std::shared_ptr<const Tokenizer> byte_pair_tokenizer(const TokenIds& ids, const Merges& merges,
                                                     const std::string& where);
/// The lines of bpe_simple_vocab_16e6.txt: a header, then merges, of which CLIP uses the first 48894; ids follow from
/// their order.
std::shared_ptr<const Tokenizer> parse_clip_vocabulary(std::string_view text, const std::string& where);
/// vocab.json (token -> id) and merges.txt (a header "#version", then merges).
std::shared_ptr<const Tokenizer> parse_vocabulary_and_merges(std::string_view vocabulary, std::string_view merges,
                                                             const std::string& where);
/// SentencePiece's .model, as SigLIP uses it.
std::shared_ptr<const Tokenizer> parse_sentencepiece(std::string_view model, const std::string& where);

/// The ids that begin and end a row, and what fills it up.
struct RowFrame {
  std::optional<std::int64_t> start, end;
  std::int64_t padding = 0;
};
/// (texts, context_length): a text too long is cut so that the end token, when there is one, comes last.
at::Tensor token_rows(const Tokenizer& tokenizer, std::span<const std::string> texts, int context_length,
                      const RowFrame& frame);
/// The start and end tokens by the names they go by: <start_of_text>, <end_of_text> (open_clip) or <|startoftext|>,
/// <|endoftext|> (OpenAI).
RowFrame frame_of(const TokenIds& ids);
/// Highest id + 1. Throws Error naming `where` when there is none, or one out of range or twice.
std::int64_t checked_size(const TokenIds& ids, const std::string& where);
[[noreturn]] void bad_vocabulary(const std::string& where, const std::string& found, const std::string& expected = {},
                                 const std::string& hint = {});

}  // namespace clipself::models
