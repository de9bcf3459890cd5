#include "clipself/datasets/class_lists.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/file.h"

namespace clipself::datasets {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

std::string class_list_refusal(const std::string& name) {
  try {
    class_list(name, "--names");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ClassLists, HaveTheirDataSetsNumbersOfDifferentNames) {
  const std::pair<const char*, std::size_t> sizes[] = {
      {"ade20k", 150},      {"coco", 80},          {"coco_panoptic", 133},    {"lvis", 1203},
      {"lvis_rare", 337},   {"lvis_seen", 866},    {"objects365", 365},       {"ov_coco", 65},
      {"ov_coco_base", 48}, {"ov_coco_novel", 17}, {"pascal_context_59", 59}, {"voc", 20}};
  EXPECT_EQ(known_class_lists().size(), std::size(sizes));
  for (const auto& [name, size] : sizes) {
    const auto names = class_list(name, "--names");
    EXPECT_EQ(names.size(), size) << name;
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), size) << name;
    for (const auto& each : names) EXPECT_TRUE(!each.empty() && each.find_first_of("\n;") == each.npos) << name;
  }
}

TEST(ClassLists, AreInTheOrderOfTheCategoryIds) {
  const auto at = [](const char* list, std::size_t i) { return class_list(list, "--names")[i]; };
  EXPECT_EQ(at("coco", 0), "person");
  EXPECT_EQ(at("coco", 79), "toothbrush");
  EXPECT_EQ(at("coco_panoptic", 80), "banner");
  EXPECT_EQ(at("coco_panoptic", 132), "rug-merged");
  EXPECT_EQ(at("lvis", 0), "aerosol_can");
  EXPECT_EQ(at("lvis", 1202), "zucchini");
  EXPECT_EQ(at("ade20k", 0), "wall");
  EXPECT_EQ(at("ade20k", 149), "flag");
  EXPECT_EQ(at("pascal_context_59", 58), "wood");
}

TEST(ClassLists, OfOpenVocabularyDetectionDivideTheirWholes) {
  const auto parts = [](const char* whole, const char* first, const char* second) {
    const auto a = class_list(first, "--names"), b = class_list(second, "--names");
    const std::set<std::string> in_a(a.begin(), a.end());
    Names seen, unseen;  // the whole's names in its own order
    for (const auto& name : class_list(whole, "--names")) (in_a.contains(name) ? seen : unseen).push_back(name);
    EXPECT_EQ(seen, a);
    EXPECT_EQ(unseen, b);
  };
  parts("ov_coco", "ov_coco_base", "ov_coco_novel");
  parts("lvis", "lvis_seen", "lvis_rare");
  const auto coco = class_list("coco", "--names"), ov_coco = class_list("ov_coco", "--names");
  auto place = coco.begin();
  for (const auto& name : ov_coco) {
    place = std::find(place, coco.end(), name);
    ASSERT_NE(place, coco.end()) << name;
  }
  EXPECT_EQ(class_list("ov_coco_novel", "--names").front(), "airplane");
}

TEST(ClassLists, AreReadFromLinesArraysAndCategories) {
  std::string name = (fs::temp_directory_path() / "clipself_classes.XXXXXX").string();
  const fs::path folder = ::mkdtemp(name.data());
  const auto path = (folder / "names").string();
  const auto read = [&](std::string_view text) {
    write_text(path, text);
    return class_list(path, "--names");
  };
  EXPECT_EQ(read("cat\r\n\nhot dog \nkäse"), (Names{"cat", "hot dog", "käse"}));
  EXPECT_EQ(read(R"( ["cat", "hot \"dog\""])"), (Names{"cat", "hot \"dog\""}));
  EXPECT_EQ(
      read(R"({"images": [{"id": 7}], "categories": [{"id": 9, "name": "b"}, {"name": "a", "x": [1], "id": 2}]})"),
      (Names{"a", "b"}));
  const auto refused = [&](std::string_view text) {
    write_text(path, text);
    return class_list_refusal(path);
  };
  for (const auto* text :
       {"", "\n\n", "[]", "[1]", "[\"a\", ", "{}", "{\"categories\": 1}", "{\"categories\": [{\"id\": 1}]}", "[\"\"]",
        "{\"categories\": [{\"id\": \"x\", \"name\": \"a\"}]}"}) {
    EXPECT_NE(refused(text).find("reading class names '" + path), std::string::npos) << text << ": " << refused(text);
  }
  EXPECT_NE(refused(std::string(2000, 'a')).find("2000 bytes"), std::string::npos);
  EXPECT_NE(refused(std::string("a\0b", 3)).find("no text"), std::string::npos);
  EXPECT_NE(refused("cat\n\nk\xe4se\n").find("line 3 in another encoding; expected UTF-8"), std::string::npos);
  EXPECT_NE(refused("[\"k\xe4se\"]"), "accepted");
  fs::remove_all(folder);
  EXPECT_NE(class_list_refusal("cocco").find("ade20k, coco, coco_panoptic, lvis"), std::string::npos);
}

TEST(ClassLists, MayStandInTheFlagItself) {
  EXPECT_EQ(class_list("cat, hot dog,tree", "--names"), (Names{"cat", "hot dog", "tree"}));
  EXPECT_NE(class_list_refusal("a,folder/file"), "accepted");
  EXPECT_NE(class_list_refusal("a,,b"), "accepted");
  EXPECT_NE(class_list_refusal("a,k\xe4se").find("UTF-8"), std::string::npos);
  EXPECT_EQ(listed_names("hot dog"), Names{"hot dog"});
  EXPECT_THROW(listed_names("k\xe4se"), Error);
}

}  // namespace
}  // namespace clipself::datasets
