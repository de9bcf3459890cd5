#include "cli/verify_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/formats/safetensors.h"

namespace clipself::cli::verify {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

/// |a - b| in float64; 0 where both are the same infinity or both are no number.
at::Tensor distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor same = (a == b).logical_or(a.isnan().logical_and(b.isnan()));
  return (a - b).abs().masked_fill(same, 0.0).nan_to_num(kInfinity, kInfinity);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return left.nbytes() == 0 || std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

/// The first place where two documents differ, as a path, or "".
std::string first_difference(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b,
                             const std::string& path) {
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, entry] : b.items()) {
      if (!a.contains(key)) return path + "/" + key + " is missing";
      if (const auto found = first_difference(a.at(key), entry, path + "/" + key); !found.empty()) return found;
    }
    for (const auto& [key, entry] : a.items())
      if (!b.contains(key)) return path + "/" + key + " is not expected";
    return {};
  }
  if (a.is_array() && b.is_array()) {
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (const auto found = first_difference(a[i], b[i], fmt::format("{}/{}", path, i)); !found.empty()) return found;
    if (a.size() != b.size()) return fmt::format("{} has {} entries instead of {}", path, a.size(), b.size());
    return {};
  }
  if (a == b) return {};
  const auto text = [](const nlohmann::ordered_json& v) {
    return v.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  };
  return fmt::format("{} is {} instead of {}", path.empty() ? "it" : path, text(a), text(b));
}

}  // namespace

std::string Tolerance::text() const {
  if (bitwise) return "bit for bit";
  if (of_norm > 0) return fmt::format("{:.0e} of the norm", of_norm);
  if (absolute == 0 && relative == 0 && of_largest == 0) return "exact";
  std::string text;
  if (absolute > 0) text = fmt::format("{:.0e} abs", absolute);
  if (relative > 0) text += fmt::format("{}{:.0e} rel", text.empty() ? "" : " + ", relative);
  if (of_largest > 0) text += fmt::format("{}{:.0e} of the largest", text.empty() ? "" : " + ", of_largest);
  if (most_absolute > 0) text += fmt::format(", {:.0e} on 99.9 %", most_absolute);
  return text;
}

const char* name(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kFailed:
      return "FAIL";
    case Status::kSkipped:
      return "skipped";
  }
  return "";
}

Case::Case(std::filesystem::path folder, std::string kind, std::string label)
    : folder_(std::move(folder)), kind_(std::move(kind)), label_(std::move(label)) {}

std::filesystem::path Case::file(const std::string& relative) const {
  return (folder_ / relative).lexically_normal();
}

formats::TensorDict Case::tensors(const std::string& name) const {
  return formats::read_safetensors(file(name)).tensors;
}

nlohmann::ordered_json Case::json(const std::string& name) const {
  const auto path = file(name);
  auto document = nlohmann::ordered_json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    throw Error({.doing = "reading", .where = path.string(), .found = "no valid JSON", .expected = "a JSON document"});
  return document;
}

void Case::load_expected(const std::string& name) {
  for (const auto& item : tensors(name)) {
    expected_.insert(item.key(), item.value());
    names_.push_back(item.key());
  }
}

at::Tensor Case::input_among_expected(const std::string& tensor) {
  const auto* found = expected_.find(tensor);
  if (!found)
    throw Error({.doing = "reading reference case", .where = folder_.string(), .found = "no tensor '" + tensor + "'"});
  dealt_with_.insert(tensor);
  return *found;
}

std::vector<std::int64_t> Case::expected_shape(const std::string& tensor) const {
  const auto* found = expected_.find(tensor);
  return found ? found->sizes().vec() : std::vector<std::int64_t>{};
}

void Case::check(const std::string& tensor, const at::Tensor& actual, const Tolerance& tolerance,
                 const std::string& group) {
  if (const auto* expected = expected_.find(tensor)) compare(tensor, actual, *expected, tolerance, group);
}

void Case::check_also(const std::string& label, const std::string& tensor, const at::Tensor& actual,
                      const Tolerance& tolerance, const std::string& group) {
  if (const auto* expected = expected_.find(tensor)) compare(label, actual, *expected, tolerance, group);
}

void Case::check_rows(const std::string& tensor, const at::Tensor& actual, const at::Tensor& rows,
                      const Tolerance& tolerance, const std::string& why) {
  const auto* expected = expected_.find(tensor);
  if (!expected) return;
  const auto kept = rows.nonzero().squeeze(1);
  if (kept.numel() == rows.numel() || expected->dim() == 0 || expected->size(0) != rows.size(0) || actual.dim() == 0 ||
      actual.size(0) != rows.size(0)) {
    compare(tensor, actual, *expected, tolerance, "");
    return;
  }
  compare(tensor, actual.index_select(0, kept), expected->index_select(0, kept), tolerance, "",
          fmt::format("{} rows left out: {}", rows.numel() - kept.numel(), why));
}

void Case::check_where(const std::string& label, const std::string& tensor, const at::Tensor& actual,
                       const at::Tensor& places, const Tolerance& tolerance, const std::string& group) {
  const auto* expected = expected_.find(tensor);
  if (!expected) return;
  if (actual.sizes() != expected->sizes() || places.sizes() != expected->sizes())
    compare(label, actual, *expected, tolerance, group);
  else if (places.any().item<bool>())
    compare(label, actual.index({places}), expected->index({places}), tolerance, group);
}

void Case::check_share(const std::string& tensor, const at::Tensor& actual, double part) {
  const auto* expected = expected_.find(tensor);
  if (!expected) return;
  dealt_with_.insert(tensor);
  check_share_of(tensor, actual, *expected, part);
}

void Case::check_share_of(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double part,
                          const std::string& group) {
  if (!actual.defined() || actual.sizes() != expected.sizes() || actual.dim() < 2) {
    compare(what, actual, expected, Tolerance::exact(), group);
    return;
  }
  const auto wrong = (actual != expected).to(at::kDouble).flatten(1).mean(1);
  compare(what + ": share of other elements", wrong, at::zeros_like(wrong), Tolerance::abs(part), group);
}

void Case::check_rounded(const std::string& tensor, const at::Tensor& actual) {
  // at::round rounds halves to even, as Python does.
  if (const auto* expected = expected_.find(tensor))
    compare(tensor + ", rounded", actual.to(at::kDouble).round(), expected->to(at::kDouble).round(), Tolerance::exact(),
            "");
}

void Case::check_columns(const std::string& tensor, const at::Tensor& actual, const std::vector<std::int64_t>& columns,
                         const Tolerance& tolerance) {
  const auto* expected = expected_.find(tensor);
  if (!expected) return;
  dealt_with_.insert(tensor);
  const auto label = fmt::format("{}[{}]", tensor, fmt::join(columns, ","));
  if (actual.sizes() != expected->sizes() || actual.dim() != 2 || actual.size(1) <= columns.back()) {
    compare(label, actual, *expected, tolerance, "");
    return;
  }
  const auto index = at::tensor(columns, at::kLong);
  compare(label, actual.index_select(1, index), expected->index_select(1, index), tolerance, "");
}

void Case::check_value(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                       const Tolerance& tolerance, const std::string& group) {
  compare(what, actual, expected, tolerance, group);
}

void Case::check_number(const std::string& what, double actual, double expected, const Tolerance& tolerance,
                        const std::string& group) {
  compare(what, at::scalar_tensor(actual, at::kDouble), at::scalar_tensor(expected, at::kDouble), tolerance, group);
}

void Case::check_json(const std::string& what, const nlohmann::ordered_json& actual,
                      const nlohmann::ordered_json& expected, const std::string& group) {
  const auto difference = first_difference(actual, expected, "");
  check_that(what, difference.empty(), difference, group);
}

void Case::check_that(const std::string& what, bool holds, const std::string& otherwise, const std::string& group) {
  Comparison result{.group = group, .tensor = what, .tolerance = "exact", .note = {}};
  if (!holds) {
    result.status = Status::kFailed;
    result.excess = kInfinity;
    result.note = otherwise;
  }
  add(std::move(result));
}

void Case::skip(const std::string& what, const std::string& why, const std::string& prefix) {
  if (!prefix.empty())
    for (const auto& tensor : names_)
      if (tensor.starts_with(prefix)) dealt_with_.insert(tensor);
  add({.group = "", .tensor = what, .tolerance = "", .status = Status::kSkipped, .note = why});
}

void Case::compare(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                   const Tolerance& tolerance, const std::string& group, const std::string& note) {
  dealt_with_.insert(what);
  Comparison result{.group = group, .tensor = what, .tolerance = tolerance.text(), .note = note};
  const auto fail = [&](std::string why) {
    result.status = Status::kFailed;
    result.absolute = result.relative = result.excess = kInfinity;
    result.note = std::move(why);
    add(result);
  };
  if (!actual.defined()) return fail("not computed");
  const at::Tensor given = actual.detach().cpu();
  if (given.sizes() != expected.sizes())
    return fail(fmt::format("shape {} instead of {}", shape_text(given.sizes()), shape_text(expected.sizes())));
  if (tolerance.bitwise) {
    if (given.scalar_type() != expected.scalar_type())
      return fail(fmt::format("type {} instead of {}", c10::toString(given.scalar_type()),
                              c10::toString(expected.scalar_type())));
    // Bits that differ may still be equal as numbers (0 and -0, two NaN); the table then says so.
    if (!same_bits(given, expected)) {
      result.status = Status::kFailed;
      result.excess = kInfinity;
      result.note = "bits differ";
    }
  }
  if (given.numel() > 0) {
    const at::Tensor a = given.to(at::kDouble), b = expected.to(at::kDouble);
    const at::Tensor error = distance(a, b), size = b.abs().nan_to_num(0, 0);
    const at::Tensor allowed = tolerance.absolute + tolerance.of_largest * size.max() + tolerance.relative * size;
    result.absolute = error.max().item<double>();
    // Relative to values that the absolute tolerance does not swallow whole.
    const at::Tensor counted = size > tolerance.absolute;
    result.relative = at::where(counted, error / size, at::zeros_like(error)).max().item<double>();
    if (tolerance.of_norm > 0) {
      const double norm = b.norm().item<double>(), off = (a - b).norm().item<double>();
      result.excess = off == 0 ? 0 : off / (tolerance.of_norm * norm);
      result.note = fmt::format("{:.1e} of the norm", off / norm);
      if (!(off <= tolerance.of_norm * norm)) result.status = Status::kFailed;
    } else if (!tolerance.bitwise) {
      result.excess = at::where(error == 0, at::zeros_like(error), error / allowed).max().item<double>();
      if ((error > allowed).any().item<bool>()) result.status = Status::kFailed;
    }
    if (tolerance.most_absolute > 0) {
      auto& share = shares_[group.empty() ? what : group];
      share.limit = tolerance.most_absolute;
      share.elements += error.numel();
      share.beyond += (error > tolerance.most_absolute).sum().item<std::int64_t>();
    }
  }
  add(std::move(result));
}

void Case::add(Comparison comparison) {
  comparisons_.push_back(std::move(comparison));
}

void Case::skip_rest(const std::string& why) {
  std::int64_t left = 0;
  for (const auto& name : names_)
    if (expected_.contains(name) && dealt_with_.insert(name).second) ++left;
  if (left > 0) skip(fmt::format("({} others)", left), why);
}

void Case::finish() {
  for (const auto& [group, share] : shares_) {
    // A rule about parts of a thousand says nothing of fewer elements: there one may always be off.
    const auto allowed = std::max<std::int64_t>(1, share.elements / 1000);
    Comparison result{.group = "",
                      .tensor = group + ", share",
                      .excess = static_cast<double>(share.beyond) / static_cast<double>(allowed),
                      .tolerance = fmt::format("{:.0e} on 99.9 %", share.limit),
                      .note = fmt::format("{} of {} elements are beyond", share.beyond, share.elements)};
    if (share.beyond > allowed) result.status = Status::kFailed;
    add(std::move(result));
  }
  for (const auto& tensor : names_)
    if (!dealt_with_.contains(tensor))
      add({.group = "",
           .tensor = tensor,
           .absolute = kInfinity,
           .relative = kInfinity,
           .excess = kInfinity,
           .tolerance = "",
           .status = Status::kFailed,
           .note = "not computed"});
}

const nlohmann::ordered_json& member(const nlohmann::ordered_json& object, const std::string& key,
                                     const std::string& where) {
  const auto it = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || it == object.end())
    throw Error({.doing = "reading", .where = where, .found = "no entry '" + key + "'"});
  return *it;
}

void wrong_type(const std::string& key, const std::string& where, const std::string& found) {
  throw Error({.doing = "reading entry '" + key + "' of", .where = where, .found = "a value of type " + found});
}

const at::Tensor& tensor(const formats::TensorDict& tensors, const std::string& name, const std::string& where) {
  const auto* found = tensors.find(name);
  if (!found) throw Error({.doing = "reading", .where = where, .found = "no tensor '" + name + "'"});
  return *found;
}

const at::Tensor& tensor(const formats::TensorDict& tensors, const std::string& name, const std::string& where,
                         const std::vector<std::int64_t>& shape) {
  const auto& found = tensor(tensors, name, where);
  bool fits = found.dim() == static_cast<std::int64_t>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || found.sizes()[i] == shape[i];
  if (!fits) {
    std::vector<std::string> wanted;
    for (const auto side : shape) wanted.push_back(side == -1 ? "any" : std::to_string(side));
    throw Error({.doing = "reading tensor '" + name + "' of",
                 .where = where,
                 .found = "shape " + shape_text(found.sizes()),
                 .expected = fmt::format("({})", fmt::join(wanted, ", "))});
  }
  return found;
}

}  // namespace clipself::cli::verify
