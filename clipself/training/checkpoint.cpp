#include "clipself/training/checkpoint.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::training {
namespace fs = std::filesystem;
using formats::Dict;
using formats::TensorDict;
using formats::Value;

namespace {

Value to_value(const TensorDict& tensors) {
  Dict items;
  items.reserve(tensors.size());
  for (const auto& item : tensors) items.emplace_back(item.key(), item.value());
  return Value::dict(std::move(items));
}

TensorDict to_tensors(const Value& value) {
  TensorDict tensors;
  for (const auto& [key, tensor] : value.as_dict()) tensors.insert(key.as_string(), tensor.as_tensor());
  return tensors;
}

// Files being written begin with a dot.
bool is_checkpoint(const fs::directory_entry& entry) {
  return entry.path().extension() == ".pt" && !entry.path().filename().string().starts_with(".");
}

const Value& need(const Value& parent, const char* key, const fs::path& path) {
  const auto* found = parent.find(key);
  if (found == nullptr) {
    throw Error({.doing = "resuming from",
                 .where = path.string(),
                 .found = std::string("no '") + key + "'",
                 .expected = "a training checkpoint written by clipself train",
                 .hint = "weights alone are given with --pretrained"});
  }
  return *found;
}

/// Those that can be read, with their steps.
std::vector<std::pair<std::int64_t, fs::path>> checkpoints_in(const fs::path& folder,
                                                              const std::function<void(const Error&)>& unreadable) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (!is_checkpoint(entry)) continue;
    try {
      const auto root = formats::read_torch_archive(entry.path());
      const auto* ours = root.find("clipself");
      const auto* step = ours == nullptr ? nullptr : ours->find("step");
      if (step != nullptr) found.emplace_back(step->as_int(), entry.path());
    } catch (const Error& error) {
      unreadable(error);
    }
  }
  return found;
}

/// Makes `parent`/`name`, or, where there is one, `name`_2, ...
fs::path new_folder(const fs::path& parent, const std::string& name) {
  fs::path folder = parent / name;
  std::error_code error;
  for (int i = 2; fs::exists(folder, error); ++i) folder = parent / c10::str(name, "_", i);
  require_writable_folder(folder);
  return folder;
}

}  // namespace

void write_checkpoint(const fs::path& path, const Checkpoint& checkpoint) {
  const auto& at = checkpoint.position;
  formats::write_torch_archive(path,
                               Value::dict({{"epoch", at.epoch},
                                            {"name", checkpoint.name},
                                            {"state_dict", to_value(checkpoint.state_dict)},
                                            {"optimizer", checkpoint.optimizer},
                                            {"clipself", Value::dict({{"step", at.step},
                                                                      {"epoch_step", at.epoch_step},
                                                                      {"parameters", to_value(checkpoint.parameters)},
                                                                      {"data", checkpoint.data_fingerprint},
                                                                      {"start", checkpoint.start_fingerprint},
                                                                      {"settings", checkpoint.settings}})}}));
}

Checkpoint read_checkpoint(const fs::path& path) {
  const auto root = formats::read_torch_archive(path);
  const auto& ours = need(root, "clipself", path);
  formats::verify_torch_archive(path);
  Checkpoint checkpoint;
  checkpoint.file = path;
  checkpoint.position = {.step = need(ours, "step", path).as_int(),
                         .epoch = need(root, "epoch", path).as_int(),
                         .epoch_step = need(ours, "epoch_step", path).as_int()};
  checkpoint.name = need(root, "name", path).as_string();
  checkpoint.state_dict = to_tensors(need(root, "state_dict", path));
  checkpoint.parameters = to_tensors(need(ours, "parameters", path));
  checkpoint.optimizer = need(root, "optimizer", path);
  checkpoint.data_fingerprint = need(ours, "data", path).as_string();
  checkpoint.start_fingerprint = need(ours, "start", path).as_string();
  checkpoint.settings = need(ours, "settings", path).as_string();
  return checkpoint;
}

bool has_checkpoint(const fs::path& folder) {
  std::error_code error;
  const fs::directory_iterator entries(folder, error);
  return !error && std::any_of(begin(entries), end(entries), is_checkpoint);
}

Checkpoint read_latest_checkpoint(const fs::path& folder) {
  std::vector<std::string> damaged;
  auto found = checkpoints_in(folder, [&](const Error& error) { damaged.emplace_back(error.what()); });
  std::ranges::sort(found, std::ranges::greater());
  std::optional<Checkpoint> latest;
  for (auto each = found.begin(); each != found.end() && !latest; ++each) {
    try {
      latest = read_checkpoint(each->second);
    } catch (const Error& error) {
      damaged.emplace_back(error.what());
    }
  }
  if (latest) {
    for (const auto& what : damaged) spdlog::warn("passed over: {}", what);
    return std::move(*latest);
  }
  throw Error({.doing = "--resume latest",
               .where = folder.string(),
               .found = damaged.empty() ? "no training checkpoint" : "none that is whole: " + damaged.front(),
               .expected = "at least one .pt file"});
}

void set_aside_later_checkpoints(const fs::path& folder, std::int64_t step) {
  fs::path aside;
  for (const auto& [its_step, path] : checkpoints_in(folder, [](const Error&) {})) {
    if (its_step <= step) continue;
    std::error_code error;
    if (aside.empty()) aside = new_folder(folder / "set_aside", c10::str("after_step_", step));
    fs::rename(path, aside / path.filename(), error);
    if (error) throw Error({.doing = "setting aside", .where = path.string(), .found = error.message()});
    spdlog::warn("{} is of step {}, and the run goes on from step {}: moved to {}", path.filename().string(), its_step,
                 step, aside.string());
  }
}

}  // namespace clipself::training
