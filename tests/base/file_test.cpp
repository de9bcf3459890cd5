#include "clipself/base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clipself/base/error.h"

namespace clipself {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class File : public ::testing::Test {
 protected:
  File() {
    std::string name = (fs::temp_directory_path() / "clipself-file-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
  }
  ~File() override { fs::remove_all(folder_); }

  // Written and read by the standard library, so that the code under test does not vouch for itself.
  void put(const fs::path& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string get(const fs::path& name) const {
    std::ifstream stream(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  fs::path folder_;
};

using MappedFileTest = File;
using AtomicFileTest = File;
using RequireTest = File;

TEST_F(MappedFileTest, ShowsTheWholeFile) {
  const std::string content = "one\0two\n"s + std::string(10'000, 'x');
  put("a", content);
  const MappedFile file(folder_ / "a");
  EXPECT_EQ(file.text(), content);
  EXPECT_EQ(file.size(), content.size());
  EXPECT_EQ(read_text(folder_ / "a"), content);
}

TEST_F(MappedFileTest, AnEmptyFileIsEmpty) {
  put("empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

// Of nothing, read at once and mapped, with the last page full, nearly full and hardly begun.
TEST_F(MappedFileTest, ZerosCanBeReadBehindTheEnd) {
  constexpr std::size_t kMapped = std::size_t{65} << 20, kPage = 4096;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kPage - 1, kPage, kMapped, kMapped + 1, kMapped + kPage - 1}) {
    put("a", "{");
    std::filesystem::resize_file(folder_ / "a", size);
    const MappedFile file(folder_ / "a");
    ASSERT_EQ(file.size(), size);
    EXPECT_EQ(file.text().substr(0, 1), size == 0 ? "" : "{");
    const std::byte* behind = file.bytes().data() + size;
    EXPECT_TRUE(std::all_of(behind, behind + MappedFile::kPadding, [](std::byte each) { return each == std::byte{0}; }))
        << "of " << size << " bytes";
  }
}

TEST_F(MappedFileTest, TheOwnerKeepsTheBytesAlive) {
  put("a", "still here");
  std::optional<MappedFile> file(folder_ / "a");
  const auto owner = file->owner();
  const auto text = file->text();
  file.reset();
  EXPECT_EQ(text, "still here");
}

TEST_F(MappedFileTest, WritingToTheMappingDoesNotReachTheFile) {
  put("a", "before");
  const MappedFile file(folder_ / "a");
  file.private_bytes()[0] = std::byte{'X'};
  EXPECT_EQ(file.text(), "Xefore");
  EXPECT_EQ(get("a"), "before");
}

TEST_F(MappedFileTest, APipeIsRefusedAtOnce) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(message_of([&] { MappedFile(pipe).size(); }).find("not a regular file"), std::string::npos);
}

// Of a file that is mapped, not read: its end goes while it is in use.
TEST_F(MappedFileTest, AMappingThatLosesItsFileEndsTheProgramWithOneLine) {
  constexpr std::uintmax_t kSize = (std::uintmax_t{64} << 20) + 1;
  const auto big = folder_ / "big";
  std::ofstream(big) << "x";
  fs::resize_file(big, kSize);
  const auto lose = [&] {
    explain_bus_errors();
    const MappedFile mapped(big);
    fs::resize_file(big, 1);
    std::exit(static_cast<int>(mapped.bytes()[kSize / 2]));
  };
  EXPECT_EXIT(lose(), ::testing::ExitedWithCode(2), "^clipself: error: reading file '.*big': it became shorter");
}

using FolderLockTest = File;

TEST_F(FolderLockTest, KeepsAFolderForOne) {
  {
    const FolderLock first(folder_, "--name");
    EXPECT_NE(message_of([&] { FolderLock(folder_, "--name"); }).find("another process that writes there"),
              std::string::npos);
  }
  EXPECT_EQ(message_of([&] { FolderLock(folder_, "--name"); }), "no error");
}

TEST_F(MappedFileTest, NamesTheFileThatCannotBeOpened) {
  const auto missing = (folder_ / "missing").string();
  EXPECT_EQ(message_of([&] { MappedFile file(missing); }),
            "opening file '" + missing + "': found No such file or directory");
  EXPECT_EQ(message_of([&] { MappedFile file(folder_); }),
            "opening file '" + folder_.string() + "': found a folder; expected a file");
  const auto device = message_of([] { MappedFile file("/dev/null"); });
  EXPECT_NE(device.find("'/dev/null': found something that is not a regular file"), std::string::npos) << device;
}

TEST_F(AtomicFileTest, TheOldContentStandsUntilCommit) {
  put("a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("new, in ");
    EXPECT_EQ(get("a"), "old");
    file.write("two parts");
    EXPECT_EQ(file.position(), 17U);
    file.commit();
  }
  EXPECT_EQ(get("a"), "new, in two parts");
  EXPECT_EQ(listing(), std::vector<std::string>{"a"});
}

TEST_F(AtomicFileTest, WithoutCommitNothingIsLeftBehind) {
  put("a", "old");
  const auto interrupted = [&](const char* name) {
    AtomicFile file(folder_ / name);
    file.write("half");
    throw std::runtime_error("interrupted");
  };
  EXPECT_THROW(interrupted("a"), std::runtime_error);
  EXPECT_THROW(interrupted("b"), std::runtime_error);
  EXPECT_EQ(get("a"), "old");
  EXPECT_EQ(listing(), std::vector<std::string>{"a"});
}

TEST_F(AtomicFileTest, MakesMissingFolders) {
  write_text(folder_ / "one" / "two" / "a", "text");
  EXPECT_EQ(get("one/two/a"), "text");
}

TEST_F(AtomicFileTest, GivesThePermissionsThatTheUserAskedFor) {
  const mode_t before = ::umask(027);
  write_text(folder_ / "a", "text");
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
}

// /proc and paths through a file refuse even the superuser, who may run this test.
TEST_F(AtomicFileTest, NamesThePathThatCannotBeWritten) {
  put("a", "a file");
  const auto through = (folder_ / "a" / "b").string();
  EXPECT_NE(message_of([&] { AtomicFile file(through); }).find("'" + (folder_ / "a").string() + "'"),
            std::string::npos);
  EXPECT_NE(message_of([&] { AtomicFile file("/proc/clipself"); }).find("writing file '/proc/clipself': found "),
            std::string::npos);
  EXPECT_EQ(message_of([&] { AtomicFile file(folder_); }),
            "writing file '" + folder_.string() + "': found a folder of that name; expected a file name");
  EXPECT_EQ(listing(), std::vector<std::string>{"a"});
}

// A limit on the size of files stands in for a full disk: write() fails half-way in both cases.
TEST_F(AtomicFileTest, AFullDiskIsAnErrorThatLeavesTheOldContent) {
  put("a", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 1 << 16;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto message = message_of([&] { write_text(folder_ / "a", std::string(1 << 20, 'x')); });
  std::signal(SIGXFSZ, handler);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(message, "writing file '" + (folder_ / "a").string() + "': found File too large");
  EXPECT_EQ(get("a"), "old");
  EXPECT_EQ(listing(), std::vector<std::string>{"a"});
}

TEST_F(RequireTest, AWritableFolderIsMadeAndLeftEmpty) {
  require_writable_folder(folder_ / "new" / "logs");
  EXPECT_TRUE(fs::is_empty(folder_ / "new" / "logs"));
  EXPECT_NE(message_of([] { require_writable_folder("/proc"); }).find("/proc"), std::string::npos);
  EXPECT_NE(message_of([] { require_writable_folder("/dev/null/x"); }).find("creating folder '/dev/null/x'"),
            std::string::npos);
}

TEST_F(RequireTest, AFileIsAskedForByTheNameOfItsFlag) {
  put("a.json", "{}");
  EXPECT_NO_THROW(require_file(folder_ / "a.json", "--train-data"));
  EXPECT_EQ(message_of([] { require_file("", "--train-data"); }),
            "--train-data: found nothing; expected a file's path");
  const auto missing = (folder_ / "b.json").string();
  EXPECT_EQ(message_of([&] { require_file(missing, "--train-data"); }),
            "--train-data '" + missing + "': found no such file; expected a readable file");
  EXPECT_EQ(message_of([&] { require_file(folder_, "--train-data"); }),
            "--train-data '" + folder_.string() + "': found a folder; expected a file");
}

TEST_F(RequireTest, AFolderIsAskedForByTheNameOfItsFlag) {
  put("a", "");
  EXPECT_NO_THROW(require_folder(folder_, "--train-image-root"));
  EXPECT_EQ(message_of([&] { require_folder(folder_ / "a", "--train-image-root"); }),
            "--train-image-root '" + (folder_ / "a").string() + "': found a file; expected a folder");
  EXPECT_EQ(message_of([&] { require_folder(folder_ / "b", "--train-image-root"); }),
            "--train-image-root '" + (folder_ / "b").string() + "': found no such folder; expected a folder");
}

}  // namespace
}  // namespace clipself
