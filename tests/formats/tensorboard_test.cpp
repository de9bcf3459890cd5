#include "clipself/formats/tensorboard.h"

#include <gtest/gtest.h>

#include <chrono>

#include "builders.h"
#include "clipself/formats/crc32c.h"

namespace clipself::formats {
namespace {

TEST(Crc32c, HasTheChecksumsOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(crc32c(ascending), 0x46dd794eU);
  EXPECT_EQ(crc32c(""), 0U);
  // What TensorFlow's own event files begin with: a record of 24 bytes and the masked checksum of that length.
  EXPECT_EQ(masked_crc32c(little(std::uint64_t{24})), 0x224b7fa3U);
}

/// A decoded protocol buffer: field number and its content (varints and fixed numbers as their bytes).
struct Field {
  unsigned number = 0;
  unsigned type = 0;
  std::uint64_t varint = 0;
  std::string bytes;
};

std::uint64_t read_varint(std::string_view& data) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !data.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(data.front());
    data.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) == 0) break;
  }
  return value;
}

std::vector<Field> decode(std::string_view data) {
  std::vector<Field> fields;
  while (!data.empty()) {
    const std::uint64_t tag = read_varint(data);
    Field field{static_cast<unsigned>(tag >> 3), static_cast<unsigned>(tag & 7), 0, {}};
    if (field.type == 0) {
      field.varint = read_varint(data);
    } else {
      const std::size_t size = field.type == 1 ? 8 : field.type == 5 ? 4 : static_cast<std::size_t>(read_varint(data));
      field.bytes = data.substr(0, size);
      data.remove_prefix(std::min(size, data.size()));
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

template <typename T>
T number(const std::string& bytes) {
  T value{};
  EXPECT_EQ(bytes.size(), sizeof(T));
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(T)));
  return value;
}

/// The records of a TFRecord file, their checksums verified.
std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at + 12 <= file.size();) {
    const auto size = number<std::uint64_t>(file.substr(at, 8));
    EXPECT_EQ(number<std::uint32_t>(file.substr(at + 8, 4)), masked_crc32c(file.substr(at, 8)));
    found.push_back(file.substr(at + 12, size));
    EXPECT_EQ(number<std::uint32_t>(file.substr(at + 12 + size, 4)), masked_crc32c(found.back()));
    at += 16 + size;
  }
  return found;
}

std::filesystem::path only_file(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  EXPECT_EQ(files.size(), 1U);
  return files.at(0);
}

TEST(TensorBoardWriter, WritesEventsAsTensorFlowDefinesThem) {
  const TestFolder folder;
  const double before = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  TensorBoardWriter writer(folder.file("logs/run"));
  writer.scalar("train/loss", 0.75, 300);
  writer.scalar("lr", 1e-5, std::int64_t{1} << 40);
  const auto path = only_file(folder.file("logs/run"));
  EXPECT_EQ(path.filename().string().rfind("events.out.tfevents.", 0), 0U);
  const std::vector<std::string> events = records(read_text(path));  // complete although the writer is still open
  ASSERT_EQ(events.size(), 3U);

  const std::vector<Field> first = decode(events[0]);
  ASSERT_EQ(first.size(), 3U);
  EXPECT_EQ(first[2].number, 3U);
  EXPECT_EQ(first[2].bytes, "brain.Event:2");

  const std::vector<Field> event = decode(events[1]);
  ASSERT_EQ(event.size(), 3U);
  EXPECT_EQ(event[0].number, 1U);
  EXPECT_GE(number<double>(event[0].bytes), before);
  EXPECT_LT(number<double>(event[0].bytes), before + 60);
  EXPECT_EQ(event[1].number, 2U);
  EXPECT_EQ(event[1].varint, 300U);
  EXPECT_EQ(event[2].number, 5U);
  const std::vector<Field> summary = decode(event[2].bytes);
  ASSERT_EQ(summary.size(), 1U);
  EXPECT_EQ(summary[0].number, 1U);
  const std::vector<Field> point = decode(summary[0].bytes);
  ASSERT_EQ(point.size(), 2U);
  EXPECT_EQ(point[0].number, 1U);
  EXPECT_EQ(point[0].bytes, "train/loss");
  EXPECT_EQ(point[1].number, 2U);
  EXPECT_EQ(number<float>(point[1].bytes), 0.75F);
  EXPECT_EQ(decode(events[2])[1].varint, std::uint64_t{1} << 40);
}

TEST(TensorBoardWriter, GivesTwoWritersTwoFiles) {
  const TestFolder folder;
  TensorBoardWriter one(folder.file("logs"));
  TensorBoardWriter two(folder.file("logs"));
  one.scalar("a", 1, 1);
  two.scalar("b", 2, 2);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file("logs"))) {
    EXPECT_EQ(records(read_text(entry.path())).size(), 2U);
    ++files;
  }
  EXPECT_EQ(files, 2U);
}

TEST(TensorBoardWriter, SaysWhyAFolderCannotBeUsed) {
  const TestFolder folder;
  folder.write("file", "");
  EXPECT_NE(error_of([&] { TensorBoardWriter writer(folder.file("file/logs")); }).find("TensorBoard"),
            std::string::npos);
}

}  // namespace
}  // namespace clipself::formats
