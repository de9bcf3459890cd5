// CLIP's tokenizer: cleaning, splitting and byte-pair merging as the text towers of OpenAI, open_clip and EVA-CLIP were
// trained with.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "clipself/base/error.h"
#include "clipself/formats/json.h"
#include "clipself/models/html_entities.h"
#include "clipself/models/tokenizer_kinds.h"
#include "clipself/models/unicode.h"

namespace clipself::models {
namespace {

constexpr std::size_t kClipMerges = 49152 - 256 - 2;
constexpr std::string_view kWordEnd = "</w>";

/// The printable character that stands for each byte: itself where it is one, else the next from U+0100 on.
const std::array<char32_t, 256>& byte_characters() {
  static const auto table = [] {
    std::array<char32_t, 256> all{};
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      all[b] = printable ? b : next++;
    }
    return all;
  }();
  return table;
}

std::string character_of(std::size_t byte) {
  return encode_utf8(std::u32string(1, byte_characters()[byte]));
}

/// What a regular expression that ignores case takes for the same: the text is in lower case, "ſ" is one of "s".
bool same_letter(char32_t c, char32_t letter) {
  return c == letter || (c == 0x17F && letter == 's');
}

bool begins_with(std::u32string_view text, std::u32string_view word) {
  return text.size() >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin(), [](char32_t w, char32_t c) { return same_letter(c, w); });
}

class BytePairTokenizer : public Tokenizer {
 public:
  BytePairTokenizer(const TokenIds& ids, const Merges& merges, const std::string& where)
      : size_(checked_size(ids, where)), frame_(frame_of(ids)) {
    const auto id_of = [&](const std::string& token) {
      const auto found = ids.find(token);
      if (found == ids.end())
        bad_vocabulary(where, "no id for '" + token + "'", "one for every byte and every merge",
                       "do the files belong together?");
      return found->second;
    };
    for (std::size_t b = 0; b < 256; ++b) {
      byte_ids_[b] = {id_of(character_of(b)), id_of(character_of(b).append(kWordEnd))};
    }
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      const auto first = id_of(left), second = id_of(right);
      merges_[pair(first, second)] = {.rank = rank, .id = id_of(left + right)};
    }
    for (const auto& [token, id] : ids) tokens_.emplace(id, token);
    for (const auto* name : {"<start_of_text>", "<end_of_text>", "<|startoftext|>", "<|endoftext|>"}) {
      if (const auto found = ids.find(name); found != ids.end())
        special_.emplace_back(decode_utf8(name), found->second);
    }
    if (!frame_.start || !frame_.end)
      bad_vocabulary(where, "no start and end tokens",
                     "<start_of_text> and <end_of_text>, or <|startoftext|> and <|endoftext|>");
  }

  std::vector<std::int64_t> encode(std::string_view text) const override {
    auto clean = compose(decode_utf8(text));
    for (int i = 0; i < 2; ++i) clean = unescape_html(clean);
    clean = collapse_spaces(strip(clean));
    clean = lower_case(strip(clean));
    std::vector<std::int64_t> ids;
    std::u32string_view rest = clean;
    while (!rest.empty()) {
      const auto length = piece_length(rest);
      if (length == 0) {
        rest.remove_prefix(1);
        continue;
      }
      append(rest.substr(0, length), ids);
      rest.remove_prefix(length);
    }
    return ids;
  }

  std::string decode(std::span<const std::int64_t> ids) const override {
    std::u32string text;
    for (const auto id : ids) {
      const auto found = tokens_.find(id);
      if (found == tokens_.end())
        throw Error(
            {.doing = "decoding tokens", .found = "id " + std::to_string(id), .expected = "one of the vocabulary's"});
      text += decode_utf8(found->second);
    }
    std::string bytes;
    for (const auto c : text) {
      const auto& table = byte_characters();
      const auto byte = std::find(table.begin(), table.end(), c);
      if (byte != table.end()) bytes += static_cast<char>(byte - table.begin());
    }
    // Bytes cut apart are replaced before the ends of words become blanks, as in the original.
    const std::string whole = encode_utf8(decode_utf8(bytes));
    std::string out;
    for (std::size_t at = 0; at < whole.size();) {
      const auto end = std::min(whole.find(kWordEnd, at), whole.size());
      out.append(whole, at, end - at);
      if (end < whole.size()) out += ' ';
      at = end + kWordEnd.size();
    }
    return out;
  }

  at::Tensor tokenize(std::span<const std::string> texts, int context_length) const override {
    return token_rows(*this, texts, context_length, frame_);
  }
  std::int64_t vocab_size() const override { return size_; }
  bool framed() const override { return true; }

 private:
  struct Merge {
    std::size_t rank;
    std::int64_t id;
  };
  static std::uint64_t pair(std::int64_t left, std::int64_t right) {
    return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint64_t>(right);
  }

  /// Of the piece at the beginning of the text: a special word, a contraction's end, letters, one digit, or what is
  /// none of these; 0 where none begins.
  std::size_t piece_length(std::u32string_view text) const {
    for (const auto& [word, id] : special_)
      if (begins_with(text, word)) return word.size();
    for (const std::u32string_view ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"})
      if (begins_with(text, ending)) return ending.size();
    // U+0345 is a mark, but in a pattern that ignores case a kind of iota: it belongs to no piece.
    const auto other = [](char32_t c) { return !is_letter(c) && !is_number(c) && !is_space(c) && c != 0x345; };
    if (is_number(text.front())) return 1;
    std::size_t length = 0;
    if (is_letter(text.front())) {
      while (length < text.size() && is_letter(text[length])) ++length;
    } else {
      while (length < text.size() && other(text[length])) ++length;
    }
    return length;
  }

  void append(std::u32string_view piece, std::vector<std::int64_t>& out) const {
    for (const auto& [word, id] : special_) {
      if (piece == word) {
        out.push_back(id);
        return;
      }
    }
    std::vector<std::int64_t> word;
    for (const char c : encode_utf8(piece)) word.push_back(byte_ids_[static_cast<unsigned char>(c)].inner);
    word.back() = byte_ids_[static_cast<unsigned char>(encode_utf8(piece).back())].last;
    while (word.size() > 1 && merge_best(word)) {
    }
    out.insert(out.end(), word.begin(), word.end());
  }

  /// Merges every occurrence, from the left, of the pair of lowest rank. False when no pair has one.
  bool merge_best(std::vector<std::int64_t>& word) const {
    const Merge* best = nullptr;
    std::uint64_t best_pair = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = merges_.find(pair(word[i], word[i + 1]));
      if (found != merges_.end() && (best == nullptr || found->second.rank < best->rank)) {
        best = &found->second;
        best_pair = found->first;
      }
    }
    if (best == nullptr) return false;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word.size(); ++kept) {
      const bool merged = i + 1 < word.size() && pair(word[i], word[i + 1]) == best_pair;
      word[kept] = merged ? best->id : word[i];
      i += merged ? 2 : 1;
    }
    word.resize(kept);
    return true;
  }

  struct ByteIds {
    std::int64_t inner, last;
  };
  std::int64_t size_;
  RowFrame frame_;
  std::array<ByteIds, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::unordered_map<std::int64_t, std::string> tokens_;
  std::vector<std::pair<std::u32string, std::int64_t>> special_;
};

/// The lines behind the first, "left right" each, up to `limit`.
Merges parse_merges(std::string_view text, std::size_t limit, const std::string& where) {
  Merges merges;
  std::size_t number = 1;
  for (auto at = text.find('\n'); at != text.npos && merges.size() < limit; ++number) {
    const auto end = text.find('\n', at + 1);
    auto line = text.substr(at + 1, end == text.npos ? end : end - at - 1);
    at = end;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() && end == text.npos) break;
    const auto blank = line.find(' ');
    if (blank == 0 || blank == line.npos || blank + 1 == line.size() || line.find(' ', blank + 1) != line.npos)
      bad_vocabulary(where,
                     "line " + std::to_string(number + 1) + ": '" + encode_utf8(decode_utf8(line.substr(0, 40))) + "'",
                     "two tokens with a blank between", "was the file cut off?");
    merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  if (merges.empty()) bad_vocabulary(where, "no merges", "a line for each");
  return merges;
}

}  // namespace

std::shared_ptr<const Tokenizer> byte_pair_tokenizer(const TokenIds& ids, const Merges& merges,
                                                     const std::string& where) {
  return std::make_shared<BytePairTokenizer>(ids, merges, where);
}

std::shared_ptr<const Tokenizer> parse_clip_vocabulary(std::string_view text, const std::string& where) {
  const auto merges = parse_merges(text, kClipMerges, where);
  // Bytes first, the printable ones in front, then the same as ends of words, then the merges, then the special words.
  std::vector<std::string> bytes;
  for (const bool printable : {true, false})
    for (std::size_t b = 0; b < 256; ++b)
      if ((byte_characters()[b] < 0x100) == printable) bytes.push_back(character_of(b));
  TokenIds ids;
  std::int64_t next = 0;
  for (const auto& token : bytes) ids[token] = next++;
  for (const auto& token : bytes) ids[token + std::string(kWordEnd)] = next++;
  for (const auto& [left, right] : merges) ids[left + right] = next++;
  ids["<start_of_text>"] = next++;
  ids["<end_of_text>"] = next++;
  return byte_pair_tokenizer(ids, merges, where);
}

std::shared_ptr<const Tokenizer> parse_vocabulary_and_merges(std::string_view vocabulary, std::string_view merges,
                                                             const std::string& where) {
  const auto document = formats::parse_json(vocabulary);
  if (!document.is_object()) bad_vocabulary(where, "a vocab.json that is no JSON object", "token -> id");
  TokenIds ids;
  for (const auto& [token, id] : document.items()) {
    if (!id.is_number_integer())
      bad_vocabulary(where, "'" + token.substr(0, 40) + "' with an id that is no number", "token -> id");
    ids[token] = id.get<std::int64_t>();
  }
  return byte_pair_tokenizer(ids, parse_merges(merges, kLargestVocabularyFile, where), where);
}

}  // namespace clipself::models
