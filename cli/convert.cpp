// clipself convert: weights from one file format and type to another, under the same names.
#include <filesystem>

#include "cli/commands.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/base/progress.h"
#include "clipself/formats/safetensors.h"
#include "clipself/formats/state_dict.h"
#include "clipself/formats/torch_archive.h"

namespace clipself::cli {
namespace {

struct ConvertFlags {
  std::string in, out, type = "keep";
};

at::Tensor converted(const at::Tensor& tensor, const std::string& type) {
  if (type == "keep" || !at::isFloatingType(tensor.scalar_type())) return tensor;
  return tensor.to(type == "fp32" ? at::kFloat : type == "fp16" ? at::kHalf : at::kBFloat16);
}

void run(const ConvertFlags& flags) {
  require_file(flags.in, "clipself convert");
  const std::filesystem::path out(flags.out);
  const auto extension = out.extension().string();
  const bool torch = extension == ".pt" || extension == ".pth" || extension == ".bin";
  if (!torch && extension != ".safetensors") {
    throw Error({.doing = "clipself convert",
                 .where = flags.out,
                 .found = "an unknown extension",
                 .expected = ".pt, .pth, .bin or .safetensors"});
  }
  std::error_code ignored;
  if (std::filesystem::equivalent(flags.in, out, ignored)) {
    throw Error({.doing = "clipself convert",
                 .where = flags.out,
                 .found = "the input file itself",
                 .expected = "another file"});
  }
  require_writable_file(out);
  const auto state = formats::read_state_dict(flags.in);
  formats::TensorDict tensors;
  double bytes = 0;
  for (const auto& item : state.tensors) {
    tensors.insert(item.key(), converted(item.value(), flags.type));
    bytes += static_cast<double>(tensors[item.key()].nbytes());
  }
  if (torch) {
    formats::Dict items;
    for (const auto& item : tensors) items.emplace_back(item.key(), item.value());
    formats::write_torch_archive(out, formats::Value::dict(std::move(items)));
  } else {
    auto metadata = state.metadata;
    metadata.emplace("format", "pt");
    formats::write_safetensors(out, tensors, metadata);
  }
  spdlog::info("{}: {} tensors, {}", flags.out, tensors.size(), format_bytes(bytes));
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "convert", "Write weights in another file format or type; names stay, without a leading 'module.'");
  auto flags = std::make_shared<ConvertFlags>();
  sub->add_option("IN", flags->in, "A .pt, .pth or .safetensors file; a training checkpoint gives its averaged weights")
      ->required();
  sub->add_option("OUT", flags->out, "A .pt, .pth or .safetensors file to write")->required();
  sub->add_option("--dtype", flags->type, "fp32, fp16, bf16 or keep")
      ->capture_default_str()
      ->check(CLI::IsMember({"keep", "fp32", "fp16", "bf16"}));
  sub->callback([flags] { run(*flags); });
}

}  // namespace clipself::cli
