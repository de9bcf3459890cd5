// Runs a fuzz target without libFuzzer:
//
//   fuzz_NAME FOLDER...                          every file below the folders, as it is
//   fuzz_NAME --mutate N --seed S FOLDER...      N damaged versions of them, the same ones for the same S
//
// An input that fails is kept in the current folder as failed-fuzz_NAME.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "clipself/base/log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kLargestInput = 1 << 16;
constexpr unsigned kSecondsAnInput = 20;
constexpr rlim_t kMemory = rlim_t{1} << 30;  // beyond what the program has when it starts

/// What a signal's handler needs.
struct Current {
  const Bytes* input = nullptr;
  std::string kept_as;
} current;

void keep_input() {
  std::FILE* file = std::fopen(current.kept_as.c_str(), "wb");
  if (file == nullptr) return;
  std::fwrite(current.input->data(), 1, current.input->size(), file);
  std::fclose(file);
}

[[noreturn]] void give_up(const char* why) {
  keep_input();
  std::fprintf(stderr, "%s; the input is in %s\n", why, current.kept_as.c_str());
  std::_Exit(1);
}

void on_signal(int number) {
  give_up(number == SIGALRM ? "an input takes too long" : number == SIGSEGV ? "a crash" : "an abort");
}

void run(const Bytes& input, const std::string& name) {
  current.input = &input;
  ::alarm(kSecondsAnInput);
  try {
    // A copy of exactly that size, so that memory checkers see who reads past it.
    const auto exact = std::make_unique<std::uint8_t[]>(std::max<std::size_t>(input.size(), 1));
    std::copy(input.begin(), input.end(), exact.get());
    LLVMFuzzerTestOneInput(exact.get(), input.size());
  } catch (const std::exception& error) {
    give_up((name + ": an exception that is no clipself::Error: " + error.what()).c_str());
  }
  ::alarm(0);
}

class Mutator {
 public:
  Mutator(const std::vector<Bytes>& corpus, std::uint64_t seed) : corpus_(corpus), random_(seed) {}

  Bytes next() {
    Bytes bytes = corpus_[below(corpus_.size())];
    for (std::size_t left = 1 + below(4); left > 0; --left) change(bytes);
    if (bytes.size() > kLargestInput) bytes.resize(kLargestInput);
    return bytes;
  }

 private:
  // Not std::uniform_int_distribution, which differs between libraries.
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }

  void change(Bytes& bytes) {
    if (bytes.empty()) return bytes.push_back(static_cast<std::uint8_t>(below(256)));
    const std::size_t at = below(bytes.size());
    const std::size_t length = 1 + below(std::min<std::size_t>(bytes.size() - at, 64));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(length);
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << below(8)));
        return;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(below(256));
        return;
      case 2:
        bytes.resize(at);
        return;
      case 3:
        bytes.erase(begin, end);
        return;
      case 4: {  // a chunk twice
        const Bytes chunk(begin, end);
        const auto to = static_cast<std::ptrdiff_t>(below(bytes.size() + 1));
        bytes.insert(bytes.begin() + to, chunk.begin(), chunk.end());
        return;
      }
      case 5: {  // from here on another file
        const Bytes& other = corpus_[below(corpus_.size())];
        const std::size_t from = below(other.size() + 1);
        bytes.resize(at);
        bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        return;
      }
      default:
        overwrite(bytes, at);
    }
  }

  /// An integer at the edge of its type, of 1, 2, 4 or 8 bytes.
  void overwrite(Bytes& bytes, std::size_t at) {
    constexpr std::array<std::uint64_t, 12> kEdges{0,
                                                   1,
                                                   0x7f,
                                                   0x80,
                                                   0x7fff,
                                                   0xffff,
                                                   0x10000,
                                                   0x7fffffff,
                                                   0xffffffff,
                                                   std::uint64_t{1} << 32,
                                                   ~std::uint64_t{0} >> 1,
                                                   ~std::uint64_t{0}};
    const std::uint64_t edge = kEdges[below(kEdges.size())];
    const std::size_t width = std::min(std::size_t{1} << below(4), bytes.size() - at);
    std::memcpy(bytes.data() + at, &edge, width);
  }

  const std::vector<Bytes>& corpus_;
  std::mt19937_64 random_;
};

std::vector<fs::path> files_below(const std::vector<fs::path>& folders) {
  std::vector<fs::path> files;
  for (const auto& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

Bytes read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// So that a bomb is refused memory instead of exhausting the machine. Sanitizers reserve terabytes: they have limits
/// of their own.
void limit_memory() {
#ifndef __SANITIZE_ADDRESS__
  std::ifstream pages("/proc/self/statm");
  rlim_t used = 0;
  pages >> used;
  const rlim_t limit = used * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kMemory;
  const rlimit both{limit, limit};
  ::setrlimit(RLIMIT_AS, &both);
#endif
}

[[noreturn]] void usage(const char* program) {
  std::fprintf(stderr, "usage: %s [--mutate N] [--seed S] FOLDER...\n", program);
  std::exit(2);
}

}  // namespace

int main(int count, char** arguments) {
  std::uint64_t mutations = 0, seed = 1;
  std::vector<fs::path> folders;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument != "--mutate" && argument != "--seed") {
      if (argument.starts_with("-") || !fs::exists(argument)) usage(arguments[0]);
      folders.emplace_back(argument);
      continue;
    }
    if (++i == count) usage(arguments[0]);
    const std::string_view number = arguments[i];
    auto& value = argument == "--seed" ? seed : mutations;
    if (std::from_chars(number.data(), number.data() + number.size(), value).ec != std::errc()) usage(arguments[0]);
  }
  const auto files = files_below(folders);
  if (files.empty()) usage(arguments[0]);

  spdlog::set_level(spdlog::level::off);
  current.kept_as = "failed-" + fs::path(arguments[0]).filename().string();
  for (const int number : {SIGSEGV, SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL}) std::signal(number, on_signal);
  limit_memory();

  std::vector<Bytes> corpus;
  for (const auto& file : files) {
    corpus.push_back(read_bytes(file));
    if (mutations == 0) run(corpus.back(), file.string());
  }
  Mutator mutator(corpus, seed);
  for (std::uint64_t i = 0; i < mutations; ++i) run(mutator.next(), "mutation " + std::to_string(i));
  std::printf("%zu files, %llu mutations\n", files.size(), static_cast<unsigned long long>(mutations));
  return 0;
}
