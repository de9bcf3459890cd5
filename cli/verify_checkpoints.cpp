// Kind checkpoints: one state dict in every file format a loader meets, bit for bit.
#include <fmt/format.h>

#include <filesystem>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "cli/verify_training.h"
#include "clipself/base/error.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/weights.h"

namespace clipself::cli::verify {

namespace {

// A value's containers may be shared, and a small file can say something enormous by naming one list twice, over and
// over.
constexpr std::int64_t kMostValues = 1'000'000;
constexpr int kDeepest = 200;

nlohmann::ordered_json bounded_json(const formats::Value& value, std::int64_t& budget, int depth) {
  using Kind = formats::Value::Kind;
  if (--budget < 0 || depth > kDeepest)
    throw Error({.doing = "comparing a checkpoint's values", .found = "too many of them, or nested too deeply"});
  switch (value.kind()) {
    case Kind::kNone:
      return nullptr;
    case Kind::kBool:
      return value.as_bool();
    case Kind::kInt:
      return value.as_int();
    case Kind::kFloat:
      return value.as_float();
    case Kind::kString:
      return value.as_string();
    case Kind::kBytes:
      return value.as_bytes();
    case Kind::kTensor:
      return c10::str("tensor ", value.as_tensor().sizes());
    case Kind::kList:
    case Kind::kTuple: {
      auto list = nlohmann::ordered_json::array();
      for (const auto& item : value.as_list()) list.push_back(bounded_json(item, budget, depth + 1));
      return list;
    }
    case Kind::kDict: {
      auto object = nlohmann::ordered_json::object();
      for (const auto& [key, item] : value.as_dict()) {
        const auto name = key.is(Kind::kString) ? key.as_string()
                          : key.is(Kind::kInt)  ? std::to_string(key.as_int())
                                                : key.describe();
        object[name] = bounded_json(item, budget, depth + 1);
      }
      return object;
    }
  }
  return nullptr;
}

}  // namespace

nlohmann::ordered_json to_json(const formats::Value& value) {
  auto budget = kMostValues;
  return bounded_json(value, budget, 0);
}

namespace {

bool is_rotary(const std::string& name) {
  return name.find("rope.freqs_") != std::string::npos;
}

/// Tensors as read_state_dict gives them. A file may lack the rotary tables (the model computes them) and may keep the
/// text tower at top level; everything else must be there, and nothing more.
void check_tensors(Case& c, const std::string& file, const formats::TensorDict& expected) {
  const auto state = formats::read_state_dict(c.file(file)).tensors;
  const auto group = file + " *";
  bool any_rotary = false;
  std::set<std::string> used;
  for (const auto& item : state) any_rotary = any_rotary || is_rotary(item.key());
  std::int64_t absent = 0;
  for (const auto& item : expected) {
    constexpr std::string_view kText = "text.";
    const auto* found = state.find(item.key());
    auto stored = item.key();
    if (!found && stored.starts_with(kText)) {
      stored = stored.substr(kText.size());
      found = state.find(stored);
    }
    if (!found && is_rotary(item.key()) && !any_rotary) {
      ++absent;
      continue;
    }
    if (found) used.insert(stored);
    c.check_value(file + " " + item.key(), found ? *found : at::Tensor(), item.value(), Tolerance::bits(), group);
  }
  for (const auto& item : state)
    if (!used.contains(item.key()))
      c.check_that(file + " " + item.key(), false, "in the file, but not expected", group);
  if (absent > 0) c.skip(file + " rotary tables", fmt::format("the file lacks {}; the model computes them", absent));
}

/// The same file as a model's weights: every parameter and buffer of the model, whatever the layout and type of the
/// file.
void check_loaded(Case& c, const std::string& file, const formats::TensorDict& expected) {
  const torch::NoGradGuard no_grad;
  const auto model = build_model(c, "config.json");
  models::load_checkpoint(*model, c.file(file));
  const auto group = file + " in a model *";
  const auto state = model->state();
  for (const auto& item : state) {
    const auto* wanted = expected.find(item.key());
    if (!wanted) {
      c.check_that(file + " in a model: " + item.key(), false, "not expected", group);
      continue;
    }
    // The model's tables are computed, not read: the last bit is libm's. A half-precision file's are rounded.
    const bool computed = is_rotary(item.key());
    const auto tolerance =
        !computed ? Tolerance::bits() : Tolerance::abs(wanted->scalar_type() == at::kFloat ? 1e-6 : 1e-2);
    c.check_value(file + " in a model: " + item.key(), item.value(), wanted->to(at::kFloat), tolerance, group);
  }
}

/// The rest of a training checkpoint: optimizer state and plain values.
void check_train_checkpoint(Case& c, const std::string& file, const std::string& stem) {
  const auto root = formats::read_torch_archive(c.file(file));
  const auto* optimizer = root.find("optimizer");
  const auto* states = optimizer ? optimizer->find("state") : nullptr;
  if (!states) throw Error({.doing = "reading", .where = c.file(file).string(), .found = "no optimizer state"});
  const auto expected = formats::read_safetensors(c.file("expected_" + stem + "_optimizer.safetensors")).tensors;
  const auto group = file + " optimizer *";
  formats::TensorDict found;
  auto indices = nlohmann::ordered_json::array();
  for (const auto& [index, state] : states->as_dict()) {
    indices.push_back(index.as_int());
    for (const auto& [name, entry] : state.as_dict())
      if (entry.is(formats::Value::Kind::kTensor))
        found.insert(fmt::format("state.{}.{}", index.as_int(), name.as_string()), entry.as_tensor());
  }
  for (const auto& item : expected) {
    const auto* tensor = found.find(item.key());
    c.check_value(file + " optimizer " + item.key(), tensor ? *tensor : at::Tensor(), item.value(), Tolerance::bits(),
                  group);
  }
  for (const auto& item : found)
    if (!expected.contains(item.key()))
      c.check_that(file + " optimizer " + item.key(), false, "in the file, but not expected", group);

  const auto facts = c.json("expected_" + stem + ".json");
  for (const auto& [key, entry] : facts.items()) {
    const auto* value = key == "param_groups" ? optimizer->find(key) : root.find(key);
    if (key == "state_indices")
      c.check_json(file + " " + key, indices, entry);
    else if (value)
      c.check_json(file + " " + key, to_json(*value), entry);
    else
      c.check_that(file + " " + key, false, "not in the file");
  }
}

}  // namespace

void verify_checkpoints(Case& c) {
  const auto files = c.json("files.json");
  const auto where = c.file("files.json").string();
  if (!files.is_array() || files.empty())
    throw Error({.doing = "reading", .where = where, .found = "no files", .expected = "a list with one entry a file"});
  for (const auto& entry : files) {
    const auto file = value<std::string>(entry, "file", where);
    const auto record = value<std::string>(entry, "expect", where);
    const auto stem = std::filesystem::path(file).stem().string();
    // One broken file must not hide the others.
    try {
      const auto expected = formats::read_safetensors(c.file(record)).tensors;
      check_tensors(c, file, expected);
      if (expected.contains("logit_scale")) check_loaded(c, file, expected);
      if (std::filesystem::exists(c.file("expected_" + stem + ".json"))) check_train_checkpoint(c, file, stem);
    } catch (const Error& error) {
      c.unreadable(error.what());
    }
  }
}

}  // namespace clipself::cli::verify
