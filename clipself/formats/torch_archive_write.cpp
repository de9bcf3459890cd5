#include <fmt/format.h>

#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/formats/pickle.h"
#include "clipself/formats/torch_archive.h"
#include "clipself/formats/zip.h"

namespace clipself::formats {
namespace {

constexpr std::string_view kRoot = "archive/";

/// What the file holds of one storage: the elements from the first to the last that any tensor uses.
struct Record {
  at::Tensor sample;  ///< one of the tensors that lie in it
  std::int64_t first = 0;
  std::int64_t end = 0;

  at::Tensor data() const {
    if (end == first) return at::empty({0}, sample.options().device(at::kCPU));
    at::Tensor all = at::empty({0}, sample.options());
    all.set_(sample.storage(), first, {end - first}, {1});
    return all.cpu();
  }
};

/// Every tensor of a value, brought to a form that a file can hold, and the records they lie in.
class Plan {
 public:
  Plan(const Value& value, std::string where) : where_(std::move(where)) { collect(value, 0); }

  StoredTensor stored(const at::Tensor& tensor) const {
    const Place& place = places_.at(tensor.unsafeGetTensorImpl());
    const Record& record = records_[place.record];
    return {place.tensor, std::to_string(place.record), record.end - record.first, record.first};
  }
  const std::vector<Record>& records() const { return records_; }

 private:
  struct Place {
    at::Tensor tensor;
    std::size_t record = 0;
  };

  void collect(const Value& value, int depth) {
    // write_pickle names the mistake; here the limit only keeps a container that holds itself from running on.
    constexpr int kMaxDepth = 200;
    if (depth > kMaxDepth) return;
    switch (value.kind()) {
      case Value::Kind::kTensor:
        return place(value.as_tensor());
      case Value::Kind::kList:
      case Value::Kind::kTuple:
        if (!seen_.insert(&value.as_list()).second) return;
        for (const Value& item : value.as_list()) collect(item, depth + 1);
        return;
      case Value::Kind::kDict:
        if (!seen_.insert(&value.as_dict()).second) return;
        for (const auto& [key, item] : value.as_dict()) {
          collect(key, depth + 1);
          collect(item, depth + 1);
        }
        return;
      default:
        return;
    }
  }

  void place(const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.layout() != at::kStrided || tensor.is_quantized() || tensor.is_meta()) {
      throw Error({.doing = "writing checkpoint",
                   .where = where_,
                   .found = tensor.defined() ? "a tensor of type " + tensor.toString() : std::string("no tensor"),
                   .expected = "a dense tensor with data"});
    }
    if (places_.contains(tensor.unsafeGetTensorImpl())) return;
    at::Tensor plain = tensor.detach().resolve_conj().resolve_neg();
    if (plain.numel() == 0) {
      plain = at::empty(plain.sizes(), plain.options());
    } else if (!plain.is_non_overlapping_and_dense()) {
      plain = plain.contiguous();
    }
    const std::int64_t first = plain.storage_offset();
    const std::int64_t end = first + plain.numel();
    // Only tensors of one type share a record: a pickle names each storage's element type once.
    const auto key = std::pair(plain.storage().unsafeGetStorageImpl(), plain.scalar_type());
    const auto [found, added] = by_storage_.try_emplace(key, records_.size());
    if (added) records_.push_back({plain, first, end});
    Record& record = records_[found->second];
    record.first = std::min(record.first, first);
    record.end = std::max(record.end, end);
    places_.emplace(tensor.unsafeGetTensorImpl(), Place{std::move(plain), found->second});
  }

  std::string where_;
  std::vector<Record> records_;
  std::map<std::pair<const c10::StorageImpl*, at::ScalarType>, std::size_t> by_storage_;
  std::unordered_map<const at::TensorImpl*, Place> places_;
  std::unordered_set<const void*> seen_;
};

}  // namespace

void write_torch_archive(const std::filesystem::path& path, const Value& value) {
  const Plan plan(value, path.string());
  std::string program;
  write_pickle(
      value, path.string(), [&](const at::Tensor& tensor) { return plan.stored(tensor); }, program);

  const std::string root(kRoot);
  ZipWriter zip(path);
  zip.add(root + "data.pkl", program);
  zip.add(root + "byteorder", std::string_view("little"));
  for (std::size_t i = 0; i < plan.records().size(); ++i) {
    const at::Tensor data = plan.records()[i].data();
    zip.add(root + "data/" + std::to_string(i),
            std::span(static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()));
  }
  zip.add(root + "version", std::string_view("3\n"));
  zip.finish();
}

}  // namespace clipself::formats
