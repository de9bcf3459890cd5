// What the data set tests share: reference tensors and files made on the spot.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "clipself/base/error.h"
#include "clipself/base/torch.h"
#include "clipself/formats/image.h"
#include "clipself/formats/safetensors.h"

namespace clipself::datasets {

inline std::filesystem::path reference(const std::string& name) {
  return std::filesystem::path(CLIPSELF_SOURCE_DIR) / "tests/reference" / name;
}

/// The reference case of whole training samples.
inline const formats::SafeTensors& cases() {
  static const auto file = formats::read_safetensors(reference("training_samples/expected.safetensors"));
  return file;
}

/// The tensor of a reference file by name; fails the test when it is not there.
inline at::Tensor tensor(const formats::SafeTensors& file, const std::string& name) {
  const auto* found = file.tensors.find(name);
  if (found == nullptr) throw std::runtime_error("no reference tensor " + name);
  return *found;
}

/// A folder that is gone with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("clipself_datasets_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `call` throws; fails the test when it throws none.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error";
  return {};
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return 0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace clipself::datasets
