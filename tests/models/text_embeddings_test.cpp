#include "clipself/models/text_embeddings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/npy.h"
#include "clipself/formats/torch_archive.h"
#include "tests/models/tiny_model.h"

namespace clipself::models {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

class EmbeddingFiles : public ::testing::Test {
 protected:
  EmbeddingFiles() {
    std::string name = (fs::temp_directory_path() / "clipself_embeddings.XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~EmbeddingFiles() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
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

ClassEmbeddings example() {
  // Unit vectors whose length is exactly 1 in float32 as well.
  const auto rows = at::tensor({0.5, -0.5, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.5, -0.5}, at::kFloat);
  return {.rows = rows.view({3, 4}), .names = {"zebra", "a \"b\"", "käse"}, .model = "tiny", .text_tower = "ab01"};
}

TEST(PromptTemplates, HaveTheirPublishedNumbers) {
  EXPECT_EQ(prompt_templates("single").size(), 1U);
  EXPECT_EQ(prompt_templates("vild").size(), 63U);
  const auto openai = prompt_templates("openai");
  EXPECT_EQ(openai.size(), 80U);
  EXPECT_EQ(openai.front(), "a bad photo of a {}.");
  EXPECT_EQ(openai.back(), "a tattoo of the {}.");
  // The original's prompts, which the reference case pins, say more than open_clip's.
  EXPECT_EQ(class_prompts("cat", prompt_templates("single")), Texts{"This is a photo of a cat."});
  EXPECT_EQ(class_prompts("cat", openai).front(), "a bad photo of a cat.");
}

TEST_F(EmbeddingFiles, TemplatesOfAFileAreItsLines) {
  write_text(folder_ / "t.txt", "One {}.\r\n\n{article} {}\n");
  EXPECT_EQ(prompt_templates((folder_ / "t.txt").string()), (Texts{"One {}.", "{article} {}"}));
  write_text(folder_ / "t.txt", "One {}.\nnone\n");
  EXPECT_NE(refusal_of([&] { prompt_templates((folder_ / "t.txt").string()); }).find("'none'"), std::string::npos);
  write_text(folder_ / "t.txt", "\n");
  EXPECT_NE(refusal_of([&] { prompt_templates((folder_ / "t.txt").string()); }).find("0 lines"), std::string::npos);
  EXPECT_NE(refusal_of([] { prompt_templates("vold"); }).find("single, vild, openai"), std::string::npos);
}

TEST(ClassPrompts, AreMadeAsTheOriginalMakesThem) {
  const Texts templates{"There is {article} {}.", "a {} and {article} {}", "the {}", "itap of {}"};
  // "_" and "/", lower case, trailing dots; the article by the raw name's first letter.
  EXPECT_EQ(class_prompts("Orange_juice/tea..", templates),
            (Texts{"There is a orange juice or tea.", "a orange juice or tea and a orange juice or tea",
                   "the orange juice or tea", "itap of orange juice or tea"}));
  EXPECT_EQ(class_prompts("umbrella", templates)[0], "There is an umbrella.");
  EXPECT_EQ(class_prompts("{article}", templates)[3], "itap of {article}");
  EXPECT_THROW(class_prompts("", templates), Error);
}

TEST(EmbedClasses, IsTheMeanOfUnitFeaturesAtUnitLength) {
  const auto model = tiny_model();
  model->freeze(at::kFloat);
  const auto tokenizer = parse_tokenizer_json(
      R"({"model": {"type": "WordLevel", "vocab": {"x": 0, "one": 1, "two": 2, "red": 3, "<start_of_text>": 48, "<end_of_text>": 49}}})",
      "here");
  const Texts names{"red", "two"}, templates{"one {}", "{} two"};
  std::int64_t reported = 0;
  const auto made = embed_classes(*model, *tokenizer, names, templates, [&](std::int64_t done, std::int64_t total) {
    EXPECT_EQ(total, 2);
    reported = done;
  });
  EXPECT_EQ(reported, 2);
  EXPECT_EQ(made.names, names);
  EXPECT_EQ(made.model, "tiny");
  EXPECT_EQ(made.text_tower, text_fingerprint(*model));
  const at::NoGradGuard no_grad;
  const auto tokens =
      at::tensor({48, 1, 3, 49, 0, 0, 0, 0, 0, 0, 48, 3, 2, 49, 0, 0, 0, 0, 0, 0}, at::kLong).view({2, 10});
  const auto features = model->text().encode(tokens);
  const auto mean = (features / features.norm(2, {1}, true)).mean(0);
  EXPECT_TRUE(at::allclose(made.rows[0], mean / mean.norm(), 1e-5, 1e-6));
  const auto without_text = tiny_model(1, /*with_text=*/false);
  EXPECT_THROW(embed_classes(*without_text, *tokenizer, names, templates), Error);
}

TEST(TextTower, IsNotTouchedByWhatStandsBehindTheEndToken) {
  // Without gradients rows are cut behind the last end token; with them they are not.
  const auto model = tiny_model();
  const auto tokens =
      at::tensor({48, 1, 3, 49, 0, 0, 0, 0, 0, 0, 48, 3, 2, 7, 9, 49, 0, 0, 0, 0}, at::kLong).view({2, 10});
  const auto whole = model->text().encode(tokens).detach();
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::allclose(model->text().encode(tokens), whole, 1e-5, 1e-6));
}

TEST_F(EmbeddingFiles, EveryFormatKeepsRowsNamesAndModel) {
  for (const auto* name : {"e.npy", "e.safetensors", "e.pt"}) {
    write_class_embeddings(folder_ / name, example());
    const auto back = read_class_embeddings(folder_ / name);
    EXPECT_TRUE(back.rows.equal(example().rows)) << name;
    EXPECT_EQ(back.names, example().names) << name;
    EXPECT_EQ(back.model, "tiny") << name;
    EXPECT_EQ(back.text_tower, "ab01") << name;
  }
  EXPECT_TRUE(formats::read_npy(folder_ / "e.npy").equal(example().rows));
  EXPECT_NE(refusal_of([&] { write_class_embeddings(folder_ / "e.txt", example()); }).find(".npy, .safetensors or .pt"),
            std::string::npos);
  auto twice = example();
  twice.names[1] = "zebra";
  EXPECT_NE(refusal_of([&] { write_class_embeddings(folder_ / "e.pt", twice); }).find("'zebra' twice"),
            std::string::npos);
}

TEST_F(EmbeddingFiles, PublishedFilesWithoutNotesAreRead) {
  formats::write_npy(folder_ / "e.npy", example().rows.to(at::kHalf));
  const auto plain = read_class_embeddings(folder_ / "e.npy");
  EXPECT_EQ(plain.rows.scalar_type(), at::kFloat);
  EXPECT_TRUE(plain.names.empty() && plain.model.empty());
  formats::write_torch_archive(folder_ / "e.pt",
                               formats::Value::dict({{"b", at::ones({4})}, {"a", at::ones({4}) * 3}}));
  const auto named = read_class_embeddings(folder_ / "e.pt");
  EXPECT_EQ(named.names, (Texts{"b", "a"}));
  EXPECT_TRUE(at::allclose(named.rows, at::full({2, 4}, 0.5))) << "rows are of unit length whatever the file's are";
}

TEST_F(EmbeddingFiles, BrokenOnesAreRefused) {
  const auto archive = [&](formats::Value value) {
    formats::write_torch_archive(folder_ / "e.pt", value);
    return refusal_of([&] { read_class_embeddings(folder_ / "e.pt"); });
  };
  using formats::Value;
  EXPECT_NE(archive(Value::dict({})).find("no names"), std::string::npos);
  EXPECT_NE(archive(Value::dict({{"a", 1}})).find("'a': int"), std::string::npos);
  EXPECT_NE(archive(Value::dict({{"a", at::ones({4})}, {"b", at::ones({5})}})).find("'b': a tensor of shape [5]"),
            std::string::npos);
  EXPECT_NE(archive(Value::dict({{1, at::ones({4})}})).find("the key"), std::string::npos);
  EXPECT_NE(archive(Value::dict({{"a", at::ones({4})}, {"clipself", "{"}})).find("notes"), std::string::npos);
  EXPECT_NE(archive(Value::dict({{"a", at::full({4}, NAN)}})).find("not finite"), std::string::npos);
  EXPECT_NE(archive(Value::dict({{"a", at::ones({4})}, {"b", at::zeros({4})}})).find("row 1 of zeros"),
            std::string::npos);
  EXPECT_NE(archive(Value("text")).find("a dictionary of names"), std::string::npos);
  for (const auto* note : {"x", "{}", R"({"model": "m", "names": ["a"]})", R"({"model": 1, "names": []})"}) {
    formats::write_npy(folder_ / "e.npy", at::ones({2, 4}), note);
    EXPECT_NE(refusal_of([&] { read_class_embeddings(folder_ / "e.npy"); }), "accepted") << note;
  }
  for (const auto* name : {"e.npy", "e.safetensors", "e.pt"}) {
    write_class_embeddings(folder_ / name, example());
    const auto whole = read_text(folder_ / name);
    for (std::size_t size = 0; size < whole.size(); size += 13) {
      write_text(folder_ / "cut", whole.substr(0, size));
      // A .npy cut exactly behind its array is a sound one.
      const auto message = refusal_of([&] { read_class_embeddings(folder_ / "cut"); });
      EXPECT_TRUE(message != "accepted" || std::string(name) == "e.npy") << name << " cut to " << size;
    }
  }
}

std::string embeddings_refusal(const ClassEmbeddings& embeddings, ClipModel& model) {
  try {
    require_embeddings_of(embeddings, model, "--embed-path", "e.npy");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RequireEmbeddings, NamesBothModels) {
  const auto model = tiny_model();
  ClassEmbeddings embeddings{.rows = at::ones({2, 12}), .names = {}, .model = ""};
  EXPECT_EQ(embeddings_refusal(embeddings, *model), "accepted");
  embeddings.model = "tiny";
  EXPECT_EQ(embeddings_refusal(embeddings, *model), "accepted");
  embeddings.model = "other";
  const auto message = embeddings_refusal(embeddings, *model);
  EXPECT_NE(message.find("--embed-path 'e.npy': found class embeddings made by the model 'other'; "
                         "expected those made by 'tiny'"),
            std::string::npos)
      << message;
  auto from_file = tiny_config();
  from_file.name = "somewhere/other.json";
  ClipModel other(from_file);
  EXPECT_EQ(embeddings_refusal(embeddings, other), "accepted");
  embeddings.rows = at::ones({2, 8});
  EXPECT_NE(embeddings_refusal(embeddings, other), "accepted");
}

TEST(RequireEmbeddings, GoesByTheTextTowersWeightsWhereTheyAreKnown) {
  const auto model = tiny_model(1), twin = tiny_model(1), other = tiny_model(2), blind = tiny_model(1, false);
  ClassEmbeddings embeddings{
      .rows = at::ones({2, 12}), .names = {}, .model = "renamed", .text_tower = text_fingerprint(*model)};
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : twin->visual().parameters()) parameter.add_(1);  // as refining does
  }
  EXPECT_EQ(embeddings_refusal(embeddings, *twin), "accepted");
  twin->freeze(at::kBFloat16);
  EXPECT_EQ(embeddings_refusal(embeddings, *twin), "accepted");
  embeddings.model = "tiny";
  EXPECT_NE(embeddings_refusal(embeddings, *other).find("another text tower"), std::string::npos);
  EXPECT_EQ(embeddings_refusal(embeddings, *blind), "accepted") << "only the name is known";
  embeddings.model = "renamed";
  EXPECT_NE(embeddings_refusal(embeddings, *blind), "accepted");
}

}  // namespace
}  // namespace clipself::models
