// PyTorch's .pt/.pth files, read and written without Python.
//
// Reading understands both layouts of torch.save: the zip archive (since 1.6) and the legacy stream, pickle protocols
// 2 to 5, every dtype, strided, shared and zero-stride storages, nn.Parameter, OrderedDict, storages tagged for any
// device. A pickle is a program; ours is run by an interpreter that knows the handful of globals a checkpoint needs,
// builds plain values (value.h) and refuses any other global by its name. Every size is checked against the file.
// Tensors of an uncompressed zip record are views of the memory-mapped file: nothing is copied until somebody writes,
// and nobody reads all of a file just to verify the checksums of its tensors (those of everything copied are verified).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "clipself/formats/tensor_dict.h"
#include "clipself/formats/value.h"

namespace clipself::formats {

/// The whole tree of a .pt/.pth file, every tensor on the CPU and without requires_grad (pickle.h says what becomes
/// what). Of a TorchScript archive, as OpenAI publishes CLIP, the state_dict of its root module. Throws Error for
/// anything that is not a sound archive.
Value read_torch_archive(const std::filesystem::path& path);

/// Reads all of a zip archive to compare the checksums of its tensors too (the legacy layout has none). Throws Error
/// naming the record that is not as it was written.
void verify_torch_archive(const std::filesystem::path& path);

/// Writes a zip archive that torch.load(path, weights_only=True) reads, atomically. Tensors sharing storage share it in
/// the file too; non-contiguous tensors keep their strides only when they are dense, otherwise they are made
/// contiguous.
void write_torch_archive(const std::filesystem::path& path, const Value& value);

/// True when the first bytes of a file (32 are enough) look like either torch layout.
bool looks_like_torch_archive(std::span<const std::byte> head);

}  // namespace clipself::formats
