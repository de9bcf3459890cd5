#include "clipself/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include "clipself/base/error.h"

namespace clipself {

void start_logging() {
  auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>("clipself", std::move(console));
  logger->set_pattern("[%H:%M:%S] %^%v%$");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void add_log_file(const std::filesystem::path& file) try {
  auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
  sink->set_pattern("%Y-%m-%d %H:%M:%S | %l | %v");
  spdlog::default_logger()->sinks().push_back(std::move(sink));
} catch (const spdlog::spdlog_ex& error) {
  throw Error({.doing = "opening log file", .where = file.string(), .found = error.what()});
}

}  // namespace clipself
