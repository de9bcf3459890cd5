#include "clipself/models/tokenizer.h"

#include <zlib.h>

#include <algorithm>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/models/tokenizer_kinds.h"

namespace clipself::models {
namespace {

namespace fs = std::filesystem;

std::string unpack_gzip(std::string_view packed, const std::string& where) {
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw std::runtime_error("zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ended(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  std::string part(std::size_t{1} << 16, '\0');
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(part.data());
    stream.avail_out = static_cast<uInt>(part.size());
    status = inflate(&stream, Z_NO_FLUSH);
    text.append(part, 0, part.size() - stream.avail_out);
    if (text.size() > kLargestVocabularyFile) bad_vocabulary(where, "more than 64 MiB unpacked", "a vocabulary");
  }
  if (status != Z_STREAM_END)
    bad_vocabulary(where, "gzip data that is broken or ends early", {}, "was the download cut off?");
  return text;
}

MappedFile open_vocabulary(const fs::path& path) {
  MappedFile file(path);
  if (file.size() > kLargestVocabularyFile)
    bad_vocabulary(path.string(), std::to_string(file.size()) + " bytes", "a vocabulary, 64 MiB at most");
  return file;
}

/// vocab.json and merges.txt, either of which was given as `path`.
std::shared_ptr<const Tokenizer> read_pair(const fs::path& path, std::string_view text, bool is_vocabulary) {
  const auto folder = path.parent_path();
  const auto other = folder / (is_vocabulary ? "merges.txt" : "vocab.json");
  std::error_code ignored;
  if (!fs::is_regular_file(other, ignored))
    bad_vocabulary(path.string(), std::string(is_vocabulary ? "ids" : "merges") + " without the other half",
                   other.filename().string() + " beside it");
  const auto second = open_vocabulary(other);
  return is_vocabulary ? parse_vocabulary_and_merges(text, second.text(), path.string())
                       : parse_vocabulary_and_merges(second.text(), text, path.string());
}

std::shared_ptr<const Tokenizer> parse_any(const fs::path& path, std::string_view text) {
  const auto where = path.string();
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) bad_vocabulary(where, "an empty file", "a vocabulary");
  const auto line = text.substr(0, std::min(text.find('\n'), std::size_t{200}));
  if (line.find("bpe_simple_vocab") != line.npos) return parse_clip_vocabulary(text, where);
  if (line.starts_with("#version")) return read_pair(path, text, false);
  if (text[first] == '{') {
    // A vocabulary's own key could be "model", but then with a number.
    const auto model = text.find("\"model\"");
    const auto value = model == text.npos ? model : text.find_first_not_of(" \t\r\n:", model + 7);
    if (value != text.npos && text[value] == '{') return parse_tokenizer_json(text, where);
    return read_pair(path, text, true);
  }
  return parse_sentencepiece(text, where);
}

constexpr const char* kSource =
    "CLIP's is bpe_simple_vocab_16e6.txt.gz in github.com/openai/CLIP (clip/); a checkpoint from Hugging Face has its "
    "own on its page";

}  // namespace

void bad_vocabulary(const std::string& where, const std::string& found, const std::string& expected,
                    const std::string& hint) {
  throw Error({.doing = "reading vocabulary", .where = where, .found = found, .expected = expected, .hint = hint});
}

RowFrame frame_of(const TokenIds& ids) {
  RowFrame frame;
  for (const auto* name : {"<start_of_text>", "<|startoftext|>"})
    if (const auto found = ids.find(name); found != ids.end() && !frame.start) frame.start = found->second;
  for (const auto* name : {"<end_of_text>", "<|endoftext|>"})
    if (const auto found = ids.find(name); found != ids.end() && !frame.end) frame.end = found->second;
  return frame;
}

std::int64_t checked_size(const TokenIds& ids, const std::string& where) {
  std::set<std::int64_t> seen;
  for (const auto& [token, id] : ids) {
    if (id < 0 || id > kHighestTokenId)
      bad_vocabulary(where, "id " + std::to_string(id), "0 to " + std::to_string(kHighestTokenId));
    if (!seen.insert(id).second) bad_vocabulary(where, "id " + std::to_string(id) + " for two tokens", "one each");
  }
  if (seen.empty()) bad_vocabulary(where, "no tokens", "a vocabulary");
  return *seen.rbegin() + 1;
}

at::Tensor token_rows(const Tokenizer& tokenizer, std::span<const std::string> texts, int context_length,
                      const RowFrame& frame) {
  if (context_length < 1)
    throw Error({.doing = "tokenizing",
                 .found = "a context length of " + std::to_string(context_length),
                 .expected = "1 or more"});
  auto rows = at::full({static_cast<std::int64_t>(texts.size()), context_length}, frame.padding, at::kLong);
  auto* row = rows.mutable_data_ptr<std::int64_t>();
  for (const auto& text : texts) {
    auto ids = tokenizer.encode(text);
    if (frame.start) ids.insert(ids.begin(), *frame.start);
    if (frame.end) ids.push_back(*frame.end);
    if (ids.size() > static_cast<std::size_t>(context_length)) {
      ids.resize(static_cast<std::size_t>(context_length));
      if (frame.end) ids.back() = *frame.end;
    }
    std::copy(ids.begin(), ids.end(), row);
    row += context_length;
  }
  return rows;
}

std::shared_ptr<const Tokenizer> read_tokenizer(const fs::path& path) {
  const auto file = open_vocabulary(path);
  if (file.text().starts_with("\x1f\x8b")) return parse_any(path, unpack_gzip(file.text(), path.string()));
  return parse_any(path, file.text());
}

std::shared_ptr<const Tokenizer> find_tokenizer(const ClipConfig& config, const fs::path& given,
                                                const fs::path& checkpoint) {
  auto path = given;
  const auto folder = checkpoint.has_parent_path() ? checkpoint.parent_path() : fs::path(".");
  const bool last = config.text && config.text->pool_last;
  std::vector<const char*> names{"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "tokenizer.json",
                                 "vocab.json"};
  names.insert(last ? names.begin() : names.end(), {"spiece.model", "tokenizer.model"});
  for (const auto* name : names) {
    std::error_code ignored;
    if (path.empty() && fs::is_regular_file(folder / name, ignored)) path = folder / name;
  }
  if (path.empty()) {
    throw Error({.doing = "looking for a vocabulary",
                 .where = folder.string(),
                 .found = "none beside the checkpoint",
                 .expected = "one there, or --tokenizer FILE",
                 .hint = kSource});
  }
  auto tokenizer = read_tokenizer(path);
  if (config.text && tokenizer->vocab_size() > config.text->vocab_size) {
    throw Error({.doing = "reading vocabulary",
                 .where = path.string(),
                 .found = std::to_string(tokenizer->vocab_size()) + " tokens",
                 .expected = "the " + std::to_string(config.text->vocab_size) + " of " + config.name + "'s text tower",
                 .hint = "a vocabulary belongs to one model"});
  }
  if (config.text && tokenizer->framed() == last) {
    throw Error({.doing = "reading vocabulary",
                 .where = path.string(),
                 .found = std::string("a vocabulary ") + (last ? "with" : "without") + " start and end tokens",
                 .expected = std::string(last ? "one without, as SigLIP's spiece.model or tokenizer.model"
                                              : "one with both, as CLIP's bpe_simple_vocab_16e6.txt.gz") +
                             ", for the text tower of " + config.name,
                 .hint = "a vocabulary belongs to one model"});
  }
  return tokenizer;
}

}  // namespace clipself::models
