// TensorBoard event files: scalars by step (TFRecord framing, masked CRC-32C).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace clipself::formats {

/// Appends scalar events to `folder`/events.out.tfevents.<time>.<host>; every call is on disk when it returns.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  TensorBoardWriter(TensorBoardWriter&&) noexcept;
  TensorBoardWriter& operator=(TensorBoardWriter&&) noexcept;

  void scalar(const std::string& tag, double value, std::int64_t step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clipself::formats
