#include <gtest/gtest.h>

#include "builders.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::formats {
namespace {

/// Same kinds, values and bits all the way down.
void expect_equal(const Value& a, const Value& b, const std::string& where = "") {
  ASSERT_EQ(static_cast<int>(a.kind()), static_cast<int>(b.kind())) << where;
  switch (a.kind()) {
    case Value::Kind::kNone:
      return;
    case Value::Kind::kBool:
      EXPECT_EQ(a.as_bool(), b.as_bool()) << where;
      return;
    case Value::Kind::kInt:
      EXPECT_EQ(a.as_int(), b.as_int()) << where;
      return;
    case Value::Kind::kFloat:
      EXPECT_EQ(a.as_float(), b.as_float()) << where;
      return;
    case Value::Kind::kString:
      EXPECT_EQ(a.as_string(), b.as_string()) << where;
      return;
    case Value::Kind::kBytes:
      EXPECT_EQ(a.as_bytes(), b.as_bytes()) << where;
      return;
    case Value::Kind::kTensor:
      EXPECT_TRUE(same_bits(a.as_tensor(), b.as_tensor())) << where;
      return;
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      ASSERT_EQ(a.as_list().size(), b.as_list().size()) << where;
      for (std::size_t i = 0; i < a.as_list().size(); ++i) {
        expect_equal(a.as_list()[i], b.as_list()[i], where + "/" + std::to_string(i));
      }
      return;
    case Value::Kind::kDict:
      ASSERT_EQ(a.as_dict().size(), b.as_dict().size()) << where;
      for (std::size_t i = 0; i < a.as_dict().size(); ++i) {
        expect_equal(a.as_dict()[i].first, b.as_dict()[i].first, where + " key " + std::to_string(i));
        expect_equal(a.as_dict()[i].second, b.as_dict()[i].second, where + "/" + std::to_string(i));
      }
  }
}

Value written_and_read(const TestFolder& folder, const Value& value) {
  const auto path = folder.file("out.pt");
  write_torch_archive(path, value);
  return read_torch_archive(path);
}

TEST(TorchArchiveWriting, KeepsEveryKindOfValue) {
  const TestFolder folder;
  Dict items;
  items.emplace_back("none", Value());
  items.emplace_back("true", true);
  items.emplace_back("false", false);
  const std::vector<std::int64_t> edges = {0,
                                           255,
                                           256,
                                           65535,
                                           65536,
                                           -1,
                                           (std::int64_t{1} << 31) - 1,
                                           -(std::int64_t{1} << 31),
                                           std::int64_t{1} << 31,
                                           std::numeric_limits<std::int64_t>::min(),
                                           std::numeric_limits<std::int64_t>::max()};
  for (const std::int64_t number : edges) items.emplace_back(number, number);
  items.emplace_back("float", -0.1);
  items.emplace_back("infinite", std::numeric_limits<double>::infinity());
  items.emplace_back("text", "caf\xc3\xa9");
  items.emplace_back("bytes", Value::bytes(std::string("\0a\x80\xff", 4)));
  items.emplace_back("nested", Value::tuple({Value::list({}), Value::tuple({}), Value::dict({}), Value::list({1, 2})}));
  Dict many;
  for (int i = 0; i < 1000; ++i) many.emplace_back("key" + std::to_string(i), Value::list({i}));
  items.emplace_back("many", Value::dict(many));
  const Value value = Value::dict(items);
  expect_equal(written_and_read(folder, value), value);
}

TEST(TorchArchiveWriting, KeepsEveryTypeOfTensor) {
  const TestFolder folder;
  Dict items;
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kUInt16, at::kUInt32,
                          at::kUInt64, at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kComplexFloat,
                          at::kComplexDouble, at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
    items.emplace_back(c10::toString(type), at::arange(7, at::kFloat).to(type));
  }
  items.emplace_back("scalar", at::scalar_tensor(2.5));
  items.emplace_back("empty", at::empty({0, 3}));
  items.emplace_back("parameter", at::ones({2}).requires_grad_());
  const Value value = Value::dict(items);
  expect_equal(written_and_read(folder, value), value);
}

TEST(TorchArchiveWriting, ResolvesConjugatesAndDropsGradients) {
  const TestFolder folder;
  const at::Tensor number = at::scalar_tensor(c10::complex<float>(1, 2), at::kComplexFloat);
  const Value value = written_and_read(folder, Value::list({number.conj(), at::ones({1}).requires_grad_()}));
  EXPECT_EQ(value.as_list()[0].as_tensor().item<c10::complex<float>>(), c10::complex<float>(1, -2));
  EXPECT_FALSE(value.as_list()[1].as_tensor().requires_grad());
}

TEST(TorchArchiveWriting, CarriesWhatPyTorchWrote) {
  const TestFolder folder;
  for (const char* file : {"odd_zip.pt", "odd_legacy.pt", "train_checkpoint.pt", "torch_2_13_values.pt"}) {
    const Value value = read_torch_archive(checkpoint_case(file));
    expect_equal(written_and_read(folder, value), value, file);
  }
}

TEST(TorchArchiveWriting, SharesStorageAndContainersAsInMemory) {
  const TestFolder folder;
  const at::Tensor base = at::arange(24, at::kFloat);
  const Value list = Value::list({1});
  const Value value = written_and_read(folder, Value::dict({{"base", base},
                                                            {"turned", base.view({4, 6}).t()},
                                                            {"part", base.slice(0, 3, 9)},
                                                            {"a", list},
                                                            {"b", list}}));
  const auto at = [&](const char* name) { return value.find(name)->as_tensor(); };
  EXPECT_EQ(at("turned").strides(), at::IntArrayRef({1, 6}));
  EXPECT_EQ(at("part").storage_offset(), 3);
  at("base").zero_();
  EXPECT_EQ(at("turned").abs().sum().item<float>(), 0.0F);
  EXPECT_EQ(at("part").abs().sum().item<float>(), 0.0F);
  EXPECT_EQ(&value.find("a")->as_list(), &value.find("b")->as_list());
}

TEST(TorchArchiveWriting, WritesOnlyThePartOfAStorageThatIsUsed) {
  const TestFolder folder;
  const at::Tensor large = at::arange(1 << 20, at::kInt);
  const Value value = written_and_read(folder, Value::dict({{"a", large.slice(0, 1000, 1010)},
                                                            {"b", large.slice(0, 1005, 1020)},
                                                            {"every_other", large.slice(0, 0, 20, 2)},
                                                            {"expanded", large.slice(0, 7, 8).expand({4})}}));
  EXPECT_LT(std::filesystem::file_size(folder.file("out.pt")), std::uintmax_t{4000});
  EXPECT_TRUE(same_bits(value.find("a")->as_tensor(), at::arange(1000, 1010, at::kInt)));
  EXPECT_TRUE(same_bits(value.find("b")->as_tensor(), at::arange(1005, 1020, at::kInt)));
  EXPECT_TRUE(same_bits(value.find("every_other")->as_tensor(), at::arange(0, 20, 2, at::kInt)));
  EXPECT_TRUE(same_bits(value.find("expanded")->as_tensor(), at::full({4}, 7, at::kInt)));
}

TEST(TorchArchiveWriting, AlignsEveryRecordAndWritesTheSameFileForTheSameValue) {
  const TestFolder folder;
  const Value value =
      Value::dict({{"a", at::ones({3}, at::kByte)}, {"b", at::ones({5})}, {"c", at::ones({2}, at::kHalf)}});
  write_torch_archive(folder.file("one.pt"), value);
  write_torch_archive(folder.file("another_name.pt"), value);
  const std::string file = read_text(folder.file("one.pt"));
  EXPECT_EQ(file, read_text(folder.file("another_name.pt")));
  int records = 0;
  for (std::size_t at = file.find("PK\x03\x04"); at != file.npos; at = file.find("PK\x03\x04", at + 4)) {
    std::uint16_t sizes[2];
    std::memcpy(sizes, file.data() + at + 26, 4);
    EXPECT_EQ((at + 30 + sizes[0] + sizes[1]) % 64, 0U);
    ++records;
  }
  EXPECT_EQ(records, 6);  // data.pkl, byteorder, three storages, version
}

TEST(TorchArchiveWriting, RefusesWhatNoFileCanHoldAndLeavesTheOldFile) {
  const TestFolder folder;
  const auto path = folder.write("a.pt", "old");
  Value cycle = Value::list({1});
  cycle.mutable_list().push_back(cycle);
  Value deep = Value::list({});
  for (int i = 0; i < 300; ++i) deep = Value::list({deep});
  const at::Tensor sparse = at::ones({2, 2}).to_sparse();
  for (const Value& bad : {cycle, deep, Value(sparse), Value(at::Tensor()), Value("\xff"),
                           Value(at::empty({2}, at::kMeta)), Value::dict({{Value::list({}), 1}})}) {
    EXPECT_NE(error_of([&] { write_torch_archive(path, bad); }), "");
    EXPECT_EQ(read_text(path), "old");
  }
  cycle.mutable_list().clear();
}

}  // namespace
}  // namespace clipself::formats
