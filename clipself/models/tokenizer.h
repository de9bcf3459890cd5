// Text to token ids, as the text towers were trained with.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/models/config.h"

namespace clipself::models {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Ids of the text, without start and end tokens.
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const std::int64_t> ids) const = 0;
  /// (texts, context_length) int64: start and end tokens where the vocabulary has them, padded; longer texts are cut.
  virtual at::Tensor tokenize(std::span<const std::string> texts, int context_length) const = 0;
  /// Highest id + 1.
  virtual std::int64_t vocab_size() const = 0;
  /// Whether rows begin with a start and end with an end token, as CLIP's do and SigLIP's do not.
  virtual bool framed() const = 0;
};

/// The vocabulary in `path`, its kind told by content: CLIP's bpe_simple_vocab_16e6.txt.gz (or the same unpacked),
/// vocab.json or merges.txt (the other beside it), Hugging Face's tokenizer.json (model type BPE as CLIP uses it, or
/// WordLevel), a SentencePiece .model. Throws Error when it is none of these or broken.
std::shared_ptr<const Tokenizer> read_tokenizer(const std::filesystem::path& path);

/// tokenizer.json's text; `where` is for messages.
std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, const std::string& where);

/// The tokenizer of a model: `given` (a flag's value, may be empty), else a vocabulary beside `checkpoint`
/// (bpe_simple_vocab_16e6.txt.gz or .txt, tokenizer.json, vocab.json + merges.txt, spiece.model, tokenizer.model, in
/// this order; for SigLIP's text towers, which read a row's last position, the last two come first). Throws Error
/// saying where one comes from when there is none, and when it does not fit the text tower: too many ids, no start and
/// end tokens for a tower that reads the end token, or both for one that reads the last position.
std::shared_ptr<const Tokenizer> find_tokenizer(const ClipConfig& config, const std::filesystem::path& given,
                                                const std::filesystem::path& checkpoint);

}  // namespace clipself::models
