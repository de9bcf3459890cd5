// Tokenizers against recorded ids: the original's code with the small vocabulary, and the sentencepiece package.
#include "clipself/models/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/models/html_entities.h"
#include "clipself/models/unicode.h"
#include "tests/models/tiny_model.h"

namespace clipself::models {
namespace {

namespace fs = std::filesystem;

const fs::path kReference = fs::path(CLIPSELF_SOURCE_DIR) / "tests/reference";
const fs::path kSmallVocabulary = kReference / "cases/bpe_simple_vocab_16e6.txt";

class TokenizerFiles : public ::testing::Test {
 protected:
  TokenizerFiles() {
    std::string name = (fs::temp_directory_path() / "clipself_tokenizer.XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~TokenizerFiles() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  fs::path write(const std::string& name, std::string_view text) const {
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  std::string refusal(const std::string& name, std::string_view text) const {
    return refusal_of([&] { read_tokenizer(write(name, text)); });
  }
  static std::string refusal_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  fs::path folder_;
};

nlohmann::json recorded(const fs::path& path) {
  return nlohmann::json::parse(read_text(path));
}

std::string gzipped(std::string_view text) {
  std::string out(compressBound(text.size()) + 64, '\0');
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string unescaped(std::string_view text) {
  return encode_utf8(unescape_html(decode_utf8(text)));
}

std::string word_level(const std::string& vocabulary, const std::string& rest = "") {
  return R"({"version": "1.0", "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"}, )"
         R"("model": {"type": "WordLevel", "vocab": )" +
         vocabulary + rest + "}}";
}

TEST_F(TokenizerFiles, EveryFormatOfTheSameVocabularyGivesTheRecordedIds) {
  const auto packed = write("packed.gz", gzipped(read_text(kSmallVocabulary)));
  for (const auto& path : {kSmallVocabulary, packed, kReference / "vocabulary/vocab.json",
                           kReference / "vocabulary/merges.txt", kReference / "vocabulary/tokenizer.json"}) {
    const auto tokenizer = read_tokenizer(path);
    EXPECT_EQ(tokenizer->vocab_size(), 914) << path;
    for (const auto& entry : recorded(kReference / "cases/tokenizer/strings.json")) {
      const auto text = entry["text"].get<std::string>();
      // The special words have other names in Hugging Face's files.
      if (path != kSmallVocabulary && path != packed && text.find("_of_") != text.npos) continue;
      EXPECT_EQ(tokenizer->encode(text), entry["encode"].get<std::vector<std::int64_t>>()) << path << ": " << text;
    }
  }
}

TEST_F(TokenizerFiles, SpecialWordsOfEitherConventionAreSpecialIds) {
  using Ids = std::vector<std::int64_t>;
  EXPECT_EQ(read_tokenizer(kSmallVocabulary)->encode("<start_of_text><end_of_text>"), (Ids{912, 913}));
  EXPECT_EQ(read_tokenizer(kReference / "vocabulary/vocab.json")->encode("<|startoftext|> <|ENDOFTEXT|>"),
            (Ids{912, 913}));
}

TEST_F(TokenizerFiles, ATextTooLongIsCutAndEndsWithTheEndToken) {
  const auto tokenizer = read_tokenizer(kSmallVocabulary);
  const std::vector<std::string> texts{"", "a photo of a cat", "one two three four five six seven"};
  const auto rows = tokenizer->tokenize(texts, 6);
  ASSERT_EQ(rows.sizes(), (at::IntArrayRef{3, 6}));
  EXPECT_TRUE(rows[0].equal(at::tensor({912, 913, 0, 0, 0, 0}, at::kLong)));
  EXPECT_EQ(rows[2][5].item<std::int64_t>(), 913);
  EXPECT_TRUE(tokenizer->tokenize(texts, 1).equal(at::full({3, 1}, 913, at::kLong)));
  EXPECT_NE(refusal_of([&] { tokenizer->tokenize(texts, 0); }).find("context length"), std::string::npos);
}

TEST_F(TokenizerFiles, SentencePieceRowsAreThoseOfSigLipAndSigLip2) {
  const auto expected = recorded(kReference / "vocabulary/sentencepiece.json");
  const auto texts = expected["texts"].get<std::vector<std::string>>();
  for (const auto* name : {"t5", "gemma"}) {
    const auto tokenizer = read_tokenizer(kReference / "vocabulary" / (std::string(name) + ".model"));
    const auto rows = tokenizer->tokenize(texts, expected["context"]);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto row = expected[name][i].get<std::vector<std::int64_t>>();
      EXPECT_TRUE(rows[static_cast<std::int64_t>(i)].equal(at::tensor(row, at::kLong))) << name << ": " << texts[i];
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("A Photo of the cat")), "a photo of the cat");
  }
}

TEST_F(TokenizerFiles, WholeWordsAreLookedUpInLowerCase) {
  const auto tokenizer = parse_tokenizer_json(
      word_level(R"({"[PAD]": 0, "red": 1, "star": 2, "<start_of_text>": 3, "<end_of_text>": 4})"), "here");
  const std::vector<std::string> texts{"RED  star "};
  EXPECT_TRUE(tokenizer->tokenize(texts, 6)[0].equal(at::tensor({3, 1, 2, 4, 0, 0}, at::kLong)));
  EXPECT_NE(
      refusal_of([&] { tokenizer->encode("a red star"); }).find("found 'a'; expected words of the vocabulary here"),
      std::string::npos);
  const auto lenient =
      parse_tokenizer_json(word_level(R"({"[UNK]": 0, "red": 1})", R"(, "unk_token": "[UNK]")"), "here");
  EXPECT_EQ(lenient->encode("blue red"), (std::vector<std::int64_t>{0, 1}));
  EXPECT_TRUE(lenient->tokenize(texts, 3)[0].equal(at::tensor({1, 0, 0}, at::kLong)));
}

TEST_F(TokenizerFiles, BrokenVocabulariesAreRefusedInOneLine) {
  const auto good = read_text(kSmallVocabulary);
  const auto packed = gzipped(good);
  const std::pair<std::string, std::string> cases[] = {
      {"", "an empty file"},
      {"  \n ", "an empty file"},
      {packed.substr(0, packed.size() / 2), "gzip data"},
      {gzipped(std::string((std::size_t{1} << 26) + 1, 'a')), "64 MiB"},
      {good.substr(0, good.find('\n')), "no merges"},
      {good.substr(0, good.find('\n')) + "\nab c d\n", "line 2"},
      {good.substr(0, good.find('\n')) + "\nzq qz\n", "no id for 'zq'"},
      {"#version: 0.2\na b\n", "vocab.json beside it"},
      {"{}", "merges.txt beside it"},
      {R"({"model": {}})", "model type ''"},
      {R"({"model": {"type": "BPE", "vocab": {}}})", "end of words"},
      {R"({"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {}}})", "no tokens"},
      {R"({"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0}}})", "no id for '"},
      {R"({"model": {"type": "Unigram", "vocab": []}})", "spiece.model"},
      {R"({"model": {"type": "WordPiece", "vocab": {}}})", "model type 'WordPiece'"},
      {word_level("{}"), "no tokens"},
      {word_level("7"), "no model.vocab"},
      {word_level(R"({"a": "b"})"), "no number"},
      {word_level(R"({"a": 1, "b": 1})"), "id 1 for two tokens"},
      {word_level(R"({"a": -1})"), "id -1"},
      {word_level(R"({"a": 99999999999})"), "id 99999999999"},
      {word_level(R"({"a": 1)"), "JSON without a 'model'"},
      {"\x0a\x05garbage", "none of the known kinds"},
      {"just some text\n", "none of the known kinds"},
      {std::string(1000, '\x7f'), "none of the known kinds"},
      {std::string("\0\0\0\0", 4), "none of the known kinds"},
  };
  for (const auto& [text, found] : cases) {
    const auto message = refusal("vocabulary", text);
    EXPECT_NE(message.find(found), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  const auto model = read_text(kReference / "vocabulary/t5.model");
  for (std::size_t part = 0; part < model.size(); part += 97)
    refusal("cut.model", std::string_view(model).substr(0, part));
  write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_NE(refusal("vocab.json", R"({"a": 1})").find("no id for"), std::string::npos);
  EXPECT_NE(refusal("vocab.json", "{\"a\": ").find("no JSON object"), std::string::npos);
  EXPECT_NE(refusal_of([&] { read_tokenizer(folder_ / "missing"); }).find("missing"), std::string::npos);
}

TEST_F(TokenizerFiles, TheVocabularyBesideTheCheckpointIsFound) {
  auto config = tiny_config();
  const auto checkpoint = folder_ / "model.pt";
  const auto message = refusal_of([&] { find_tokenizer(config, {}, checkpoint); });
  EXPECT_NE(message.find("github.com/openai/CLIP"), std::string::npos) << message;
  write("tokenizer.json", word_level(R"({"<start_of_text>": 0, "<end_of_text>": 1})"));
  EXPECT_EQ(find_tokenizer(config, {}, checkpoint)->vocab_size(), 2);
  EXPECT_NE(refusal_of([&] {
              find_tokenizer(config, kSmallVocabulary, checkpoint);
            }).find("found 914 tokens; expected the 50"),
            std::string::npos);
  config.text->vocab_size = 914;
  EXPECT_EQ(find_tokenizer(config, kSmallVocabulary, checkpoint)->vocab_size(), 914);
}

TEST_F(TokenizerFiles, EachKindOfTextTowerTakesItsOwnKindOfVocabulary) {
  auto clip = tiny_config();
  clip.text->vocab_size = 256000;
  auto siglip = clip;
  siglip.text->pool_last = true;
  const auto sentencepiece = kReference / "vocabulary/gemma.model";
  EXPECT_NE(refusal_of([&] {
              find_tokenizer(clip, sentencepiece, "");
            }).find("without start and end tokens; expected one with both"),
            std::string::npos);
  EXPECT_NE(refusal_of([&] {
              find_tokenizer(siglip, kSmallVocabulary, "");
            }).find("with start and end tokens; expected one without"),
            std::string::npos);
  const auto words = write("words.json", word_level(R"({"a": 0, "b": 1})"));
  EXPECT_NE(refusal_of([&] { find_tokenizer(clip, words, ""); }), "accepted");
  EXPECT_EQ(find_tokenizer(siglip, words, "")->vocab_size(), 2);
  // Beside the weights lie both: each takes its own.
  fs::copy_file(sentencepiece, folder_ / "spiece.model");
  fs::copy_file(kReference / "vocabulary/tokenizer.json", folder_ / "tokenizer.json");
  EXPECT_TRUE(find_tokenizer(clip, {}, folder_ / "model.pt")->framed());
  EXPECT_FALSE(find_tokenizer(siglip, {}, folder_ / "model.pt")->framed());
}

TEST(HtmlEntities, AreUnescapedAsTheStandardSays) {
  EXPECT_EQ(unescaped("&eacute;&eacute &amp;lt; &lt"), "éé &lt; <");
  // Without a semicolon the longest name that may stand so; with one the whole.
  EXPECT_EQ(unescaped("&notit; &notin; &ampx &NotEqualTilde;"), "¬it; ∉ &x ≂̸");
  EXPECT_EQ(unescaped("&#65;&#x42&#X43; &#128; &#0; &#xD800; &#1114112; &#99999999999999999999; &#11;."),
            "ABC € \uFFFD \uFFFD \uFFFD \uFFFD .");
  EXPECT_EQ(unescaped("& && &; &# &#; &#x; &unknown; AT&T"), "& && &; &# &#; &#x; &unknown; AT&T");
}

TEST(Unicode, LowerCaseKnowsLongMappingsAndFinalSigma) {
  const auto lower = [](std::string_view text) { return encode_utf8(lower_case(decode_utf8(text))); };
  EXPECT_EQ(lower("İÀẞ ΟΔΟΣ ΣΑΣ. Σ"), "i̇àß οδος σας. σ");
  EXPECT_EQ(encode_utf8(decode_utf8("a\xff\xe4\xbd"
                                    "b")),
            "a\uFFFD\uFFFD"
            "b");
  EXPECT_EQ(encode_utf8(compose(decode_utf8("e\u0301"))), "é");
}

}  // namespace
}  // namespace clipself::models
