// NumPy's .npy arrays (format versions 1 to 3).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "clipself/base/torch.h"

namespace clipself::formats {

/// bool, int8..int64, uint8, float16/32/64, little or big endian, C or Fortran order; the
/// result is in C order, a view of the mapped file where that is possible. Throws Error otherwise, for
/// object arrays and for a size that does not fit the file. A note of write_npy's is left out.
at::Tensor read_npy(const std::filesystem::path& path);

/// An array and the note behind its data, where NumPy does not look: "CLIPSELF", the note's length as a little-endian
/// uint64, the note. Empty when there is none.
struct NotedArray {
  at::Tensor array;
  std::string note;
};
NotedArray read_noted_npy(const std::filesystem::path& path);

/// Writes a contiguous little-endian array, atomically. bfloat16 has no NumPy type and is written as float32.
void write_npy(const std::filesystem::path& path, const at::Tensor& array, std::string_view note = {});

}  // namespace clipself::formats
