// Kinds tokenizer (texts to ids and back) and text_embeddings (class names to rows).
#include <fmt/format.h>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "clipself/base/error.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/models/tokenizer.h"

namespace clipself::cli::verify {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

constexpr auto kRow = Tolerance::abs(1e-5);

/// The vocabulary given, or the first one in the case's folder or one above it, or in a folder "data" there.
std::shared_ptr<const models::Tokenizer> vocabulary_of(const Case& c) {
  if (!c.vocabulary.empty()) return models::read_tokenizer(c.vocabulary);
  auto folder = c.folder();
  for (int up = 0; up < 4; ++up, folder = folder.parent_path()) {
    for (const auto* name :
         {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "data/bpe_simple_vocab_16e6.txt.gz"}) {
      std::error_code ignored;
      if (fs::is_regular_file(folder / name, ignored)) return models::read_tokenizer(folder / name);
    }
  }
  throw Error({.doing = "looking for the vocabulary of",
               .where = c.folder().string(),
               .found = "no bpe_simple_vocab_16e6.txt.gz there, in a folder above, or in a folder 'data' there",
               .hint = "--vocabulary FILE gives one"});
}

}  // namespace

void verify_tokenizer(Case& c) {
  const auto tokenizer = vocabulary_of(c);
  const auto entries = c.json("strings.json");
  const auto where = c.file("strings.json").string();
  c.load_expected("expected.safetensors");
  Texts texts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto text = value<std::string>(entries[i], "text", where);
    const auto ids = value<std::vector<std::int64_t>>(entries[i], "encode", where);
    c.check_json(fmt::format("encode {}", i), tokenizer->encode(text), ids, "encode");
    c.check_json(fmt::format("decode {}", i), tokenizer->decode(ids), value<std::string>(entries[i], "decode", where),
                 "decode");
    texts.push_back(text);
  }
  constexpr std::string_view kTokens = "tokens_";
  for (const auto& name : std::vector<std::string>(c.expected_names())) {
    if (!name.starts_with(kTokens)) continue;
    const auto shape = c.expected_shape(name);
    if (shape.size() == 2) c.check(name, tokenizer->tokenize(texts, static_cast<int>(shape[1])), Tolerance::exact());
  }
}

void verify_text_embeddings(Case& c) {
  const torch::NoGradGuard no_grad;
  const auto tokenizer = vocabulary_of(c);
  const auto model = load_model(c, ".");
  const auto prompts = c.json("prompts.json");
  const auto where = c.file("prompts.json").string();
  const auto categories = value<Texts>(prompts, "categories", where);
  const auto expected_prompts = value<std::vector<Texts>>(prompts, "prompts", where);
  const auto templates = models::prompt_templates("vild");
  if (prompts.contains("templates")) {
    // Recorded as the original lists them, without what it puts in front when it fills them.
    constexpr std::string_view kInFront = "This is ";
    auto listed = templates;
    for (auto& each : listed)
      if (each.starts_with(kInFront)) each.erase(0, kInFront.size());
    c.check_json("templates", listed, prompts["templates"]);
  }
  c.load_expected("expected.safetensors");
  if (categories.empty() || expected_prompts.size() != categories.size())
    throw Error({.doing = "reading",
                 .where = where,
                 .found = fmt::format("prompts of {} categories for {}", expected_prompts.size(), categories.size()),
                 .expected = "as many, and one at least"});
  for (std::size_t i = 0; i < categories.size(); ++i)
    c.check_json("prompts of " + categories[i], models::class_prompts(categories[i], templates), expected_prompts[i],
                 "prompts");
  const auto tokens =
      tokenizer->tokenize(models::class_prompts(categories[0], templates), model->text().config().context_length);
  c.check("first_category.tokens", tokens, Tolerance::exact());
  c.check("first_category.encode_text", model->encode_text(tokens), kFeature);
  c.check("embeddings", models::embed_classes(*model, *tokenizer, categories, templates).rows, kRow);
}

}  // namespace clipself::cli::verify
