#include "clipself/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>
#include <string_view>

#include "clipself/base/error.h"

namespace clipself {

namespace {

/// "warning: " or "error: " before what is not just information.
class LevelWord : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string_view word = message.level >= spdlog::level::err    ? "error: "
                                  : message.level == spdlog::level::warn ? "warning: "
                                                                         : "";
    out.append(word.data(), word.data() + word.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<LevelWord>(); }
};

}  // namespace

void start_logging() {
  auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>("clipself", std::move(console));
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelWord>('*').set_pattern("[%H:%M:%S] %^%*%v%$");
  logger->set_formatter(std::move(formatter));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void name_process(int rank) {
  if (rank == 0) return;
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelWord>('*').set_pattern("[%H:%M:%S] rank " + std::to_string(rank) + ": %^%*%v%$");
  spdlog::default_logger()->set_formatter(std::move(formatter));
  spdlog::default_logger()->set_level(spdlog::level::err);
}

void show_warnings() {
  if (!spdlog::should_log(spdlog::level::warn)) spdlog::default_logger()->set_level(spdlog::level::warn);
}

void add_log_file(const std::filesystem::path& file) try {
  constexpr std::size_t kLargest = std::size_t{16} << 20, kOlder = 3;
  auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file.string(), kLargest, kOlder);
  sink->set_pattern("%Y-%m-%d %H:%M:%S | %l | %v");
  spdlog::default_logger()->sinks().push_back(std::move(sink));
} catch (const spdlog::spdlog_ex& error) {
  throw Error({.doing = "opening log file", .where = file.string(), .found = error.what()});
}

}  // namespace clipself
