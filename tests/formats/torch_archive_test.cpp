#include "clipself/formats/torch_archive.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "builders.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"

namespace clipself::formats {
namespace {

void expect_same(const TensorDict& found, const std::string& expected) {
  const TensorDict wanted = read_safetensors(checkpoint_case(expected)).tensors;
  EXPECT_EQ(found.size(), wanted.size());
  for (const auto& item : wanted) {
    const at::Tensor* tensor = found.find(item.key());
    ASSERT_NE(tensor, nullptr) << item.key();
    EXPECT_TRUE(same_bits(*tensor, item.value())) << item.key();
  }
}

const at::Tensor& tensor_at(const Value& value, const std::string& key) {
  const Value* item = value.find(key);
  if (item == nullptr) throw std::out_of_range(key);
  return item->as_tensor();
}

struct Case {
  const char* file;
  const char* expected;
};

class TorchArchiveOfPyTorch : public ::testing::TestWithParam<Case> {};

TEST_P(TorchArchiveOfPyTorch, HoldsTheSameBits) {
  expect_same(read_state_dict(checkpoint_case(GetParam().file)).tensors, GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Files, TorchArchiveOfPyTorch,
                         ::testing::Values(Case{"zip_bf16.pt", "expected_bf16.safetensors"},
                                           Case{"protocol4.pt", "expected_fp32.safetensors"},
                                           Case{"torch2_records.pt", "expected_fp32.safetensors"},
                                           Case{"legacy_wrapped_prefix.pt", "expected_fp32.safetensors"},
                                           Case{"train_checkpoint.pt", "expected_fp32.safetensors"},
                                           Case{"odd_zip.pt", "expected_odd.safetensors"},
                                           Case{"odd_legacy.pt", "expected_odd.safetensors"}),
                         [](const auto& info) {
                           std::string name = info.param.file;
                           return name.substr(0, name.find('.'));
                         });

TEST(TorchArchive, KeepsStridesAndSharedStorage) {
  for (const char* file : {"odd_zip.pt", "odd_legacy.pt"}) {
    const Value value = read_torch_archive(checkpoint_case(file));
    EXPECT_EQ(tensor_at(value, "transposed").strides(), at::IntArrayRef({1, 10}));
    EXPECT_EQ(tensor_at(value, "expanded").strides(), at::IntArrayRef({0, 0}));
    EXPECT_EQ(tensor_at(value, "shared_b").storage_offset(), 7);
    EXPECT_EQ(tensor_at(value, "shared_a").storage().data(), tensor_at(value, "shared_b").storage().data());
    at::Tensor whole = tensor_at(value, "shared_a");
    whole.zero_();
    EXPECT_EQ(tensor_at(value, "shared_b").abs().sum().item<float>(), 0.0F);
  }
}

TEST(TorchArchive, MayBeWrittenToWithoutChangingTheFile) {
  const TestFolder folder;
  for (const char* file : {"odd_zip.pt", "odd_legacy.pt"}) {
    const std::string before = read_text(checkpoint_case(file));
    const auto copy = folder.write(file, before);
    const Value value = read_torch_archive(copy);
    at::Tensor tensor = tensor_at(value, "shared_a");
    tensor.add_(1);
    EXPECT_EQ(read_text(copy), before);
    EXPECT_FALSE(same_bits(tensor, tensor_at(read_torch_archive(copy), "shared_a")));
  }
}

TEST(TorchArchive, OutlivesTheFilesRemoval) {
  const TestFolder folder;
  const auto copy = folder.write("a.pt", read_text(checkpoint_case("odd_zip.pt")));
  const at::Tensor tensor = tensor_at(read_torch_archive(copy), "shared_a");
  std::filesystem::remove(copy);
  EXPECT_TRUE(same_bits(tensor, tensor_at(read_torch_archive(checkpoint_case("odd_zip.pt")), "shared_a")));
}

TEST(TorchArchive, ReadsATrainingCheckpointWhole) {
  const Value value = read_torch_archive(checkpoint_case("train_checkpoint.pt"));
  const auto expected = nlohmann::json::parse(std::ifstream(checkpoint_case("expected_train_checkpoint.json")));
  EXPECT_EQ(value.find("epoch")->as_int(), expected["epoch"]);
  EXPECT_EQ(value.find("name")->as_string(), expected["name"]);
  const Value& scaler = *value.find("scaler");
  for (const auto& [name, number] : expected["scaler"].items()) {
    EXPECT_EQ(scaler.find(name)->as_float(), number.get<double>()) << name;
  }
  const List& groups = value.find("optimizer")->find("param_groups")->as_list();
  ASSERT_EQ(groups.size(), expected["param_groups"].size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto& group = expected["param_groups"][i];
    EXPECT_EQ(groups[i].find("lr")->as_float(), group["lr"]);
    EXPECT_EQ(groups[i].find("amsgrad")->as_bool(), group["amsgrad"]);
    EXPECT_TRUE(groups[i].find("foreach")->is(Value::Kind::kNone));
    EXPECT_EQ(groups[i].find("betas")->as_list().at(1).as_float(), group["betas"][1]);
    EXPECT_EQ(groups[i].find("params")->as_list().size(), group["params"].size());
  }
  const TensorDict state = read_safetensors(checkpoint_case("expected_train_checkpoint_optimizer.safetensors")).tensors;
  std::size_t found = 0;
  for (const auto& [index, entry] : value.find("optimizer")->find("state")->as_dict()) {
    for (const auto& [name, item] : entry.as_dict()) {
      const at::Tensor* wanted = state.find("state." + std::to_string(index.as_int()) + "." + name.as_string());
      ASSERT_NE(wanted, nullptr);
      EXPECT_TRUE(same_bits(item.as_tensor(), *wanted));
      ++found;
    }
  }
  EXPECT_EQ(found, state.size());
}

TEST(TorchArchive, ReadsWhatTorch213Adds) {
  const Value value = read_torch_archive(checkpoint_case("torch_2_13_values.pt"));
  EXPECT_EQ(tensor_at(value, "view").storage().data(), tensor_at(value, "base").storage().data());
  EXPECT_TRUE(same_bits(tensor_at(value, "view"), at::tensor({2.0F, 3.0F})));
  EXPECT_TRUE(same_bits(tensor_at(value, "parameter"), at::tensor({0.0F, 1.0F})));
  EXPECT_TRUE(same_bits(tensor_at(value, "float8"), at::tensor({0.5F, -2.0F, 448.0F}).to(at::kFloat8_e4m3fn)));
  EXPECT_TRUE(same_bits(tensor_at(value, "uint16"), at::tensor({1, 65535}).to(at::kUInt16)));
  EXPECT_EQ(tensor_at(value, "complex").item<c10::complex<double>>(), c10::complex<double>(1, 2));
  EXPECT_TRUE(value.find("size")->is(Value::Kind::kTuple));
  EXPECT_EQ(value.find("size")->as_list().at(1).as_int(), 2);
  EXPECT_EQ(value.find("dtype")->as_string(), "torch.bfloat16");
  EXPECT_EQ(value.find("device")->as_string(), "cuda:1");
  EXPECT_EQ(value.find("set")->as_list().at(0).as_int(), 7);
  EXPECT_EQ(value.find("bytes")->as_bytes(), "ab\xff");
  EXPECT_EQ(value.find("bytearray")->as_bytes(), "x");
  EXPECT_TRUE(value.find("none")->is(Value::Kind::kNone));
  EXPECT_EQ(value.find("big")->as_int(), std::int64_t{1} << 40);
  EXPECT_EQ(value.find("negative")->as_int(), -3);
  EXPECT_EQ(value.find("tuple")->as_list().at(1).as_float(), 2.5);
}

TEST(TorchArchive, ReadsNumpyArraysAndScalars) {
  for (const char* file : {"numpy_protocol2.pt", "numpy_protocol5.pt"}) {
    const Value value = read_torch_archive(checkpoint_case(file));
    EXPECT_TRUE(same_bits(tensor_at(value, "c_order"), at::arange(6, at::kFloat).view({2, 3})));
    EXPECT_TRUE(same_bits(tensor_at(value, "fortran"), at::arange(6, at::kShort).view({2, 3})));
    EXPECT_TRUE(same_bits(tensor_at(value, "big_endian"), at::tensor({1, 2, 300})));
    EXPECT_EQ(value.find("float")->as_float(), 2.5);
    EXPECT_EQ(value.find("int")->as_int(), -4);
    EXPECT_TRUE(value.find("bool")->as_bool());
    EXPECT_EQ(value.find("defaultdict")->find("a")->as_list().at(0).as_int(), 1);
    EXPECT_EQ(value.find("counter")->find("a")->as_int(), 2);
    EXPECT_TRUE(same_bits(tensor_at(value, "storage"), at::arange(5)));
    EXPECT_EQ(value.find("empty")->as_bytes(), "");
  }
}

const std::string kOnes(16, '\1');

std::string dict_of_one_tensor() {
  return "}" + op::text("x") + op::tensor(op::storage("ByteStorage", "0", 16), 0, {16}, {1}) + "s";
}

TEST(TorchArchive, ReadsDeflatedRecordsDescriptorsZip64AndAnyFolder) {
  const TestFolder folder;
  const std::string code = op::proto() + dict_of_one_tensor() + ".";
  const at::Tensor expected = at::ones({16}, at::kByte);
  for (const bool deflated : {false, true}) {
    for (const bool descriptor : {false, true}) {
      for (const bool zip64 : {false, true}) {
        for (const std::string root : {"", "archive/", "a/b c/"}) {
          const auto record = [&](const std::string& name, const std::string& data) {
            return ZipRecord{root + name, data, deflated, {}, descriptor, zip64, 0};
          };
          const auto path = folder.write("a.pt", make_zip({record("data.pkl", code), record(".format_version", "1"),
                                                           record("byteorder", "little"), record("data/0", kOnes)}));
          EXPECT_TRUE(same_bits(tensor_at(read_torch_archive(path), "x"), expected)) << root << deflated << zip64;
        }
      }
    }
  }
}

TEST(TorchArchive, RefusesBigEndianDataByName) {
  const TestFolder folder;
  const auto path = folder.write("a.pt", make_zip({{"archive/data.pkl", op::proto() + dict_of_one_tensor() + "."},
                                                   {"archive/byteorder", "big"},
                                                   {"archive/data/0", kOnes}}));
  EXPECT_NE(error_of([&] { read_torch_archive(path); }).find("byte order 'big'"), std::string::npos);
}

std::string legacy_stream(const std::string& code, const std::string& tail, char little_endian = '\x88') {
  const std::string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
  const std::string protocol = op::proto() + "M" + little(std::uint16_t{1001}) + ".";
  const std::string system = op::proto() + "}" + op::text("little_endian") + little_endian + "s.";
  return magic + protocol + system + op::proto() + code + "." + tail;
}

TEST(TorchArchive, ReadsViewsOfStoragesInLegacyFiles) {
  const TestFolder folder;
  const std::string view = op::tuple({op::text("1"), op::integer(4), op::integer(8)});
  const std::string code =
      "}" + op::text("x") + op::tensor(op::storage("ByteStorage", "0", 16, view), 1, {3}, {2}) + "s";
  std::string data;
  for (char c = 0; c < 16; ++c) data += c;
  const std::string tail = op::proto() + "]" + op::text("0") + "a." + little(std::int64_t{16}) + data;
  const Value value = read_torch_archive(folder.write("a.pt", legacy_stream(code, tail)));
  EXPECT_TRUE(same_bits(tensor_at(value, "x"), at::tensor({5, 7, 9}).to(at::kByte)));
}

TEST(TorchArchive, RefusesLegacyFilesThatDoNotHoldTheirData) {
  const TestFolder folder;
  const auto refused = [&](const std::string& stream) {
    return error_of([&] { read_torch_archive(folder.write("a.pt", stream)); });
  };
  const std::string keys = op::proto() + "]" + op::text("0") + "a.";
  const std::string data = little(std::int64_t{16}) + kOnes;
  EXPECT_EQ(refused(legacy_stream(dict_of_one_tensor(), keys + data)), "");
  EXPECT_NE(refused(legacy_stream(dict_of_one_tensor(), keys + data, '\x89')).find("big-endian"), std::string::npos);
  EXPECT_NE(refused(legacy_stream(dict_of_one_tensor(), keys + data.substr(0, 20))).find("cut off"), std::string::npos);
  EXPECT_NE(refused(legacy_stream(dict_of_one_tensor(), op::proto() + "].")).find("no data for storage"),
            std::string::npos);
  EXPECT_NE(refused(legacy_stream(dict_of_one_tensor(), keys + little(std::int64_t{1} << 60) + kOnes)).find("elements"),
            std::string::npos);
  EXPECT_NE(refused(legacy_stream(op::storage("DoubleStorage", "0", std::int64_t{1} << 40), keys)).find("cut off"),
            std::string::npos);
}

TEST(TorchArchive, SaysWhatAnUnknownFileIs) {
  const TestFolder folder;
  EXPECT_NE(error_of([&] { read_torch_archive(folder.write("a.pt", "hello")); }).find("neither"), std::string::npos);
  EXPECT_NE(error_of([&] { read_torch_archive(folder.write("a.pt", "")); }).find("0 bytes"), std::string::npos);
  EXPECT_NE(error_of([&] { read_torch_archive(folder.file("missing.pt")); }).find("missing.pt"), std::string::npos);
}

}  // namespace
}  // namespace clipself::formats
