// The processes of a job, on LibTorch's c10d: Gloo, and NCCL for what lies on CUDA devices.
//
// What is exchanged is small (losses, counts, results) except for gradients (gradients.h). Every process must come to
// the same exchanges in the same order. One that does not come, dies or throws takes all others down, and one of them
// says which it was and why (watch.h).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clipself/base/error.h"
#include "clipself/base/torch.h"
#include "clipself/distributed/place.h"

namespace c10d {
class ProcessGroup;
}

namespace clipself::distributed {

/// Another process is gone or did not come in time; the text is what the library below said.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What all processes throw alike: it names the rank already.
class AgreedError : public Error {
 public:
  using Error::Error;
};

class Processes {
 public:
  /// This one only: every exchange gives back what it is given.
  static std::shared_ptr<Processes> alone();
  /// Waits for all others. `timeout` bounds this and every later exchange. Throws Error naming who did not come, or
  /// ConnectionLost where another process tells of that.
  static std::shared_ptr<Processes> join(const Place& place, std::chrono::seconds timeout);
  virtual ~Processes() = default;

  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  bool first() const { return rank() == 0; }
  /// Processes on this machine, and which of them this is.
  virtual int local_size() const { return 1; }
  virtual int local_rank() const { return 0; }

  // Exchanges. All throw ConnectionLost.

  /// The sum over the processes, in place. Of a CPU tensor.
  virtual void sum(const at::Tensor& /*tensor*/) {}
  /// Everybody's text, by rank.
  virtual std::vector<std::string> gather(const std::string& mine) { return {mine}; }
  /// Everybody's tensor, by rank, on the CPU: of one type, of any sizes with the same number of dimensions.
  virtual std::vector<at::Tensor> gather(const at::Tensor& mine) { return {mine}; }
  /// The text of rank 0.
  std::string of_first(const std::string& mine) { return gather(first() ? mine : std::string()).front(); }
  /// Rows of all ranks one after another.
  at::Tensor gather_rows(const at::Tensor& mine) { return size() == 1 ? mine : at::cat(gather(mine)); }
  bool any(bool mine);
  /// Nobody goes on before all have come.
  void barrier() { any(false); }
  /// Runs `work`, which exchanges nothing; an Error that it throws in one process is AgreedError in all, naming the
  /// rank.
  void agree(const std::function<void()>& work);
  /// Throws AgreedError when `fingerprint` of `what`, a short text, is not the same everywhere, naming the ranks of
  /// the fewest.
  void check_equal(const std::string& what, const std::string& fingerprint, const std::string& hint = {});

  /// What this process is at: told by others when it does not come. The text must be a literal.
  virtual void at_work(const char* /*activity*/) {}

  /// Counts an exchange that goes past this class.
  virtual void exchanging() {}

  /// To be called once something was thrown: whether this process is the one to print `message`. When `lost`, the
  /// fault is another's, and `message` is replaced by what is known of it.
  virtual bool speaks(std::string& /*message*/, bool /*lost*/) { return true; }

  /// For gradients on `device`; null when alone.
  virtual c10::intrusive_ptr<c10d::ProcessGroup> group(at::DeviceType device);
};

}  // namespace clipself::distributed
