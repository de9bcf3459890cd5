// Records after TensorFlow's record_writer.cc (length, its checksum, data, its checksum) and event.proto:
//   Event   { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary summary }
//   Summary { 1: repeated Value { 1: string tag, 2: float simple_value } }
#include "clipself/formats/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "clipself/base/error.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/crc32c.h"

namespace clipself::formats {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli's, bits reversed
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}

// Protocol buffers: a tag is the field's number and its wire type.
enum WireType : unsigned { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void put_tag(std::string& out, unsigned field, WireType type) {
  put_varint(out, field << 3 | type);
}

void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_tag(out, field, kLengthDelimited);
  put_varint(out, bytes.size());
  out += bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event(std::int64_t step) {
  std::string out;
  put_tag(out, 1, kFixed64);
  store(out, now());
  put_tag(out, 2, kVarint);
  put_varint(out, static_cast<std::uint64_t>(step));
  return out;
}

std::string record(std::string_view data) {
  std::string out;
  store(out, static_cast<std::uint64_t>(data.size()));
  store(out, masked_crc32c(out));
  out += data;
  store(out, masked_crc32c(data));
  return out;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

std::uint32_t crc32c(std::string_view data) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_table();
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char c : data) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view data) {
  const std::uint32_t crc = crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

struct TensorBoardWriter::State {
  std::filesystem::path path;
  int descriptor = -1;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (descriptor >= 0) ::close(descriptor);
  }

  [[noreturn]] void fail(int error) const {
    throw Error({.doing = "writing TensorBoard events", .where = path.string(), .found = std::strerror(error)});
  }

  // One write a record: the file is opened for appending, so a record is never torn by another process.
  void append(const std::string& bytes) const {
    std::string_view left = bytes;
    while (!left.empty()) {
      const ssize_t written = ::write(descriptor, left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(errno);
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }
};

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder) : state_(std::make_unique<State>()) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  state_->path = folder;
  if (error) state_->fail(error.value());
  const std::string name = fmt::format("events.out.tfevents.{:010d}.{}", static_cast<std::int64_t>(now()), host_name());
  // A second writer within the same second gets a file of its own.
  for (int number = 0; state_->descriptor < 0; ++number) {
    state_->path = folder / (number == 0 ? name : fmt::format("{}.{}", name, number));
    state_->descriptor = ::open(state_->path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (state_->descriptor < 0 && errno != EEXIST) state_->fail(errno);
  }
  std::string first = event(0);
  put_bytes(first, 3, "brain.Event:2");
  state_->append(record(first));
}

TensorBoardWriter::~TensorBoardWriter() = default;
TensorBoardWriter::TensorBoardWriter(TensorBoardWriter&&) noexcept = default;
TensorBoardWriter& TensorBoardWriter::operator=(TensorBoardWriter&&) noexcept = default;

void TensorBoardWriter::scalar(const std::string& tag, double value, std::int64_t step) {
  std::string point;
  put_bytes(point, 1, tag);
  put_tag(point, 2, kFixed32);
  store(point, static_cast<float>(value));
  std::string summary;
  put_bytes(summary, 1, point);
  std::string entry = event(step);
  put_bytes(entry, 5, summary);
  state_->append(record(entry));
}

}  // namespace clipself::formats
