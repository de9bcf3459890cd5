// safetensors, npy and the reading of state dicts.
#include <gtest/gtest.h>

#include "builders.h"
#include "clipself/formats/npy.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::formats {
namespace {

std::string safetensors(const std::string& header, const std::string& data) {
  return little(std::uint64_t{header.size()}) + header + data;
}

TEST(SafeTensorsFile, ReadsThePublishedExample) {
  // Two tensors and metadata, written out by hand after the format's description.
  const TestFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},"none":{"dtype":"I64","shape":[0,5],"data_offsets":[12,12]}} )";
  const auto path = folder.write("a.safetensors",
                                 safetensors(header, little(1.5F) + little(-2.0F) + std::string("\x80\x3f\0\xc0", 4)));
  const SafeTensors file = read_safetensors(path);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(file.tensors.keys(), (std::vector<std::string>{"b", "a", "none"}));
  EXPECT_TRUE(same_bits(file.tensors["b"], at::tensor({1.5F, -2.0F})));
  EXPECT_TRUE(same_bits(file.tensors["a"], at::tensor({1.0F, -2.0F}).view({1, 2}).to(at::kBFloat16)));
  EXPECT_EQ(file.tensors["none"].sizes(), at::IntArrayRef({0, 5}));
}

TEST(SafeTensorsFile, RoundTripsEveryTypeAligned) {
  const TestFolder folder;
  TensorDict tensors;
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kUInt16, at::kHalf,
                          at::kBFloat16, at::kFloat, at::kDouble, at::kComplexFloat, at::kFloat8_e4m3fn}) {
    tensors.insert(c10::toString(type), at::arange(5, at::kFloat).to(type));
  }
  tensors.insert("turned", at::arange(6, at::kFloat).view({2, 3}).t());
  tensors.insert("scalar", at::scalar_tensor(1.25));
  tensors.insert("empty", at::empty({0}));
  tensors.insert("na\"me\n", at::ones({1}));
  write_safetensors(folder.file("a.safetensors"), tensors, {{"model", "x"}});
  const SafeTensors file = read_safetensors(folder.file("a.safetensors"));
  EXPECT_EQ(file.tensors.size(), tensors.size());
  EXPECT_EQ(file.metadata.at("model"), "x");
  for (const auto& item : tensors) {
    const at::Tensor* tensor = file.tensors.find(item.key());
    ASSERT_NE(tensor, nullptr) << item.key();
    EXPECT_TRUE(same_bits(*tensor, item.value())) << item.key();
  }
  const std::string bytes = read_text(folder.file("a.safetensors"));
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ((8 + header) % 64, 0U);
}

TEST(SafeTensorsFile, RefusesWhatDoesNotFit) {
  const TestFolder folder;
  const auto refusal = [&](const std::string& content) {
    return error_of([&] { read_safetensors(folder.write("a.safetensors", content)); });
  };
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_EQ(refusal(safetensors(tensor("F32", "[2]", "[0,8]"), "12345678")), "");
  EXPECT_NE(refusal("1234"), "");
  EXPECT_NE(refusal(little(~std::uint64_t{0}) + "{}"), "");
  EXPECT_NE(refusal(safetensors("[]", "")), "");
  EXPECT_NE(refusal(safetensors("{\"x\":", "")), "");
  for (
      const auto& bad :
      {tensor("F32", "[2]", "[0,12]"),
       tensor("F32", "[2]", "[4,8]"),
       tensor("F32", "[3]", "[0,8]"),
       tensor("F32", "[-2]", "[0,8]"),
       tensor("F32", "[2.0]", "[0,8]"),
       tensor("F32", "[2]", "[8,0]"),
       tensor("F32", "[2]", "[0,8,9]"),
       tensor("F32", "[2]", "[0]"),
       tensor("F32", "[2]", "[-8,0]"),
       tensor("Q4", "[2]", "[0,8]"),
       tensor("F32", "{}", "[0,8]"),
       tensor("U8", "[4294967296,4294967296,16]", "[0,0]"),
       tensor("U8", "[0,4611686018427387904,16]", "[0,0]"),
       tensor("U8", "[4]", "[0,4]"),
       tensor("U8", "[4]", "[4,8]"),
       std::string(R"({"x":{"shape":[2],"data_offsets":[0,8]}})"),
       std::string(R"({"x":3})"),
       std::string(R"({"__metadata__":{"a":1}})"),
       std::string(
           R"({"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"x":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}})"),
       std::string(
           R"({"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"y":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})")}) {
    EXPECT_NE(refusal(safetensors(bad, "12345678")), "") << bad;
  }
  EXPECT_NE(refusal(safetensors(std::string(100'000, '['), "")), "");
}

TEST(SafeTensorsFile, SurvivesDamageAnywhere) {
  const TestFolder folder;
  const std::string whole = read_text(checkpoint_case("expected_odd.safetensors"));
  const auto path = [&](const std::string& content) { return folder.write("a.safetensors", content); };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of([&] { read_safetensors(path(whole.substr(0, size))); }), "") << size << " bytes";
  }
  std::size_t refused = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string broken = whole;
    broken[i] = static_cast<char>(broken[i] ^ (i % 2 == 0 ? 1 : 0xff));
    refused += error_of([&] {
                 for (const auto& item : read_safetensors(path(broken)).tensors) touch(Value(item.value()));
               }).empty()
                   ? 0
                   : 1;
  }
  EXPECT_GT(refused, std::size_t{500});
}

std::string npy(const std::string& header, const std::string& data, int version = 1) {
  const std::string size = version == 1 ? little(static_cast<std::uint16_t>(header.size()))
                                        : little(static_cast<std::uint32_t>(header.size()));
  return "\x93NUMPY" + std::string(1, static_cast<char>(version)) + std::string(1, '\0') + size + header + data;
}

TEST(NpyFile, ReadsOrdersVersionsAndTypes) {
  const TestFolder folder;
  const auto read = [&](const std::string& content) { return read_npy(folder.write("a.npy", content)); };
  const std::string ints = little(std::int16_t{1}) + little(std::int16_t{2}) + little(std::int16_t{3}) +
                           little(std::int16_t{4}) + little(std::int16_t{5}) + little(std::int16_t{6});
  const at::Tensor rows = at::tensor({1, 2, 3, 4, 5, 6}).to(at::kShort).view({2, 3});
  EXPECT_TRUE(same_bits(read(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }   \n", ints)), rows));
  EXPECT_TRUE(same_bits(read(npy("{'descr':'<i2','fortran_order':False,'shape':(2,3)}", ints, 2)), rows));
  EXPECT_TRUE(same_bits(read(npy("{'shape': (3L, 2L), 'fortran_order': True, 'descr': '<i2'}\n", ints, 3)), rows.t()));
  EXPECT_TRUE(
      same_bits(read(npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,)}", std::string("\0\1\1\0", 4))),
                at::tensor({1, 256}).to(at::kShort)));
  EXPECT_TRUE(same_bits(read(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", std::string("\0\1", 2))),
                        at::tensor({0, 1}).to(at::kBool)));
  EXPECT_TRUE(same_bits(read(npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", little(0.25))),
                        at::scalar_tensor(0.25, at::kDouble)));
  EXPECT_EQ(read(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (0, 7)}", "")).sizes(), at::IntArrayRef({0, 7}));
}

TEST(NpyFile, WritesWhatNumpyWouldWrite) {
  const TestFolder folder;
  write_npy(folder.file("a.npy"), at::arange(6, at::kFloat).view({3, 2}).t());
  // np.save of the same array, NumPy 1.24.
  std::string expected =
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" + std::string(58, ' ') + "\n", "");
  for (const float value : {0.0F, 2.0F, 4.0F, 1.0F, 3.0F, 5.0F}) expected += little(value);
  EXPECT_EQ(read_text(folder.file("a.npy")), expected);
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kDouble}) {
    const at::Tensor array = at::arange(5, at::kFloat).to(type);
    write_npy(folder.file("b.npy"), array);
    EXPECT_TRUE(same_bits(read_npy(folder.file("b.npy")), array)) << c10::toString(type);
  }
  write_npy(folder.file("b.npy"), at::ones({2}, at::kBFloat16));
  EXPECT_TRUE(same_bits(read_npy(folder.file("b.npy")), at::ones({2})));
}

TEST(NpyFile, KeepsANoteBehindTheArray) {
  const TestFolder folder;
  const auto array = at::arange(6, at::kFloat).view({3, 2});
  write_npy(folder.file("a.npy"), array, "a note");
  const auto noted = read_noted_npy(folder.file("a.npy"));
  EXPECT_TRUE(same_bits(noted.array, array));
  EXPECT_EQ(noted.note, "a note");
  EXPECT_TRUE(same_bits(read_npy(folder.file("a.npy")), array));
  // The array as it is without, then magic, length, note.
  write_npy(folder.file("b.npy"), array);
  const auto with = read_text(folder.file("a.npy")), without = read_text(folder.file("b.npy"));
  EXPECT_EQ(with, without + "CLIPSELF" + std::string("\6\0\0\0\0\0\0\0", 8) + "a note");
  EXPECT_EQ(read_noted_npy(folder.file("b.npy")).note, "");
  for (const auto& wrong :
       {with + "x", with.substr(0, with.size() - 1), without + "CLIPSELF", without + "another note"})
    EXPECT_THROW(read_npy(folder.write("c.npy", wrong)), Error) << wrong.size();
}

TEST(NpyFile, RefusesWhatItCannotHold) {
  const TestFolder folder;
  const auto refusal = [&](const std::string& content) {
    return error_of([&] { read_npy(folder.write("a.npy", content)); });
  };
  const auto header = [](const std::string& type, const std::string& shape) {
    return "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  };
  const std::string eight(8, '\1');
  EXPECT_EQ(refusal(npy(header("<f4", "(2,)"), eight)), "");
  for (const std::string& bad :
       std::vector<std::string>{header("|O", "(1,)"), header("<U2", "(1,)"), header("<f4", "(3,)"),
                                header("<f4", "(1,)"), header("<f4", "(-2,)"), header("<f4", "(2"), header("<f4", "2"),
                                header("", "(2,)"), header("<f4", "(4611686018427387904, 4611686018427387904)"),
                                header("<f4", "(0, 4611686018427387904, 4611686018427387904)"),
                                header("<f4", "(99999999999999999999,)"), std::string("{}"), std::string("{'x': 1}"),
                                std::string("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}"),
                                header("<f4", "(2,)") + "}", std::string("{'descr': '<f4', 'shape': (2,)}")}) {
    EXPECT_NE(refusal(npy(bad, eight)), "") << bad;
  }
  const std::string whole = npy(header("<f4", "(2,)"), eight);
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(refusal(whole.substr(0, size)), "") << size;
  EXPECT_NE(refusal(npy(header("<f4", "(2,)"), eight, 9)).find("version 9"), std::string::npos);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string broken = whole;
    broken[i] = static_cast<char>(broken[i] ^ 0x41);
    refusal(broken);
  }
}

TEST(StateDictFile, UnwrapsModelBeforeModuleBeforeStateDict) {
  const TestFolder folder;
  const auto weights = [](float value) { return Value::dict({{"w", at::full({1}, value)}, {"count", 3}}); };
  const auto read = [&](const Value& value) {
    write_torch_archive(folder.file("a.pt"), value);
    return read_state_dict(folder.file("a.pt"));
  };
  StateDict found = read(Value::dict({{"state_dict", weights(1)}, {"module", weights(2)}, {"model", weights(3)}}));
  EXPECT_EQ(found.wrapper, "model");
  EXPECT_EQ(found.tensors["w"].item<float>(), 3.0F);
  EXPECT_EQ(found.tensors.size(), 1U);
  found = read(Value::dict({{"state_dict", weights(1)}, {"module", weights(2)}, {"model", "a name"}}));
  EXPECT_EQ(found.wrapper, "module");
  found = read(Value::dict({{"epoch", 1}, {"state_dict", weights(1)}}));
  EXPECT_EQ(found.wrapper, "state_dict");
  found = read(weights(4));
  EXPECT_EQ(found.wrapper, "");
  EXPECT_FALSE(found.stripped_module_prefix);
}

TEST(StateDictFile, StripsTheModulePrefixWhenTheFirstNameHasIt) {
  const TestFolder folder;
  const at::Tensor one = at::ones({1});
  const auto read = [&](const Value& value) {
    write_torch_archive(folder.file("a.pt"), value);
    return read_state_dict(folder.file("a.pt"));
  };
  StateDict found = read(Value::dict({{"module.b", one}, {"module.module.a", one}}));
  EXPECT_EQ(found.tensors.keys(), (std::vector<std::string>{"b", "module.a"}));
  EXPECT_TRUE(found.stripped_module_prefix);
  found = read(Value::dict({{"b", one}, {"module.a", one}}));
  EXPECT_EQ(found.tensors.keys(), (std::vector<std::string>{"b", "module.a"}));
  EXPECT_NE(error_of([&] {
              read(Value::dict({{"module.a", one}, {"a", one}}));
            }).find("both with and without"),
            std::string::npos);
}

TEST(StateDictFile, ReadsSafetensorsByContentNotByName) {
  const TestFolder folder;
  TensorDict tensors;
  tensors.insert("module.w", at::ones({1}));
  write_safetensors(folder.file("weights.pt"), tensors, {{"model", "EVA02-CLIP-B-16"}});
  const StateDict found = read_state_dict(folder.file("weights.pt"));
  EXPECT_EQ(found.tensors.keys(), (std::vector<std::string>{"w"}));
  EXPECT_EQ(found.metadata.at("model"), "EVA02-CLIP-B-16");
}

TEST(StateDictFile, SaysWhatTheFileIsInstead) {
  const TestFolder folder;
  const auto refusal = [&](const std::string& content) {
    return error_of([&] { read_state_dict(folder.write("a.pt", content)); });
  };
  EXPECT_NE(refusal("version https://git-lfs.github.com/spec/v1\n").find("Git LFS"), std::string::npos);
  EXPECT_NE(refusal("<!DOCTYPE html>").find("web page"), std::string::npos);
  EXPECT_NE(refusal("").find("complete"), std::string::npos);
  write_torch_archive(folder.file("list.pt"), Value::list({at::ones({1})}));
  EXPECT_NE(error_of([&] { read_state_dict(folder.file("list.pt")); }).find("list of 1"), std::string::npos);
  write_torch_archive(folder.file("empty.pt"), Value::dict({{"epoch", 3}}));
  EXPECT_NE(error_of([&] { read_state_dict(folder.file("empty.pt")); }).find("no tensor"), std::string::npos);
}

TEST(StoredValue, SaysWhatItIsWhenAskedForSomethingElse) {
  EXPECT_NE(error_of([] { Value(3).as_string(); }).find("found int; expected a string"), std::string::npos);
  EXPECT_NE(error_of([] { Value::list({1, 2}).as_dict(); }).find("list of 2"), std::string::npos);
  EXPECT_EQ(Value(3).as_float(), 3.0);
  EXPECT_NE(error_of([] { Value(true).as_int(); }), "");
  EXPECT_EQ(Value(3).find("x"), nullptr);
  Value value = Value::dict({{"x", 1}});
  const Value alias = value;
  value.mutable_dict().emplace_back("y", 2);
  EXPECT_EQ(alias.find("y")->as_int(), 2);
}

}  // namespace
}  // namespace clipself::formats
