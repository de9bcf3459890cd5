// clipself info: what is in a file.
#include "cli/info.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <ranges>
#include <set>

#include "cli/commands.h"
#include "cli/detector_flags.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/datasets/annotations.h"
#include "clipself/formats/image.h"
#include "clipself/formats/npy.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/config.h"
#include "clipself/models/text_embeddings.h"
#include "clipself/models/weights.h"

namespace clipself::cli {
namespace {

using formats::TensorDict;
using formats::Value;
using Json = nlohmann::ordered_json;

std::string shape_of(const at::Tensor& tensor) {
  std::string text = "[";
  for (const auto size : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

// Names in a file may be any bytes; what is no UTF-8 is shown as such.
std::string dump(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Containers may share one another, so that a few stand for billions: nobody needs to know more than this.
constexpr std::int64_t kMostVisits = 1'000'000;

std::int64_t count_tensors(const Value& value, std::int64_t& visits) {
  if (++visits > kMostVisits) return 0;
  if (value.is(Value::Kind::kTensor)) return 1;
  std::int64_t count = 0;
  if (value.is(Value::Kind::kDict)) {
    for (const auto& [key, item] : value.as_dict()) count += count_tensors(item, visits);
  } else if (value.is(Value::Kind::kList) || value.is(Value::Kind::kTuple)) {
    for (const auto& item : value.as_list()) count += count_tensors(item, visits);
  }
  return count;
}

// What an archive holds beside the weights: settings and counters by name, containers of tensors by their number.
void describe_values(const Value& value, const std::string& path, Json& out) {
  switch (value.kind()) {
    case Value::Kind::kDict: {
      std::int64_t visits = 0;
      const auto tensors = count_tensors(value, visits);
      if (!path.empty() && tensors > 0 && path.find('.') != std::string::npos) {
        out[path] = fmt::format("{} tensors", tensors);
        return;
      }
      std::int64_t direct = 0;
      for (const auto& [key, item] : value.as_dict()) {
        if (item.is(Value::Kind::kTensor)) {
          ++direct;
        } else if (key.is(Value::Kind::kString)) {
          describe_values(item, path.empty() ? key.as_string() : path + "." + key.as_string(), out);
        }
      }
      if (!path.empty() && direct > 0) out[path] = fmt::format("{} tensors", direct);
      return;
    }
    case Value::Kind::kString:
      out[path] = value.as_string();
      return;
    case Value::Kind::kInt:
      out[path] = value.as_int();
      return;
    case Value::Kind::kFloat:
      out[path] = value.as_float();
      return;
    case Value::Kind::kBool:
      out[path] = value.as_bool();
      return;
    default:
      if (!value.is(Value::Kind::kTensor)) out[path] = value.describe();
  }
}

std::string first_few(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  const auto shown = names | std::views::take(kShown);
  return names.empty() ? "none" : fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kShown ? ", ..." : "");
}

/// What detector.json beside a detector's file says.
Json describe_beside(const std::filesystem::path& path) {
  Json out = Json::object();
  const auto beside = read_beside(path);
  if (!beside) return out;
  const auto base = [&](const std::string& name) {
    return std::ranges::find(beside->base, name) != beside->base.end();
  };
  std::vector<std::string> novel = beside->names;
  std::erase_if(novel, base);
  out["model"] = beside->settings.value("model", "");
  out["image size"] = beside->settings.value("image-size", "");
  out["base classes"] = first_few(beside->base);
  out["novel classes"] = first_few(novel);
  return out;
}

Json describe_detector(const TensorDict& tensors, const std::filesystem::path& path) {
  Json out = {{"kind", "F-ViT detector"},
              {"classes", detection::vocabulary_of(tensors)},
              {"masks", detection::has_masks(tensors) ? "yes" : "no"}};
  out.update(describe_beside(path));
  return out;
}

Json describe_tensors(const TensorDict& tensors, const std::filesystem::path& path, bool list) {
  double bytes = 0;
  std::int64_t numbers = 0;
  std::map<std::string, std::int64_t> types;
  Json listed = Json::array();
  for (const auto& item : tensors) {
    const auto& tensor = item.value();
    bytes += static_cast<double>(tensor.nbytes());
    numbers += tensor.numel();
    ++types[c10::toString(tensor.scalar_type())];
    if (list)
      listed.push_back(
          {{"name", item.key()}, {"shape", shape_of(tensor)}, {"type", c10::toString(tensor.scalar_type())}});
  }
  Json out = {{"tensors", tensors.size()}, {"numbers", numbers}, {"bytes", format_bytes(bytes)}, {"types", types}};
  if (detection::vocabulary_of(tensors) > 0) {
    out.update(describe_detector(tensors, path));
  } else {
    const auto models = models::fitting_models(tensors);
    out["fits"] = models.empty() ? Json("no built-in model") : Json(models);
  }
  if (list) out["list"] = std::move(listed);
  return out;
}

bool is_model_config(const Json& document) {
  return document.is_object() &&
         (document.contains("vision_cfg") || document.contains("model_cfg") || document.contains("model_type"));
}

Json describe_model(const std::filesystem::path& path) {
  const auto config = models::parse_config(read_text(path), path.string());
  const auto& vision = config.vision;
  return {{"format", "model configuration"},
          {"backbone", vision.backbone},
          {"embedding width", config.embed_dim},
          {"image size", vision.image_size},
          {"patch size", vision.patch_size},
          {"layers", vision.layers},
          {"width", vision.width},
          {"text tower", config.text
                             ? fmt::format("{} of width {}", counted(config.text->layers, "layer"), config.text->width)
                             : std::string("none")}};
}

Json describe_embeddings(const models::ClassEmbeddings& embeddings, const char* format) {
  Json out = {{"format", format}, {"shape", shape_of(embeddings.rows)}};
  if (!embeddings.model.empty()) out["model"] = embeddings.model;
  if (!embeddings.text_tower.empty()) out["text tower"] = embeddings.text_tower;
  if (!embeddings.names.empty()) out["classes"] = first_few(embeddings.names);
  return out;
}

/// Class embeddings are a dictionary of vectors of one width, or what embed-text wrote.
bool is_embedding_dictionary(const Value& value) {
  if (!value.is(Value::Kind::kDict) || value.as_dict().empty()) return false;
  std::int64_t width = -1;
  for (const auto& [key, item] : value.as_dict()) {
    if (!key.is(Value::Kind::kString)) return false;
    if (!item.is(Value::Kind::kTensor)) {
      if (key.as_string() == "clipself") continue;
      return false;
    }
    const auto& row = item.as_tensor();
    if (row.dim() != 1 || (width >= 0 && row.size(0) != width) || key.as_string().find('.') != std::string::npos)
      return false;
    width = row.size(0);
  }
  return width > 0;
}

Json describe_annotations(const std::filesystem::path& path) {
  // A panoptic file keeps its segments inside its annotations.
  if (MappedFile(path).text().find("\"segments_info\"") != std::string_view::npos) {
    const auto index = datasets::read_coco_panoptic(path);
    std::int64_t things = 0;
    for (const auto& category : index.categories) things += category.is_thing ? 1 : 0;
    return {{"format", "COCO panoptic"},
            {"images", index.images.size()},
            {"segments", index.annotation_count()},
            {"categories", index.categories.size()},
            {"thing categories", things}};
  }
  const auto index = datasets::read_coco(path);
  return {{"format", "COCO or LVIS annotations"},
          {"images", index.images.size()},
          {"annotations", index.annotation_count()},
          {"categories", index.categories.size()},
          {"first image", index.images.front().file_name}};
}

/// A detector's findings: an array of what read_detections reads.
Json describe_results(std::string_view text) {
  std::set<std::int64_t> images, categories;
  std::int64_t count = 0, masks = 0;
  const auto document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_array()) return {};
  for (const auto& entry : document) {
    if (!entry.is_object() || !entry.contains("image_id") || !entry.contains("score")) return {};
    ++count;
    masks += entry.contains("segmentation") ? 1 : 0;
    images.insert(entry["image_id"].is_number() ? entry["image_id"].get<std::int64_t>() : -1);
    if (entry.contains("category_id") && entry["category_id"].is_number())
      categories.insert(entry["category_id"].get<std::int64_t>());
  }
  return {{"format", "detection results"},
          {"detections", count},
          {"with masks", masks},
          {"images with any", images.size()},
          {"categories with any", categories.size()}};
}

void print(const Json& value, int indent) {
  for (const auto& [key, item] : value.items()) {
    if (key == "list") continue;
    if (item.is_object()) {
      fmt::print("{:{}}{}\n", "", indent, key + ":");
      print(item, indent + 2);
    } else {
      fmt::print("{:{}}{:<18} {}\n", "", indent, key, item.is_string() ? item.get<std::string>() : dump(item, -1));
    }
  }
}

}  // namespace

Json describe_file(const std::filesystem::path& path, bool list) {
  const MappedFile file(path);
  const auto text = file.text();
  if (text.empty())
    throw Error({.doing = "reading", .where = path.string(), .found = "an empty file", .expected = "some content"});
  Json out = {{"file", path.string()}, {"size", format_bytes(static_cast<double>(file.size()))}};
  if (formats::looks_like_torch_archive(file.bytes())) {
    out["format"] = "torch archive";
    Json values = Json::object();
    const auto root = formats::read_torch_archive(path);
    describe_values(root, "", values);
    if (is_embedding_dictionary(root)) {
      out.update(describe_embeddings(models::read_class_embeddings(path), "class embeddings by name (torch archive)"));
      return out;
    }
    const auto state = formats::read_state_dict(path);
    out["weights in"] = state.wrapper.empty() ? "top level" : state.wrapper;
    out.update(describe_tensors(state.tensors, path, list));
    if (!values.empty()) out["also holds"] = values;
  } else if (text.starts_with("\x93NUMPY")) {
    const auto [array, note] = formats::read_noted_npy(path);
    out.update(
        Json{{"format", "NumPy array"}, {"shape", shape_of(array)}, {"type", c10::toString(array.scalar_type())}});
    if (!note.empty())
      out.update(describe_embeddings(models::read_class_embeddings(path), "class embeddings (NumPy array)"));
  } else if (text.starts_with("\x89PNG") || text.starts_with("\xff\xd8")) {
    const auto image = formats::read_image(path);
    out.update(Json{{"format", text.starts_with("\x89PNG") ? "PNG image" : "JPEG image"},
                    {"mode", formats::name(image.mode)},
                    {"width", image.width},
                    {"height", image.height}});
  } else if (const auto first = text.find_first_not_of(" \t\r\n");
             first != std::string_view::npos && (text[first] == '{' || text[first] == '[')) {
    constexpr std::size_t kLargestConfig = std::size_t{1} << 20;
    const bool small = text.size() < kLargestConfig;
    if (path.filename() == "detector.json") {
      out["format"] = "description of a detector";
      out.update(describe_beside(path));
      return out;
    }
    if (text[first] == '[') {
      if (const auto results = describe_results(text); !results.empty()) {
        out.update(results);
        return out;
      }
    }
    out.update(small && is_model_config(Json::parse(text, nullptr, /*allow_exceptions=*/false))
                   ? describe_model(path)
                   : describe_annotations(path));
  } else if (path.extension() == ".safetensors" || (text.size() > 9 && text[8] == '{')) {
    const auto read = formats::read_safetensors(path);
    out["format"] = "safetensors";
    out.update(describe_tensors(read.tensors, path, list));
    if (!read.metadata.empty()) out["metadata"] = read.metadata;
  } else {
    throw Error({.doing = "reading",
                 .where = path.string(),
                 .found = "an unknown kind of file",
                 .expected = "a torch archive, safetensors, .npy, JPEG, PNG, a COCO-format JSON or a model's"});
  }
  return out;
}

void add_info(CLI::App& app) {
  struct Flags {
    std::string file;
    bool json = false, tensors = false;
  };
  auto* sub = app.add_subcommand("info", "Tell what is in a checkpoint or data file");
  auto flags = std::make_shared<Flags>();
  sub->add_option("FILE", flags->file, "A .pt, .pth, .safetensors, .npy, .json, .jpg or .png file")->required();
  sub->add_flag("--tensors", flags->tensors, "List every tensor");
  sub->add_flag("--json", flags->json, "Print JSON");
  sub->callback([flags] {
    require_file(flags->file, "clipself info");
    const auto description = describe_file(flags->file, flags->tensors);
    if (flags->json) {
      fmt::print("{}\n", dump(description, 2));
      return;
    }
    print(description, 0);
    if (!description.contains("list")) return;
    for (const auto& tensor : description["list"]) {
      fmt::print("  {:<60} {:<20} {}\n", tensor["name"].get<std::string>(), tensor["shape"].get<std::string>(),
                 tensor["type"].get<std::string>());
    }
  });
}

}  // namespace clipself::cli
