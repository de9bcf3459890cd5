// Messages for people: spdlog on stderr and, when asked, in a file. Results go to stdout and never through here.
#pragma once

#include <spdlog/spdlog.h>

#include <filesystem>

namespace clipself {

/// Sends spdlog's default logger to stderr ("[time] message", level named from warnings up). Call once at start-up.
void start_logging();
/// From here on this is one of several processes: the first logs as before, the others nothing that the first logs too
/// but errors, with their rank.
void name_process(int rank);
/// From here on warnings of others than the first are their own: they are logged too.
void show_warnings();
/// Adds `file` (appended to, parents created; from 16 MB on it is moved to FILE.1.EXT, up to three such are kept) as a
/// second place for every later message. Throws Error when it cannot be opened.
void add_log_file(const std::filesystem::path& file);

}  // namespace clipself
