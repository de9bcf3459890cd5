// clipself verify of files that are no reference cases: whether each is whole.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/info.h"
#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/progress.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::cli::verify {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Regular files below `root`, in order; links are not followed. Names that begin with a dot are of files that are
/// being written, or hidden.
std::vector<fs::path> files_below(const fs::path& root) {
  std::vector<fs::path> files;
  if (fs::is_regular_file(root)) return {root};
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied, error), end;
       !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with('.'))
      entry.disable_recursion_pending();
    else if (entry->symlink_status().type() == fs::file_type::regular)
      files.push_back(entry->path());
  if (error) throw Error({.doing = "looking for files", .where = root.string(), .found = error.message()});
  std::ranges::sort(files);
  return files;
}

/// What a run leaves beside its checkpoints, to be read by people or TensorBoard.
bool is_log(const fs::path& file) {
  return file.extension() == ".log" || file.filename().string().starts_with("events.out.tfevents.");
}

void read_json(const fs::path& file, std::string_view text, const std::string& where) {
  if (!Json::accept(text))
    throw Error({.doing = "reading JSON", .where = file.string(), .found = "no valid JSON" + where});
}

/// What it is, having read all of it. Throws Error when it is not whole.
std::string read_whole(const fs::path& file) {
  const MappedFile mapped(file);
  if (file.filename() == "settings.json") {
    read_json(file, mapped.text(), "");
    return "settings of a run";
  }
  if (file.extension() == ".jsonl") {
    std::int64_t lines = 0;
    for (std::string_view rest = mapped.text(); !rest.empty();) {
      const auto line = rest.substr(0, rest.find('\n'));
      read_json(file, line, fmt::format(" in line {}", ++lines));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    }
    return "JSON, " + counted(lines, "line");
  }
  if (formats::looks_like_torch_archive(mapped.bytes())) {  // of whatever it holds
    formats::read_torch_archive(file);
    formats::verify_torch_archive(file);
    return "torch archive";
  }
  // Decoders, ours like Pillow's, do without the end once all pixels are there.
  constexpr std::string_view kPngEnd("IEND\xae\x42\x60\x82", 8);
  if (mapped.text().starts_with("\x89PNG") && mapped.text().rfind(kPngEnd) == std::string_view::npos)
    throw Error({.doing = "reading PNG",
                 .where = file.string(),
                 .found = "no end of the image",
                 .hint = "was the file cut off?"});
  const auto described = describe_file(file);
  std::string text = described.value("format", "");
  if (described.contains("tensors")) text += ", " + counted(described["tensors"].get<std::int64_t>(), "tensor");
  return text;
}

}  // namespace

bool verify_files(const fs::path& root, bool json) {
  const auto files = files_below(root);
  if (files.empty())
    throw Error({.doing = "clipself verify",
                 .where = root.string(),
                 .found = "no file",
                 .expected = "reference cases, or files to look at"});
  Json listed = Json::array();
  std::int64_t refused = 0;
  for (const auto& file : files) {
    if (is_log(file) && file != root) continue;
    const std::string name = file == root ? file.string() : file.lexically_relative(root).string();
    Json entry = {{"file", name}};
    try {
      entry["whole"] = true;
      entry["what"] = read_whole(file);
    } catch (const Error& error) {
      if (!fs::exists(file)) continue;  // a run that goes on has replaced it
      entry["whole"] = false;
      entry["what"] = error.what();
      ++refused;
    }
    if (!json)
      fmt::print("{:7}  {}  {}\n", entry["whole"].get<bool>() ? "whole" : "refused", Error(name).what(),
                 entry["what"].get<std::string>());
    listed.push_back(std::move(entry));
  }
  const auto whole = std::ssize(listed) - refused;
  if (json)
    fmt::print("{}\n", Json{{"files", listed}, {"whole", whole}, {"refused", refused}}.dump(
                           2, ' ', false, Json::error_handler_t::replace));
  else
    fmt::print("\n{}: {} whole, {} refused\n", counted(std::ssize(listed), "file"), whole, refused);
  return refused == 0;
}

}  // namespace clipself::cli::verify
