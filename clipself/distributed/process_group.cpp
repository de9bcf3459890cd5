// Processes::join: c10d's groups behind the interface.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "clipself/base/error.h"
#include "clipself/distributed/processes.h"
#include "clipself/distributed/watch.h"

namespace clipself::distributed {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Without the place in Gloo's source.
std::string gist(std::string_view message) {
  const auto text = first_line(message);
  return text.starts_with("[enforce fail at ") ? text.substr(text.find("] ") + 2) : text;
}

/// The address of this machine's by which it reaches `host`: others reach it by that one too. A host's name, as it is
/// resolved by itself, is often that of the loopback.
std::string own_address_towards(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  std::string address;
  for (const addrinfo* each = found; each != nullptr && address.empty(); each = each->ai_next) {
    const int udp = ::socket(each->ai_family, each->ai_socktype, 0);
    if (udp < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof(own);
    std::array<char, NI_MAXHOST> name{};
    // Connecting a datagram socket sends nothing: it only finds the way.
    if (::connect(udp, each->ai_addr, each->ai_addrlen) == 0 &&
        ::getsockname(udp, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        ::getnameinfo(reinterpret_cast<const sockaddr*>(&own), length, name.data(), name.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0)
      address = name.data();
    ::close(udp);
  }
  ::freeaddrinfo(found);
  return address;
}

bool is_known(const std::string& host) {
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, nullptr, &found) != 0) return false;
  ::freeaddrinfo(found);
  return true;
}

// c10d logs what it also throws, with its stack.
void settle_process() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
    std::signal(SIGPIPE, SIG_IGN);  // a connection that another has closed is an error of an exchange, not the end
  });
}

c10::intrusive_ptr<c10d::Store> connect(const Place& place, bool host, std::chrono::seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = host;
  options.waitWorkers = false;
  options.timeout = timeout;
  try {
    return c10::make_intrusive<c10d::PrefixStore>("clipself" + place.attempt,
                                                  c10::make_intrusive<c10d::TCPStore>(place.address, options));
  } catch (const std::exception& error) {
    const std::string text = gist(error.what());
    const auto where = fmt::format("{}:{}", place.address, place.port);
    if (host && text.find("EADDRINUSE") != std::string::npos) {
      throw Error({.doing = "joining the processes of a job",
                   .where = where,
                   .found = "a port that is in use",
                   .expected = "a free one",
                   .hint = "another MASTER_PORT, the same for all processes"});
    }
    throw Error({.doing = "joining the processes of a job",
                 .where = where,
                 .found = !is_known(place.address) ? "no such host"
                          : host                   ? text
                                                   : fmt::format("no answer within {} s", timeout.count()),
                 .expected = host ? "an address of this machine" : "rank 0 there",
                 .hint = "are MASTER_ADDR and MASTER_PORT those of rank 0?"});
  }
}

/// The others fail alike, a moment before or after: one of a machine throws Error, the rest ConnectionLost.
[[noreturn]] void tell_once(const std::string& job, const Error& error) {
  if (!claim_the_word(job)) throw ConnectionLost(error.what());
  std::this_thread::sleep_for(kSilence);
  throw error;
}

/// Returns everybody's name by rank, once all are there.
std::vector<std::string> meet(c10d::Store& store, const Place& place, std::chrono::seconds timeout) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto key = [](int rank) { return "joined/" + std::to_string(rank); };
  const auto me = fmt::format("rank {} (process {} on {})", place.rank, ::getpid(), host.data());
  if (const auto other = as_text(store.compareSet(key(place.rank), {}, as_bytes(me))); other != me) {
    throw Error({.doing = "joining the processes of a job",
                 .where = "rank " + std::to_string(place.rank),
                 .found = "another of that number, " + other,
                 .expected = "each number once",
                 .hint = "a job of its own needs a MASTER_PORT of its own"});
  }
  store.add("joined", 1);
  const auto until = Clock::now() + timeout;
  while (store.add("joined", 0) < place.world_size) {
    if (Clock::now() > until) {
      std::string missing;
      for (int rank = 0; rank < place.world_size; ++rank)
        if (!store.check({key(rank)})) missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
      throw Error({.doing = "joining the processes of a job",
                   .where = fmt::format("rank {}", place.rank),
                   .found = fmt::format("no rank {} within {} s", missing, timeout.count()),
                   .expected = fmt::format("{} processes", place.world_size)});
    }
    if (has_failed(store)) throw ConnectionLost("another process failed");
    std::this_thread::sleep_for(50ms);
  }
  std::vector<std::string> names;
  for (int rank = 0; rank < place.world_size; ++rank) names.push_back(as_text(store.get(key(rank))));
  return names;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

/// Of this machine; empty when it has only the loopback.
std::string any_address() {
  ifaddrs* all = nullptr;
  std::string address;
  if (::getifaddrs(&all) != 0) return address;
  for (const ifaddrs* each = all; each != nullptr && address.empty(); each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET || (each->ifa_flags & IFF_UP) == 0) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr, text.data(), text.size());
    if (!is_loopback(text.data())) address = text.data();
  }
  ::freeifaddrs(all);
  return address;
}

c10::intrusive_ptr<c10d::Backend> gloo(const c10::intrusive_ptr<c10d::Store>& store, const std::string& purpose,
                                       const Place& place, std::chrono::seconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  auto own = own_address_towards(place.address, place.port);
  // A host resolves its own name to the loopback, where no other machine finds it.
  if (is_loopback(own) && place.local_size < place.world_size) own = any_address();
  if (interface != nullptr)
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
  else
    options->devices.push_back(own.empty() ? c10d::ProcessGroupGloo::createDefaultDevice()
                                           : c10d::ProcessGroupGloo::createDeviceForHostname(own));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>(purpose, store), place.rank,
                                                     place.world_size, options);
}

class Group : public Processes {
 public:
  Group(const Place& place, std::chrono::seconds timeout) : place_(place), timeout_(timeout) {
    const auto job = job_name(place);
    std::vector<std::string> names;
    try {
      store_ = connect(place, place.rank == 0 && !place.launcher_hosts, timeout);
      names = meet(*store_, place, timeout);
      watch_ = std::make_unique<Watch>(connect(place, false, timeout), place.rank, names, !place.launcher_hosts, job);
    } catch (const Error& error) {
      tell_once(job, error);
    } catch (const c10::DistError& error) {
      tell_once(job, Error({.doing = "joining the processes of a job",
                            .where = fmt::format("{}:{}", place.address, place.port),
                            .found = "no answer any more (" + gist(error.what()) + ")",
                            .expected = "rank 0 there"}));
    }
    try {
      control_ = gloo(store_, "control", place, timeout);
    } catch (const std::exception& error) {
      std::string message = Error({.doing = "joining the processes of a job",
                                   .where = names[static_cast<std::size_t>(place.rank)],
                                   .found = gist(error.what()),
                                   .expected = "a way to every other process",
                                   .hint = "GLOO_SOCKET_IFNAME names the network to use"})
                                .what();
      if (!watch_->speaks(message, /*lost=*/true)) throw ConnectionLost(message);
      throw Error(message);
    }
  }

  int rank() const override { return place_.rank; }
  int size() const override { return place_.world_size; }
  int local_size() const override { return place_.local_size; }
  int local_rank() const override { return place_.local_rank; }

  void sum(const at::Tensor& tensor) override {
    exchange([&] {
      std::vector<at::Tensor> one{tensor};
      control_->allreduce(one)->wait();
    });
  }

  std::vector<std::string> gather(const std::string& mine) override {
    const auto bytes = at::empty({static_cast<std::int64_t>(mine.size())}, at::kByte);
    std::copy(mine.begin(), mine.end(), reinterpret_cast<char*>(bytes.mutable_data_ptr<std::uint8_t>()));
    std::vector<std::string> texts;
    for (const auto& one : gather_bytes(bytes))
      texts.emplace_back(reinterpret_cast<const char*>(one.const_data_ptr<std::uint8_t>()),
                         static_cast<std::size_t>(one.numel()));
    return texts;
  }

  std::vector<at::Tensor> gather(const at::Tensor& mine) override {
    const auto sent = mine.detach().to(at::kCPU).contiguous();
    const auto sizes = all_gather(at::tensor(sent.sizes(), at::kLong));
    const auto bytes =
        gather_bytes(at::from_blob(sent.data_ptr(), {static_cast<std::int64_t>(sent.nbytes())}, at::kByte));
    std::vector<at::Tensor> tensors;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto* shape = sizes[i].const_data_ptr<std::int64_t>();
      tensors.push_back(at::empty(at::IntArrayRef(shape, static_cast<std::size_t>(sent.dim())), sent.options()));
      if (bytes[i].numel() > 0) std::memcpy(tensors.back().data_ptr(), bytes[i].data_ptr(), tensors.back().nbytes());
    }
    return tensors;
  }

  void at_work(const char* activity) override { watch_->at_work(activity); }
  void exchanging() override { watch_->count_exchange(); }
  bool speaks(std::string& message, bool lost) override { return watch_->speaks(message, lost); }

  c10::intrusive_ptr<c10d::ProcessGroup> group(at::DeviceType device) override {
    auto& group = groups_[device];
    if (group) return group;
    const auto purpose = fmt::format("gradients/{}", static_cast<int>(device));
    const auto type = device == at::kCPU ? c10d::ProcessGroup::GLOO : c10d::ProcessGroup::NCCL;
    const auto store = c10::make_intrusive<c10d::PrefixStore>(purpose, store_);
    group = c10::make_intrusive<c10d::ProcessGroup>(store, rank(), size());
    group->setDefaultBackend(type);
    exchange([&] {
      group->setBackend(device, type, device == at::kCPU ? gloo(store_, purpose, place_, timeout_) : nccl(store));
    });
    return group;
  }

 private:
  c10::intrusive_ptr<c10d::Backend> nccl([[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store) const {
#ifdef USE_C10D_NCCL
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout_;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank(), size(), options);
#else
    throw Error({.doing = "joining the processes of a job",
                 .where = "--device cuda",
                 .found = "a build without NCCL",
                 .expected = "one process",
                 .hint = "a build that finds the headers of NCCL and CUDA has it"});
#endif
  }

  // What goes wrong below is of many types, and none says whose fault it was.
  template <typename Work>
  void exchange(const Work& work) {
    exchanging();
    watch_->set_waiting(true);
    const struct Working {
      Watch& watch;
      ~Working() { watch.set_waiting(false); }
    } afterwards{*watch_};
    try {
      work();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw ConnectionLost(gist(error.what()));
    }
  }

  // Of tensors of one size.
  std::vector<at::Tensor> all_gather(const at::Tensor& mine) {
    std::vector<std::vector<at::Tensor>> all(1);
    for (int i = 0; i < size(); ++i) all[0].push_back(at::empty_like(mine));
    if (mine.numel() == 0) return all[0];
    exchange([&] {
      std::vector<at::Tensor> one{mine};
      control_->allgather(all, one)->wait();
    });
    return all[0];
  }

  std::vector<at::Tensor> gather_bytes(const at::Tensor& mine) {
    const auto lengths = at::cat(all_gather(at::full({1}, mine.numel(), at::kLong)));
    const auto padded = at::zeros({lengths.max().item<std::int64_t>()}, at::kByte);
    padded.narrow(0, 0, mine.numel()).copy_(mine);
    auto all = all_gather(padded);
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = all[i].narrow(0, 0, lengths.const_data_ptr<std::int64_t>()[i]);
    return all;
  }

  Place place_;
  std::chrono::seconds timeout_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<Watch> watch_;
  c10::intrusive_ptr<c10d::Backend> control_;
  std::map<at::DeviceType, c10::intrusive_ptr<c10d::ProcessGroup>> groups_;
};

}  // namespace

std::shared_ptr<Processes> Processes::join(const Place& place, std::chrono::seconds timeout) {
  if (place.world_size == 1) return alone();
  settle_process();
  return std::make_shared<Group>(place, timeout);
}

}  // namespace clipself::distributed
