// The stream that torch.save wrote before 1.6: five pickles, then the storages' bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "clipself/base/file.h"
#include "clipself/formats/value.h"

namespace clipself::formats {

/// Bytes of the pickled magic number at the start of `head`, or nothing when it is not there.
std::optional<std::size_t> legacy_header_size(std::span<const std::byte> head);

/// The whole tree of such a file. Throws Error for anything that is not sound.
Value read_torch_legacy(MappedFile file);

}  // namespace clipself::formats
