// Archives made to mislead. Each must end in one clear Error, without running code, taking memory or crashing.
#include <gtest/gtest.h>

#include "builders.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::formats {
namespace {

std::string refusal(const std::string& file) {
  const TestFolder folder;
  return error_of([&] { touch(read_torch_archive(folder.write("a.pt", file))); });
}

/// Expects that the pickle `code` is refused with `reason` in the message.
void expect_refused(const std::string& code, const std::string& reason,
                    const std::string& data = std::string(64, '\1')) {
  const std::string message = refusal(make_archive(code, data));
  EXPECT_NE(message.find(reason), std::string::npos) << "refused with: " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(HostilePickle, NamesTheGlobalItWouldNotRun) {
  const TestFolder folder;
  const std::string mark = folder.file("ran").string();
  expect_refused(op::global("posix", "system") + op::tuple({op::text("touch " + mark)}) + "R", "'posix.system'");
  expect_refused(op::global("__builtin__", "eval") + op::tuple({op::text("1")}) + "R", "'builtins.eval'");
  expect_refused(op::text("os") + op::text("system") + "\x93", "'os.system'");
  expect_refused(op::global("torch.nn.modules.linear", "Linear") + ")\x81", "save its state_dict()");
  expect_refused(op::storage("QInt8Storage", "0", 4), "quantized");
  expect_refused(op::global("torch._utils", "_rebuild_qtensor"), "quantized");
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST(HostilePickle, MayNotCallWhatIsNoFunction) {
  expect_refused(op::integer(3) + ")R", "a call of the int 3");
  expect_refused(op::global("torch", "FloatStorage") + ")R", "'torch.FloatStorage'");
  expect_refused(op::global("torch", "float32") + ")R", "'torch.float32'");
  expect_refused("}" + op::text("f") + op::global("torch", "FloatStorage") + "s", "the bare global");
  expect_refused(op::global("torch._utils", "_rebuild_tensor_v2") + ")R", "0 arguments");
}

TEST(HostilePickle, MayNotHoldItself) {
  expect_refused(
      "]q\x01h\x01"
      "a",
      "holds itself");
  expect_refused("}q\x01" + op::text("x") + "h\x01s", "holds itself");
  expect_refused(
      "]q\x01h\x01\x85"
      "a",
      "holds itself");
}

TEST(HostilePickle, MayNotNestWithoutEnd) {
  const std::string open(1'000'000, ']');
  const std::string close(999'999, 'a');
  expect_refused(open + close, "objects of more than");
  expect_refused(open.substr(0, 100'000) + close.substr(0, 99'999), "nested deeper");
  std::string tuples = ")";
  for (int i = 0; i < 100'000; ++i) tuples += '\x85';
  expect_refused(tuples, "nested deeper");
  expect_refused(std::string(1'000'000, '('), "empty stack");
}

TEST(HostilePickle, SharesRatherThanMultiplies) {
  // Each list holds the one before it twice: 2^100 leaves, if they were copied.
  const TestFolder folder;
  const auto memo = [](char opcode, int index) { return opcode + std::string(1, static_cast<char>(index)); };
  std::string code = "]" + memo('q', 0);
  for (int i = 0; i < 100; ++i) code += "]" + memo('q', i + 1) + "(" + memo('h', i) + memo('h', i) + "e";
  const Value value = read_torch_archive(folder.write("a.pt", make_archive(code)));
  EXPECT_EQ(&value.as_list().at(0).as_list(), &value.as_list().at(1).as_list());
}

// Whatever is damaged is found, named by the pickle or not.
TEST(HostileArchive, VerifyingReadsRecordsThatNothingNames) {
  const TestFolder folder;
  for (const bool deflated : {false, true}) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += std::to_string(i * i);
    auto zip = make_zip(
        {{.name = "a/data.pkl", .data = op::proto() + "N."}, {.name = "a/extra", .data = text, .deflated = deflated}});
    EXPECT_EQ(error_of([&] { verify_torch_archive(folder.write("a.pt", zip)); }), "");
    zip[zip.find("a/extra") + 200] ^= 1;
    const auto damaged = folder.write("b.pt", zip);
    EXPECT_EQ(error_of([&] { read_torch_archive(damaged); }), "");
    EXPECT_NE(error_of([&] { verify_torch_archive(damaged); }).find("a/extra"), std::string::npos) << deflated;
  }
}

// A few kilobytes that inflate to a pickle of millions of objects.
TEST(HostilePickle, MayNotMakeMoreObjectsThanItsFileJustifies) {
  const TestFolder folder;
  const std::string code = op::proto() + "(" + std::string(4'000'000, ')') + "l.";
  const auto path = folder.write("a.pt", make_zip({{.name = "a/data.pkl", .data = code, .deflated = true}}));
  ASSERT_LT(std::filesystem::file_size(path), std::uintmax_t{10'000});
  EXPECT_NE(error_of([&] { read_torch_archive(path); }).find("objects of more than 67"), std::string::npos);
}

TEST(HostilePickle, MayNotMultiplyText) {
  std::string code = "]" + op::text(std::string(1 << 20, 'x')) +
                     "q\x01"
                     "0(";
  for (int i = 0; i < 100'000; ++i) code += "h\x01";
  expect_refused(code + "e", "objects of more than");
}

TEST(HostilePickle, MayNotNameAnEntryTwice) {
  expect_refused("}(" + op::text("x") + "N" + op::text("x") + "Nu", "two entries");
  expect_refused("}(K\x01NK\x01Nu", "two entries");
  expect_refused("}(}Nu", "as a dict's key");
}

TEST(HostilePickle, MayNotMisuseItsStack) {
  for (const std::string code :
       {"",      "0",  "a",  "\x85", "t", "e",    "u",      "R",    "b", "Q",    "2",       "q\x01",
        "h\x05", "]t", "(u", "]Na0", "1", "}(Nu", "NN\x93", "\x92", "i", "\xff", "]N\x88s", ")Na"}) {
    EXPECT_NE(refusal(make_archive(code)), "") << code;
  }
  expect_refused("\x80\x09N", "protocol 9");
  expect_refused("\x8a\x20" + std::string(32, '\1'), "32 bytes");
  expect_refused("L99999999999999999999L\n", "64 bits");
  expect_refused("c" + std::string(5000, 'x'), "endless line");
  expect_refused("X\xff\xff\xff\xff", "ends too soon");
  expect_refused("\x8d" + little(~std::uint64_t{0}), "ends too soon");
  expect_refused("\x95" + little(std::uint64_t{1} << 40) + "N", "ends too soon");
}

TEST(HostilePickle, BoundsEveryTensorByItsStorage) {
  const std::string storage = op::storage("FloatStorage", "0", 16);  // exactly the record's 64 bytes
  const TestFolder folder;
  EXPECT_EQ(refusal(make_archive(op::tensor(storage, 0, {4, 4}, {4, 1}))), "");
  EXPECT_EQ(refusal(make_archive(op::tensor(storage, 15, {4, 4}, {0, 0}))), "");
  EXPECT_EQ(refusal(make_archive(op::tensor(storage, 16, {0}, {1}))), "");
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  struct Bad {
    std::int64_t offset;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
  };
  for (const Bad& bad : std::vector<Bad>{{0, {17}, {1}},
                                         {1, {16}, {1}},
                                         {-1, {4}, {1}},
                                         {17, {0}, {1}},
                                         {0, {-1}, {1}},
                                         {0, {4}, {-1}},
                                         {0, {4, 4}, {5, 1}},
                                         {0, {4, 4}, {1}},
                                         {0, {kHuge, kHuge}, {0, 0}},
                                         {0, {kHuge}, {0}},
                                         {0, {std::int64_t{1} << 40}, {0}},
                                         {0, {2}, {kHuge}},
                                         {0, {3}, {kHuge}},
                                         {kHuge, {3}, {kHuge}},
                                         {std::numeric_limits<std::int64_t>::max(), {2}, {1}},
                                         {0, {0, kHuge, kHuge}, {1, 1, 1}},
                                         {0, std::vector<std::int64_t>(100, 1), std::vector<std::int64_t>(100, 1)}}) {
    expect_refused(op::tensor(storage, bad.offset, bad.sizes, bad.strides), "a tensor of");
  }
}

TEST(HostilePickle, BoundsEveryStorageByItsRecord) {
  expect_refused(op::storage("FloatStorage", "0", 17), "64 bytes in record");
  expect_refused(op::storage("FloatStorage", "0", -1), "a storage of -1");
  expect_refused(op::storage("FloatStorage", "0", std::int64_t{1} << 62), "a storage of");
  expect_refused(op::storage("DoubleStorage", "0", std::int64_t{1} << 59), "bytes in record");
  expect_refused(op::storage("FloatStorage", "missing", 1), "no record 'archive/data/missing'");
  expect_refused(op::storage("FloatStorage", "../data.pkl", 1), "no record");
  // One record under two types: the second is larger than the first.
  expect_refused("(" + op::storage("ByteStorage", "0", 64) + op::storage("DoubleStorage", "0", 64) + "t",
                 "64 bytes in record");
  expect_refused(op::tuple({op::text("module"), "N", "N", "N"}) + "Q", "a whole model");
  const std::string view = op::tuple({op::text("1"), op::integer(10), op::integer(7)});
  expect_refused(op::storage("FloatStorage", "0", 16, view), "a view of elements 10 + 7");
}

TEST(HostilePickle, BoundsNumpyArraysByTheirBytes) {
  const auto array = [](const std::vector<std::int64_t>& shape, const std::string& type, const std::string& bytes) {
    const std::string dtype = op::global("numpy", "dtype") + op::tuple({op::text(type)}) + "R";
    return op::global("numpy.core.multiarray", "_reconstruct") +
           op::tuple({op::global("numpy", "ndarray"), ")", op::text("b")}) + "R" +
           op::tuple({op::integer(1), op::integers(shape), dtype, "\x89", op::text(bytes)}) + "b";
  };
  EXPECT_EQ(refusal(make_archive(array({2, 2}, "u1", "abcd"))), "");
  expect_refused(array({2, 3}, "u1", "abcd"), "4 bytes for a NumPy array");
  expect_refused(array({-1}, "u1", "abcd"), "of shape (-1)");
  expect_refused(array({0, std::int64_t{1} << 62, 8}, "f8", ""), "0 bytes for a NumPy array");
  expect_refused(array({1}, "O", "abcdefgh"), "type 'O'");
  expect_refused(op::global("numpy.core.multiarray", "_reconstruct") + op::tuple({"N", "N", "N"}) + "R",
                 "without content");
}

const std::string kPickle = op::proto() + op::tensor(op::storage("ByteStorage", "0", 4), 0, {4}, {1}) + ".";

TEST(HostileZip, MayNotNameFilesElsewhere) {
  for (const std::string name : {"../data.pkl", "archive/../../x", "/etc/passwd", "archive\\..\\x", "..", ""}) {
    const std::string message = refusal(make_zip({{"archive/data.pkl", kPickle}, {name, "abcd"}}));
    EXPECT_NE(message.find("a plain relative name"), std::string::npos) << name << ": " << message;
  }
  EXPECT_EQ(refusal(make_zip({{"archive/data.pkl", kPickle}, {"archive/data/0", "abcd"}, {"archive/..x", "y"}})), "");
}

TEST(HostileZip, MayNotBeAmbiguous) {
  EXPECT_NE(
      refusal(make_zip({{"a/data.pkl", kPickle}, {"a/data/0", "abcd"}, {"a/data/0", "efgh"}})).find("two records"),
      std::string::npos);
  std::string two_names = make_zip({{"a/data.pkl", kPickle}, {"a/data/0", "abcd"}});
  two_names[two_names.find("a/data/0")] = 'b';
  EXPECT_NE(refusal(two_names).find("two names"), std::string::npos);
  EXPECT_NE(refusal(make_zip({{"a/other.pkl", kPickle}})).find("without data.pkl"), std::string::npos);
  EXPECT_NE(refusal(make_zip({{"a/data.pkl", kPickle, false, {}, false, false, 1}})).find("encrypted"),
            std::string::npos);
}

TEST(HostileZip, MayNotInflateWithoutEnd) {
  const std::string zeros(std::size_t{128} << 20, '\0');
  const std::string code =
      op::proto() + op::tensor(op::storage("ByteStorage", "0", static_cast<std::int64_t>(zeros.size())), 0, {1}, {1}) +
      ".";
  const std::string bomb = make_zip({{"a/data.pkl", code}, {"a/data/0", zeros, true}});
  EXPECT_NE(refusal(bomb).find("bomb"), std::string::npos);
  const std::string liar = make_zip({{"a/data.pkl", kPickle}, {"a/data/0", "abcd", true, 1 << 30}});
  EXPECT_NE(refusal(liar).find("claims to inflate"), std::string::npos);
  for (const std::uint32_t claim : {3U, 5U}) {
    const std::string wrong =
        make_zip({{"a/data.pkl", kPickle, true, static_cast<std::uint32_t>(kPickle.size() + claim - 4)},
                  {"a/data/0", "abcd", true}});
    EXPECT_NE(refusal(wrong).find("does not inflate to its size"), std::string::npos);
  }
}

TEST(HostileZip, ChecksWhatItCopies) {
  std::string broken = make_zip({{"a/data.pkl", kPickle, true}, {"a/data/0", "abcd"}});
  broken[14] = static_cast<char>(broken[14] ^ 1);  // the local header's checksum is not what counts
  EXPECT_EQ(refusal(broken), "");
  const std::size_t directory = broken.find("PK\x01\x02");
  broken[directory + 16] = static_cast<char>(broken[directory + 16] ^ 1);
  EXPECT_NE(refusal(broken).find("wrong checksum"), std::string::npos);
}

class DamagedFile : public ::testing::TestWithParam<const char*> {};

TEST_P(DamagedFile, IsRefusedWhereverItIsCutOff) {
  const TestFolder folder;
  const std::string whole = read_text(checkpoint_case(GetParam()));
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    const auto path = folder.write("a.pt", std::string_view(whole).substr(0, size));
    EXPECT_NE(error_of([&] { touch(read_torch_archive(path)); }), "") << size << " bytes";
  }
}

TEST_P(DamagedFile, IsReadOrRefusedWhicheverByteIsWrong) {
  const TestFolder folder;
  const std::string whole = read_text(checkpoint_case(GetParam()));
  std::size_t refused = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string broken = whole;
    broken[i] = static_cast<char>(broken[i] ^ (i % 3 == 0 ? 0xff : i % 3 == 1 ? 1 : 0x80));
    const auto path = folder.write("a.pt", broken);
    if (!error_of([&] { touch(read_torch_archive(path)); }).empty()) ++refused;
  }
  EXPECT_GT(refused, std::size_t{100});
}

INSTANTIATE_TEST_SUITE_P(Files, DamagedFile,
                         ::testing::Values("odd_zip.pt", "odd_legacy.pt", "torch_2_13_values.pt", "numpy_protocol2.pt",
                                           "numpy_protocol5.pt"),
                         [](const auto& info) {
                           std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace clipself::formats
