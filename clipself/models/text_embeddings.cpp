#include "clipself/models/text_embeddings.h"

#include <algorithm>
#include <set>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/fingerprint.h"
#include "clipself/formats/json.h"
#include "clipself/formats/npy.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/models/layers.h"
#include "clipself/models/unicode.h"

namespace clipself::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kPromptsAtOnce = 256;
/// The entry of a .pt dictionary that is no class.
constexpr const char* kNotesKey = "clipself";

/// `template_text` with "{}" and "{article}" filled in.
std::string fill(const std::string& template_text, const std::string& name, const std::string& article) {
  constexpr std::string_view kName = "{}", kArticle = "{article}";
  std::string out;
  const std::string_view text = template_text;
  for (std::size_t i = 0; i < text.size();) {
    const auto rest = text.substr(i);
    if (rest.starts_with(kName)) {
      out += name;
      i += kName.size();
    } else if (rest.starts_with(kArticle)) {
      out += article;
      i += kArticle.size();
    } else {
      out += text[i++];
    }
  }
  return out;
}

/// Name without its folder and suffix when it is a file's: what embeddings call their model.
std::string model_label(const ClipConfig& config) {
  const fs::path path(config.name);
  return path.extension() == ".json" ? path.stem().string() : config.name;
}

[[noreturn]] void bad_embeddings(const fs::path& path, const std::string& found, const std::string& expected) {
  throw Error({.doing = "reading class embeddings", .where = path.string(), .found = found, .expected = expected});
}

std::string notes_of(const ClassEmbeddings& embeddings) {
  return json{{"model", embeddings.model}, {"names", embeddings.names}, {"text_tower", embeddings.text_tower}}.dump();
}

/// Takes the model, its text tower's fingerprint and, when there are as many as rows, the names from what notes_of
/// wrote.
void take_notes(const std::string& text, const fs::path& path, ClassEmbeddings& out) {
  if (text.empty()) return;
  const auto notes = formats::parse_json(text);
  const auto is_text = [](const json& value) { return value.is_string(); };
  const bool sound = notes.is_object() && notes.contains("model") && is_text(notes["model"]) &&
                     notes.contains("names") && notes["names"].is_array() &&
                     std::all_of(notes["names"].begin(), notes["names"].end(), is_text) &&
                     is_text(notes.value("text_tower", json("")));
  if (!sound) bad_embeddings(path, "broken notes beside the rows", "a model and a list of names");
  out.model = notes["model"].get<std::string>();
  out.names = notes["names"].get<std::vector<std::string>>();
  out.text_tower = notes.value("text_tower", "");
}

/// The rows become float32 of their own, however few bytes stood for them: a file may repeat one number, or one row.
void require_justified(std::size_t rows, std::int64_t width, std::size_t file_size, const fs::path& path) {
  const std::size_t most = ((std::size_t{64} << 20) + 16 * file_size) / sizeof(float);
  if (width > 0 && rows > most / static_cast<std::size_t>(width))
    bad_embeddings(path, c10::str(rows, " rows of ", width, " numbers"),
                   c10::str("at most ", most, " numbers from a file of ", file_size, " bytes"));
}

ClassEmbeddings from_dictionary(const formats::Value& tree, std::size_t file_size, const fs::path& path) {
  ClassEmbeddings out;
  if (tree.is(formats::Value::Kind::kTensor)) {
    out.rows = tree.as_tensor();
    return out;
  }
  if (!tree.is(formats::Value::Kind::kDict)) bad_embeddings(path, "a " + tree.describe(), "a dictionary of names");
  if (const auto* notes = tree.find(kNotesKey))
    take_notes(notes->is(formats::Value::Kind::kString) ? notes->as_string() : "?", path, out);
  if (out.names.empty()) {
    for (const auto& [key, row] : tree.as_dict()) {
      if (!key.is(formats::Value::Kind::kString)) bad_embeddings(path, "the key " + key.describe(), "names");
      if (key.as_string() != kNotesKey) out.names.push_back(key.as_string());
    }
  }
  std::vector<at::Tensor> rows;
  for (const auto& name : out.names) {
    const auto* row = tree.find(name);
    const bool vector = row != nullptr && row->is(formats::Value::Kind::kTensor) && row->as_tensor().dim() == 1 &&
                        (rows.empty() || row->as_tensor().size(0) == rows[0].size(0));
    if (!vector)
      bad_embeddings(
          path,
          "'" + name.substr(0, 80) + "': " +
              (row == nullptr                           ? "no such entry"
               : row->is(formats::Value::Kind::kTensor) ? c10::str("a tensor of shape ", row->as_tensor().sizes())
                                                        : row->describe()),
          "a vector of one width for each name");
    require_justified(out.names.size(), row->as_tensor().size(0), file_size, path);
    rows.push_back(row->as_tensor().to(at::kFloat));
  }
  if (rows.empty()) bad_embeddings(path, "no names", "a vector for each class");
  out.rows = at::stack(rows);
  return out;
}

ClassEmbeddings from_safetensors(const fs::path& path) {
  const auto file = formats::read_safetensors(path);
  const auto* rows = file.tensors.find("embeddings");
  if (rows == nullptr) bad_embeddings(path, "no tensor 'embeddings'", "one row a class under that name");
  ClassEmbeddings out;
  const auto notes = file.metadata.find(kNotesKey);
  if (notes != file.metadata.end()) take_notes(notes->second, path, out);
  out.rows = *rows;
  return out;
}

}  // namespace

std::vector<std::string> class_prompts(const std::string& name, std::span<const std::string> templates) {
  if (name.empty()) throw Error({.doing = "making prompts", .found = "a class without a name", .expected = "names"});
  const std::string article = std::string_view("aeiou").find(name.front()) == std::string_view::npos ? "a" : "an";
  std::string plain;
  for (const char c : name) {
    if (c == '/')
      plain += " or ";
    else
      plain += c == '_' ? ' ' : c;
  }
  plain = encode_utf8(lower_case(decode_utf8(plain)));
  while (plain.ends_with('.')) plain.pop_back();
  std::vector<std::string> prompts;
  for (const auto& each : templates) prompts.push_back(fill(each, plain, article));
  return prompts;
}

ClassEmbeddings embed_classes(ClipModel& model, const Tokenizer& tokenizer, std::span<const std::string> names,
                              std::span<const std::string> templates,
                              const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  const at::NoGradGuard no_grad;
  const int context = model.text().config().context_length;
  if (names.empty() || templates.empty())
    throw Error({.doing = "embedding classes",
                 .found = names.empty() ? "no names" : "no templates",
                 .expected = "one at least"});
  const auto total = static_cast<std::int64_t>(names.size());
  const auto device = model.logit_scale().device();
  at::Tensor sums = at::zeros({total, model.config().embed_dim}, at::kFloat);
  std::vector<std::string> prompts;
  std::vector<std::int64_t> classes;
  const auto flush = [&] {
    const auto tokens = tokenizer.tokenize(prompts, context).to(device);
    const auto features = model.encode_text(tokens).to(at::kCPU, at::kFloat);
    sums.index_add_(0, at::tensor(classes, at::kLong), unit_length(features));
    prompts.clear();
    classes.clear();
  };
  for (std::int64_t i = 0; i < total; ++i) {
    for (auto& prompt : class_prompts(names[static_cast<std::size_t>(i)], templates)) {
      prompts.push_back(std::move(prompt));
      classes.push_back(i);
      if (prompts.size() == kPromptsAtOnce) flush();
    }
    if (progress) progress(i, total);
  }
  if (!prompts.empty()) flush();
  if (progress) progress(total, total);
  const auto means = sums / static_cast<double>(templates.size());
  return {.rows = means / means.norm(2, {1}, /*keepdim=*/true),
          .names = {names.begin(), names.end()},
          .model = model_label(model.config()),
          .text_tower = text_fingerprint(model)};
}

std::string text_fingerprint(ClipModel& model) {
  if (!model.has_text()) return {};
  formats::TensorDict rounded;
  for (const auto& item : model.text().named_parameters())
    rounded.insert(item.key(), item.value().detach().to(at::kBFloat16));
  return formats::fingerprint(rounded);
}

void write_class_embeddings(const fs::path& path, const ClassEmbeddings& embeddings) {
  const auto rows = embeddings.rows.detach().to(at::kCPU, at::kFloat).contiguous();
  if (!embeddings.names.empty() && static_cast<std::int64_t>(embeddings.names.size()) != rows.size(0))
    throw Error({.doing = "writing class embeddings",
                 .where = path.string(),
                 .found = c10::str(rows.size(0), " rows for ", embeddings.names.size(), " names"),
                 .expected = "one each"});
  const auto suffix = path.extension();
  const auto notes = notes_of(embeddings);
  if (suffix == ".npy") {
    formats::write_npy(path, rows, notes);
  } else if (suffix == ".safetensors") {
    formats::TensorDict tensors;
    tensors.insert("embeddings", rows);
    formats::write_safetensors(path, tensors, {{kNotesKey, notes}});
  } else if (suffix == ".pt" || suffix == ".pth") {
    formats::Dict dictionary;
    std::set<std::string> seen{kNotesKey};
    for (std::size_t i = 0; i < embeddings.names.size(); ++i) {
      if (!seen.insert(embeddings.names[i]).second)
        throw Error({.doing = "writing class embeddings",
                     .where = path.string(),
                     .found = "the name '" + embeddings.names[i] + "' twice",
                     .expected = "different names, for a dictionary",
                     .hint = ".npy and .safetensors keep rows by number"});
      dictionary.emplace_back(embeddings.names[i], rows[static_cast<std::int64_t>(i)]);
    }
    if (dictionary.empty())
      throw Error({.doing = "writing class embeddings",
                   .where = path.string(),
                   .found = "rows without names",
                   .expected = "names, for a dictionary"});
    dictionary.emplace_back(kNotesKey, notes);
    formats::write_torch_archive(path, formats::Value::dict(std::move(dictionary)));
  } else {
    throw Error({.doing = "writing class embeddings",
                 .where = path.string(),
                 .found = "the suffix '" + suffix.string() + "'",
                 .expected = ".npy, .safetensors or .pt"});
  }
}

ClassEmbeddings read_class_embeddings(const fs::path& path) {
  ClassEmbeddings out;
  {
    const MappedFile file(path);
    const auto text = file.text();
    if (formats::looks_like_torch_archive(file.bytes().first(std::min<std::size_t>(file.size(), 32)))) {
      out = from_dictionary(formats::read_torch_archive(path), file.size(), path);
    } else if (text.size() > 8 && text[8] == '{') {
      out = from_safetensors(path);
    } else {
      auto noted = formats::read_noted_npy(path);
      take_notes(noted.note, path, out);
      out.rows = noted.array;
    }
    if (out.rows.dim() == 2)
      require_justified(static_cast<std::size_t>(out.rows.size(0)), out.rows.size(1), file.size(), path);
  }
  if (out.rows.dim() != 2 || !at::isFloatingType(out.rows.scalar_type()) || out.rows.numel() == 0)
    bad_embeddings(path, c10::str("an array of shape ", out.rows.sizes(), " and type ", out.rows.scalar_type()),
                   "(classes, width) of numbers with a point");
  out.rows = out.rows.to(at::kFloat).contiguous();
  if (!out.names.empty() && static_cast<std::int64_t>(out.names.size()) != out.rows.size(0))
    bad_embeddings(path, c10::str(out.names.size(), " names for ", out.rows.size(0), " rows"), "one each");
  if (!out.rows.isfinite().all().item<bool>()) bad_embeddings(path, "values that are not finite", "numbers");
  const auto zeros = (out.rows == 0).all(1).nonzero();
  if (zeros.numel() > 0)
    bad_embeddings(path, c10::str("row ", zeros[0].item<std::int64_t>(), " of zeros"), "a direction for each class");
  out.rows = unit_length(out.rows);
  return out;
}

void require_embeddings_of(const ClassEmbeddings& embeddings, ClipModel& model, const std::string& flag,
                           const std::string& source) {
  const auto& config = model.config();
  const auto label = model_label(config);
  const bool known = !embeddings.text_tower.empty() && model.has_text();
  const bool same =
      known ? embeddings.text_tower == text_fingerprint(model) : embeddings.model.empty() || embeddings.model == label;
  if (!same)
    throw Error({.doing = flag,
                 .where = source,
                 .found = known ? "class embeddings made by another text tower, of a model '" + embeddings.model + "'"
                                : "class embeddings made by the model '" + embeddings.model + "'",
                 .expected = "those made by '" + label + "', the --model that is to read them" +
                             (known ? ", with these weights" : ""),
                 .hint = "'clipself embed-text' makes them"});
  if (embeddings.rows.size(1) != config.embed_dim) {
    throw Error({.doing = flag,
                 .where = source,
                 .found = c10::str("an array of shape ", embeddings.rows.sizes()),
                 .expected = c10::str("(classes, ", config.embed_dim, "), the width of ", config.name),
                 .hint = "embeddings belong to one model"});
  }
}

}  // namespace clipself::models
