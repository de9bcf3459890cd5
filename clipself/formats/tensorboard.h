// TensorBoard event files: scalars by step (TFRecord framing, masked CRC-32C).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace clipself::formats {

/// Appends scalar events to `folder`/events.out.tfevents.<time>.<host>, which TensorBoard follows while it grows. Every
/// call has handed its record to the operating system when it returns: it survives however the program ends. Both the
/// constructor (which makes the folder) and scalar() throw Error when the disk refuses.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  TensorBoardWriter(TensorBoardWriter&&) noexcept;
  TensorBoardWriter& operator=(TensorBoardWriter&&) noexcept;

  /// Values are stored as 32-bit floats.
  void scalar(const std::string& tag, double value, std::int64_t step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clipself::formats
