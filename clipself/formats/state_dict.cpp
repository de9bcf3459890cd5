#include "clipself/formats/state_dict.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/bytes.h"
#include "clipself/formats/json.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::formats {
namespace {

constexpr std::string_view kPrefix = "module.";

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& found, const std::string& hint = {}) {
  throw Error({.doing = "reading weights",
               .where = path.string(),
               .found = found,
               .expected = "tensors by name, in a torch archive (.pt, .pth) or a .safetensors file",
               .hint = hint});
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  return bytes.size() > 8 && bytes[8] == std::byte{'{'} && load<std::uint64_t>(bytes, 0) <= bytes.size() - 8;
}

std::string guess(std::string_view text) {
  if (text.empty()) return "is the download complete?";
  if (text.starts_with("version https://git-lfs")) return "this is a Git LFS pointer; fetch the file itself";
  if (text.starts_with("<")) return "this is a web page; was it downloaded from the right address?";
  return {};
}

const Value& unwrap(const Value& value, std::string& wrapper) {
  for (const char* name : {"model", "module", "state_dict"}) {
    const Value* inner = value.find(name);
    if (inner == nullptr || !inner->is(Value::Kind::kDict)) continue;
    wrapper = name;
    return *inner;
  }
  return value;
}

TensorDict named_tensors(const std::filesystem::path& path, const Value& value) {
  TensorDict tensors;
  if (!value.is(Value::Kind::kDict)) fail(path, value.describe());
  for (const auto& [name, item] : value.as_dict()) {
    if (!name.is(Value::Kind::kString) || !item.is(Value::Kind::kTensor)) continue;
    // A TorchScript module "a.b" and the "b" of its module "a".
    if (tensors.find(name.as_string()) != nullptr) fail(path, "two tensors named '" + name.as_string() + "'");
    tensors.insert(name.as_string(), item.as_tensor());
  }
  return tensors;
}

/// The --model of the training run of ours that wrote the archive, or "".
std::string trained_model(const Value& root) {
  const Value* ours = root.find("clipself");
  const Value* settings = ours == nullptr ? nullptr : ours->find("settings");
  if (settings == nullptr || !settings->is(Value::Kind::kString)) return {};
  const auto document = parse_json(settings->as_string());
  const bool named = document.is_object() && document.contains("model") && document["model"].is_string();
  return named ? document["model"].get<std::string>() : std::string();
}

TensorDict strip_prefix(const std::filesystem::path& path, const TensorDict& tensors) {
  TensorDict stripped;
  for (const auto& item : tensors) {
    std::string name = item.key();
    if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
    if (stripped.find(name) != nullptr)
      fail(path, "'" + name + "' both with and without '" + std::string(kPrefix) + "'");
    stripped.insert(std::move(name), item.value());
  }
  return stripped;
}

}  // namespace

StateDict read_state_dict(const std::filesystem::path& path) {
  StateDict result;
  {
    const MappedFile file(path);
    if (looks_like_torch_archive(file.bytes())) {
      const Value value = read_torch_archive(path);
      result.tensors = named_tensors(path, unwrap(value, result.wrapper));
      if (const auto model = trained_model(value); !model.empty()) result.metadata.emplace("clipself_model", model);
    } else if (looks_like_safetensors(file.bytes())) {
      SafeTensors content = read_safetensors(path);
      result.tensors = std::move(content.tensors);
      result.metadata = std::move(content.metadata);
    } else {
      fail(path, fmt::format("{} bytes of something else", file.size()), guess(file.text().substr(0, 64)));
    }
  }
  if (result.tensors.is_empty()) fail(path, "no tensor");
  if (result.tensors.front().key().starts_with(kPrefix)) {
    result.tensors = strip_prefix(path, result.tensors);
    result.stripped_module_prefix = true;
  }
  return result;
}

}  // namespace clipself::formats
