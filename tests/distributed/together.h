// Several processes of a job, played by threads.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "clipself/distributed/processes.h"

namespace clipself::distributed {

/// A port in use while this lives.
class TakenPort {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 1), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    number_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  std::uint16_t number() const { return number_; }

 private:
  int socket_;
  std::uint16_t number_ = 0;
};

/// A port that was free a moment ago.
inline std::uint16_t free_port() {
  return TakenPort().number();
}

/// Runs `work` as each rank of `count`, and rethrows what the first of them threw.
inline void run_as(int count, const std::function<void(const std::shared_ptr<Processes>&)>& work) {
  Place place;
  place.world_size = place.local_size = count;
  place.port = free_port();
  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(count));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < count; ++rank)
    threads.emplace_back([&, rank] {
      auto own = place;
      own.rank = own.local_rank = rank;
      at::set_num_threads(1);  // of this thread: together they would wait for each other's
      try {
        const auto processes = Processes::join(own, std::chrono::seconds(60));
        work(processes);
        processes->barrier();
      } catch (...) {
        thrown[static_cast<std::size_t>(rank)] = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& one : thrown)
    if (one) std::rethrow_exception(one);
}

}  // namespace clipself::distributed
