// Lists of class names (text, JSON, between commas), templates of prompts, and the names of labelled folders.
#include "clipself/datasets/class_lists.h"
#include "clipself/datasets/labelled_images.h"
#include "clipself/models/text_embeddings.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  static fuzz::InputFile file;
  static const fuzz::Folder folder;
  static fuzz::InputFile picture(folder.path() / "n01/a.jpg");
  const auto& path = file.holding(data, size);
  fuzz::expect_error_or_success([&] {
    const auto names = datasets::class_list(path.string(), "--classes");
    const auto templates = models::prompt_templates("single");
    for (const auto& name : names) static_cast<void>(models::class_prompts(name, templates));
  });
  fuzz::expect_error_or_success(
      [&] { static_cast<void>(datasets::listed_names(std::string(fuzz::text(data, size)))); });
  fuzz::expect_error_or_success([&] {
    const auto templates = models::prompt_templates(path.string());
    static_cast<void>(models::class_prompts("hot dog", templates));
  });
  fuzz::expect_error_or_success([&] { static_cast<void>(datasets::read_labelled_folders(folder.path(), path)); });
  return 0;
}
