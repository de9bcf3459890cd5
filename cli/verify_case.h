// One reference case being checked: its files, and the comparisons made so far.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "clipself/base/torch.h"
#include "clipself/formats/tensor_dict.h"

namespace clipself::cli::verify {

/// How far a value may be from the expected one: |a - b| <= absolute + relative * |b|, element by element.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
  double of_largest = 0;     ///< allowed besides: this part of the tensor's largest value
  double of_norm = 0;        ///< instead of all these: |a - b| <= this part of |b|, of the tensor as a whole
  double most_absolute = 0;  ///< when above 0: all but 0.1 % of a group's elements together must be within this
  bool bitwise = false;      ///< the same type, and the same bits

  static constexpr Tolerance exact() { return {}; }
  static constexpr Tolerance bits() { return {.bitwise = true}; }
  static constexpr Tolerance abs(double value) { return {.absolute = value}; }
  static constexpr Tolerance rel(double value) { return {.relative = value}; }
  static constexpr Tolerance largest(double value) { return {.of_largest = value}; }
  static constexpr Tolerance norm(double value) { return {.of_norm = value}; }
  /// Parameters after AdamW, which divides by the gradient's own size: an element whose gradient is nearly zero may
  /// move differently.
  static constexpr Tolerance stepped() { return {.absolute = 2e-4, .most_absolute = 1e-6}; }
  /// "1e-04 abs", "1e-06 abs + 1e-03 rel", "exact", "bit for bit".
  std::string text() const;
};

enum class Status { kOk, kFailed, kSkipped };
const char* name(Status status);

struct Comparison {
  std::string group;  ///< what the table sums it up under
  std::string tensor;
  double absolute = 0;  ///< worst difference
  double relative = 0;  ///< worst difference relative to the expected value, over values above the absolute tolerance
  double excess = 0;    ///< worst difference / what was allowed there: above 1 fails; orders the members of a group
  std::string tolerance;
  Status status = Status::kOk;
  std::string note;  ///< why it failed or was skipped
};

/// What a case's runner writes to. Everything expected is handed over by load_expected (or as an argument), and only
/// ever compared: what no comparison asked for is a failure in the end, so that no tensor passes unseen.
class Case {
 public:
  Case(std::filesystem::path folder, std::string kind, std::string label);

  const std::filesystem::path& folder() const { return folder_; }
  const std::string& kind() const { return kind_; }
  const std::string& label() const { return label_; }  ///< the folder as seen from DIR

  // Inputs. All throw Error naming the file when it is missing, damaged or lacks something.
  formats::TensorDict tensors(const std::string& file) const;
  nlohmann::ordered_json json(const std::string& file) const;
  /// A file of the case itself or of one beside it ("../eva_b_like/model.pt").
  std::filesystem::path file(const std::string& relative) const;

  /// Takes expected tensors from a safetensors file.
  void load_expected(const std::string& file);
  /// Names still expected or already compared, in the file's order.
  const std::vector<std::string>& expected_names() const { return names_; }
  bool expects(const std::string& tensor) const { return expected_.contains(tensor); }
  /// An entry of the expected file that the case's README calls an input (sample positions, masks to resize). Throws
  /// Error when it is missing.
  at::Tensor input_among_expected(const std::string& tensor);
  /// The shape of an expected tensor: how many rows a table has, never what they hold.
  std::vector<std::int64_t> expected_shape(const std::string& tensor) const;

  /// Compares `actual` with the expected tensor of that name; nothing when there is none. `group` is "" for a line of
  /// its own.
  void check(const std::string& tensor, const at::Tensor& actual, const Tolerance& tolerance,
             const std::string& group = "");
  /// A second thing that must be as the expected tensor of that name says, under a label of its own.
  void check_also(const std::string& label, const std::string& tensor, const at::Tensor& actual,
                  const Tolerance& tolerance, const std::string& group = "");
  /// On the rows of both that `rows` (bool) names; the others are noted as left out because of `why`.
  void check_rows(const std::string& tensor, const at::Tensor& actual, const at::Tensor& rows,
                  const Tolerance& tolerance, const std::string& why);
  /// Where `places` (bool, of the same shape) says so, under a label of its own.
  void check_where(const std::string& label, const std::string& tensor, const at::Tensor& actual,
                   const at::Tensor& places, const Tolerance& tolerance, const std::string& group);
  /// Whether, of every row, at most `part` of the elements are another's.
  void check_share(const std::string& tensor, const at::Tensor& actual, double part);
  /// The same of a value that no tensor file holds.
  void check_share_of(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double part,
                      const std::string& group = "");
  /// Pixel coordinates: whether each rounds, halves to even, to the pixel that the expected one rounds to.
  void check_rounded(const std::string& tensor, const at::Tensor& actual);
  /// Some columns of a table (rows, columns), where the columns mean different things.
  void check_columns(const std::string& tensor, const at::Tensor& actual, const std::vector<std::int64_t>& columns,
                     const Tolerance& tolerance);
  /// For a value that no tensor file holds.
  void check_value(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                   const Tolerance& tolerance, const std::string& group = "");
  void check_number(const std::string& what, double actual, double expected, const Tolerance& tolerance,
                    const std::string& group = "");
  /// Anything JSON can say; the note names the first difference.
  void check_json(const std::string& what, const nlohmann::ordered_json& actual, const nlohmann::ordered_json& expected,
                  const std::string& group = "");
  /// A fact that holds or does not.
  void check_that(const std::string& what, bool holds, const std::string& otherwise, const std::string& group = "");
  /// Says that `what` is not compared and why. Expected tensors beginning with `prefix` (when not empty) count as dealt
  /// with.
  void skip(const std::string& what, const std::string& why, const std::string& prefix = "");
  /// One of the case's files cannot be used; the rest still can.
  void unreadable(const std::string& message) { unreadable_.push_back(message); }
  /// What is expected and not compared yet will not be, because of `why`.
  void skip_rest(const std::string& why);
  /// Turns what was expected and never compared into failures.
  void finish();

  const std::vector<Comparison>& comparisons() const { return comparisons_; }
  const std::vector<std::string>& unreadable() const { return unreadable_; }
  double seconds = 0;
  at::ScalarType precision = at::kFloat;  ///< what image towers compute in; bfloat16 has bounds of its own
  std::filesystem::path vocabulary;       ///< of text cases; empty: to be looked for

 private:
  struct Share {
    std::int64_t elements = 0;
    std::int64_t beyond = 0;
    double limit = 0;
  };
  void compare(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
               const Tolerance& tolerance, const std::string& group, const std::string& note = "");
  void add(Comparison comparison);

  std::filesystem::path folder_;
  std::string kind_;
  std::string label_;
  formats::TensorDict expected_;
  std::vector<std::string> names_;
  std::set<std::string> dealt_with_;
  std::vector<Comparison> comparisons_;
  std::map<std::string, Share> shares_;  ///< by group, for Tolerance::most_absolute
  std::vector<std::string> unreadable_;
};

/// The member of a JSON object. Throws Error naming `where` and the key when there is none.
const nlohmann::ordered_json& member(const nlohmann::ordered_json& object, const std::string& key,
                                     const std::string& where);
/// Throws the Error of a JSON value that is no T.
[[noreturn]] void wrong_type(const std::string& key, const std::string& where, const std::string& found);
/// A member's value. Throws Error naming `where` and the key when it is missing or of another type.
template <typename T>
T value(const nlohmann::ordered_json& object, const std::string& key, const std::string& where) {
  const auto& entry = member(object, key, where);
  try {
    return entry.get<T>();
  } catch (const nlohmann::ordered_json::exception&) {
    wrong_type(key, where, entry.type_name());
  }
}
/// The tensor of that name. Throws Error naming `where` when it is missing.
const at::Tensor& tensor(const formats::TensorDict& tensors, const std::string& name, const std::string& where);
/// The same with a shape: -1 takes any size.
const at::Tensor& tensor(const formats::TensorDict& tensors, const std::string& name, const std::string& where,
                         const std::vector<std::int64_t>& shape);

}  // namespace clipself::cli::verify
