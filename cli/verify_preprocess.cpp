// Kind preprocess: decoding, resizing, cropping and padding of images, and masks on the token grid.
#include <fmt/format.h>
#include <sha2.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

#include "cli/verify_kinds.h"
#include "clipself/base/error.h"
#include "clipself/datasets/transforms.h"
#include "clipself/formats/image.h"
#include "clipself/ops/image_resize.h"

namespace clipself::cli::verify {
namespace {

constexpr auto kNormalized = Tolerance::abs(1e-6);
// The manifest's means and deviations are sums over a million float32 values.
constexpr auto kStatistics = Tolerance::abs(1e-5);

/// (rows, columns, channels), without the last for one channel.
at::Tensor as_tensor(const formats::Image& image) {
  auto flat = at::tensor(at::ArrayRef<std::uint8_t>(image.pixels), at::kByte);
  const auto channels = static_cast<std::int64_t>(formats::bytes_per_pixel(image.mode));
  return channels == 1 ? flat.view({image.height, image.width}) : flat.view({image.height, image.width, channels});
}

std::string sha256(const std::vector<std::uint8_t>& bytes) {
  std::string digits(SHA256_DIGEST_STRING_LENGTH, '\0');
  SHA256Data(bytes.data(), bytes.size(), digits.data());
  digits.pop_back();  // the terminating zero
  return digits;
}

void check_hash(Case& c, const std::string& what, const formats::Image& image, const std::string& expected,
                const std::string& group) {
  const auto hash = sha256(image.pixels);
  c.check_that(what, hash == expected, fmt::format("pixels hash to {:.12}... instead of {:.12}...", hash, expected),
               group);
}

/// The sides of the content of a `size` square: longer side `size`, halves to even, at least one pixel.
std::pair<int, int> content_size(const formats::Image& image, int size) {
  const double scale = datasets::longest_scale(image.width, image.height, size);
  return {std::max(1, ops::round_half_even(image.width * scale)),
          std::max(1, ops::round_half_even(image.height * scale))};
}

int size_of(const std::string& key, const std::string& where) {
  int size = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), size);
  if (error != std::errc() || end != key.data() + key.size() || size < 1 || size > 8192)
    throw Error({.doing = "reading", .where = where, .found = "size '" + key + "'", .expected = "1 to 8192 pixels"});
  return size;
}

void check_det(Case& c, const formats::Image& image, const std::string& file, const nlohmann::ordered_json& sizes,
               const models::PixelStatistics& pixels, const std::string& where) {
  for (const auto& [key, facts] : sizes.items()) {
    const int size = size_of(key, where);
    const auto name = fmt::format("{}.det{}", file, size);
    const auto resized = datasets::resize_longest(image, size);
    check_hash(c, name + ".u8_sha256", resized, value<std::string>(facts, "u8_sha256", where), "det.u8_sha256.*");
    c.check(name + ".u8", as_tensor(resized), Tolerance::exact(), "det.u8.*");
    const auto normalized = datasets::normalize(datasets::to_tensor(resized), pixels);
    c.check(name + ".f32", normalized, kNormalized, "det.f32.*");
    if (c.expects(name + ".sample_index")) {
      const auto index = c.input_among_expected(name + ".sample_index").to(at::kLong);
      const auto flat = normalized.flatten(1);
      if (index.dim() != 1 || (index < 0).logical_or(index >= flat.size(1)).any().item<bool>())
        throw Error({.doing = "reading tensor '" + name + ".sample_index'", .found = "positions outside the picture"});
      c.check(name + ".sample_f32", flat.index_select(1, index), kNormalized, "det.sample_f32.*");
    }
    const auto statistics = [&](const char* what, const at::Tensor& actual) {
      c.check_value(name + "." + what, actual, at::tensor(value<std::vector<double>>(facts, what, where), at::kDouble),
                    kStatistics, fmt::format("det.{}.*", what));
    };
    const auto precise = normalized.flatten(1).to(at::kDouble);
    statistics("mean", precise.mean(1));
    statistics("std", precise.std(1, /*unbiased=*/false));
    c.check_number(name + ".get_scale", datasets::longest_scale(image.width, image.height, size),
                   value<double>(facts, "get_scale", where), Tolerance::rel(1e-12), "det.get_scale.*");
    const auto [width, height] = content_size(image, size);
    c.check_that(
        name + ".content",
        width == value<int>(facts, "content_width", where) && height == value<int>(facts, "content_height", where),
        fmt::format("{} x {} pixels", width, height), "det.content.*");
  }
}

void check_crops(Case& c, const formats::Image& image, const std::string& file, const nlohmann::ordered_json& crops,
                 const std::string& where) {
  for (std::size_t i = 0; i < crops.size(); ++i) {
    const auto& entry = crops[i];
    const auto corners = value<std::array<double, 4>>(entry, "box", where);
    const ops::Box box{corners[0], corners[1], corners[2], corners[3]};
    const auto name = fmt::format("{}.crop{}", file, i);
    std::array<int, 4> rounded{};
    std::transform(corners.begin(), corners.end(), rounded.begin(), ops::round_half_even);
    c.check_that(name + ".rounded", rounded == value<std::array<int, 4>>(entry, "rounded", where),
                 fmt::format("corners become {}", fmt::join(rounded, " ")), "crop.rounded.*");
    const auto cut = ops::crop(image, box);
    c.check_that(
        name + ".size",
        cut.width == value<int>(entry, "crop_width", where) && cut.height == value<int>(entry, "crop_height", where),
        fmt::format("{} x {} pixels", cut.width, cut.height), "crop.size.*");
    for (const auto& [key, hash] : member(entry, "sizes", where).items()) {
      const int size = size_of(key, where);
      const auto resized = datasets::crop_and_resize(image, box, size);
      const auto at_size = fmt::format("{}.{}", name, size);
      if (hash.is_string() && hash.get<std::string>().starts_with("error")) {
        // The original raises where a side rounds to zero; here such a crop keeps one pixel.
        c.check_that(at_size, resized.width == size && resized.height == size, "no picture",
                     "crop.too_thin_for_the_original.*");
        continue;
      }
      check_hash(c, at_size + ".sha256", resized, value<std::string>(member(entry, "sizes", where), key, where),
                 "crop.sha256.*");
      c.check(at_size + ".u8", as_tensor(resized), Tolerance::exact(), "crop.u8.*");
    }
  }
}

void check_image(Case& c, const nlohmann::ordered_json& entry, const models::PixelStatistics& pixels,
                 const std::string& where) {
  const auto relative = value<std::string>(entry, "file", where);
  const auto file = std::filesystem::path(relative).filename().string();
  formats::Image image;
  try {
    image = formats::read_image(c.file(relative));
  } catch (const Error& error) {
    c.unreadable(error.what());
    c.skip(file, "the picture cannot be read", file + ".");
    return;
  }
  c.check_that(file + ".mode", formats::name(image.mode) == value<std::string>(entry, "mode", where),
               formats::name(image.mode), "decoded.mode.*");
  c.check_that(file + ".width_height",
               image.width == value<int>(entry, "width", where) && image.height == value<int>(entry, "height", where),
               fmt::format("{} x {} pixels", image.width, image.height), "decoded.width_height.*");
  check_hash(c, file + ".decoded_sha256", image, value<std::string>(entry, "decoded_sha256", where),
             "decoded.sha256.*");
  check_hash(c, file + ".rgb_sha256", formats::to_rgb(image), value<std::string>(entry, "rgb_sha256", where),
             "decoded.rgb_sha256.*");
  c.check(file + ".decoded", as_tensor(image), Tolerance::exact(), "decoded.pixels.*");
  check_det(c, image, file, member(entry, "det", where), pixels, where);
  check_crops(c, image, file, member(entry, "crops", where), where);
}

void check_mask(Case& c, const std::string& name, const nlohmann::ordered_json& facts, const std::string& where) {
  const auto mask = c.input_among_expected(name + ".in");
  const int size = value<int>(facts, "max_size", where);
  if (mask.dim() != 2 || mask.numel() == 0 || size < 1 || size > 8192)
    throw Error(
        {.doing = "reading mask '" + name + "' of", .where = where, .found = "a mask or size that cannot be resized"});
  const auto resized = datasets::resize_mask(mask.to(at::kBool), size).unsqueeze(0);
  c.check(name + ".resized", resized, Tolerance::abs(1e-5));
  c.check(name + ".positive", resized > 0, Tolerance::exact());
}

}  // namespace

void verify_preprocess(Case& c) {
  const auto manifest = c.json("manifest.json");
  const auto where = c.file("manifest.json").string();
  c.load_expected("expected.safetensors");
  const models::PixelStatistics pixels{.mean = value<std::array<float, 3>>(manifest, "mean", where),
                                       .std = value<std::array<float, 3>>(manifest, "std", where)};
  for (const auto& entry : member(manifest, "images", where)) check_image(c, entry, pixels, where);
  if (manifest.contains("masks"))
    for (const auto& [name, facts] : member(manifest, "masks", where).items()) check_mask(c, name, facts, where);
}

}  // namespace clipself::cli::verify
