#include "clipself/base/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "clipself/base/error.h"

namespace clipself {
namespace {

namespace fs = std::filesystem;

// Each test runs in a process of its own under ctest; started together, the second start_logging() begins afresh.
TEST(Log, AFileGetsTheMessagesAddedAfterItAndKeepsWhatItHeld) {
  const fs::path folder = fs::temp_directory_path() / ("clipself-log-" + std::to_string(::getpid()));
  const fs::path file = folder / "run" / "train.log";
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "an earlier run\n";
  testing::internal::CaptureStderr();
  start_logging();
  spdlog::info("before");
  add_log_file(file);
  spdlog::warn("after");
  start_logging();  // lets go of the file
  const std::string console = testing::internal::GetCapturedStderr();
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  fs::remove_all(folder);

  EXPECT_EQ(text.rfind("an earlier run\n", 0), 0U) << text;
  EXPECT_EQ(text.find("before"), std::string::npos) << text;
  EXPECT_NE(text.find("| warning | after\n"), std::string::npos) << text;
  EXPECT_NE(console.find("before"), std::string::npos) << console;
  EXPECT_NE(console.find("after"), std::string::npos) << console;
}

TEST(Log, AFileThatCannotBeOpenedIsNamed) {
  start_logging();
  try {
    add_log_file("/proc/clipself.log");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("opening log file '/proc/clipself.log': found "), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace clipself
