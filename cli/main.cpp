// clipself: the command-line program. Exit code 0: done; 1: a defect of ours or a failed check; 2: a user's mistake or
// bad input; 128+n: stopped by signal n after saving.
#include <c10/util/Logging.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/file.h"
#include "clipself/base/log.h"
#include "clipself/distributed/place.h"
#include "clipself/distributed/watch.h"
#include "clipself/ops/cpu/level.h"

namespace {

using clipself::Error;
using clipself::first_line;
namespace distributed = clipself::distributed;

void print_error(const std::string& message) {
  std::fprintf(stderr, "clipself: error: %s\n", message.c_str());
}

/// Of a job's processes, which are most often all given the same, one of a machine tells what is wrong with the command
/// line. (With --nproc it was looked at before they were started.)
void print_usage_error(const std::string& message) {
  std::optional<distributed::Place> place;
  try {
    place = distributed::find_place();
  } catch (const Error&) {  // one mistake at a time
  }
  if (!place) return print_error(message);
  if (!distributed::claim_the_word(distributed::job_name(*place))) return;
  print_error(fmt::format("rank {}: {}", place->rank, message));
  std::this_thread::sleep_for(distributed::kSilence);
}

/// Edits (insertions, deletions, exchanges) from one word to the other.
std::size_t distance(const std::string& from, const std::string& to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t exchanged = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, exchanged}));
    }
  }
  return row.back();
}

/// " (hint: did you mean ...?)" for a word that is close to one of `known`.
std::string suggestion(const std::string& word, const std::vector<std::string>& known, const std::string& otherwise) {
  const auto best = std::min_element(
      known.begin(), known.end(), [&](const auto& a, const auto& b) { return distance(word, a) < distance(word, b); });
  const bool close = best != known.end() && distance(word, *best) <= 1 + word.size() / 4;
  return close ? " (hint: did you mean " + *best + "?)" : " (hint: see " + otherwise + ")";
}

/// CLI11 says neither what was meant nor, when a command is missing, what stood in its place.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto commands = app.get_subcommands();
  auto strays = app.remaining(/*recurse=*/true);
  const bool unknown_flag =
      std::any_of(strays.begin(), strays.end(), [](const auto& text) { return text.starts_with("--"); });
  const auto all = [](const CLI::App*) { return true; };
  // A command of commands, and none of them named.
  const CLI::App* last = commands.empty() ? nullptr : commands[0];
  while (last != nullptr && !last->get_subcommands().empty()) last = last->get_subcommands()[0];
  const bool lacks_command = last != nullptr && !last->get_subcommands(all).empty();
  if (lacks_command && strays.empty()) {
    std::string names;
    for (const auto* nested : last->get_subcommands(all)) names += (names.empty() ? "" : ", ") + nested->get_name();
    return fmt::format("'clipself {}' needs a command of its own: {}", last->get_name(), names);
  }
  const bool about_strays = lacks_command || dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
                            (unknown_flag && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr);
  if (strays.empty() || (!commands.empty() && !about_strays))
    return first_line(error.what()) + " (hint: see 'clipself --help' or 'clipself COMMAND --help')";
  std::vector<std::string> known;
  if (commands.empty()) {
    for (const auto* command : app.get_subcommands(all)) known.push_back(command->get_name());
    return "no command or flag '" + strays.front() + "'" + suggestion(strays.front(), known, "'clipself --help'");
  }
  const CLI::App* command = commands[0];
  std::string name = command->get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands()[0];
    name += " " + command->get_name();
  }
  for (const auto* nested : command->get_subcommands(all)) known.push_back(nested->get_name());
  for (const auto* option : command->get_options())
    for (const auto& name : option->get_lnames()) known.push_back("--" + name);
  // A flag is behind the values that nobody took, or before them; it is what was mistaken.
  auto stray = std::find_if(strays.begin(), strays.end(), [](const auto& text) { return text.starts_with("-"); });
  // Of a command of commands it is the command that is mistaken.
  if (!known.empty() && !known.front().starts_with("-") && !strays.front().starts_with("-")) stray = strays.begin();
  if (stray == strays.end()) stray = strays.begin();
  const std::string word = stray->substr(0, stray->find('='));
  return fmt::format("{} '{}' is not known to 'clipself {}'", word.starts_with("-") ? "the flag" : "the argument", word,
                     name) +
         suggestion(word, known, "'clipself " + name + " --help'");
}

}  // namespace

int main(int argc, char** argv) {
  using namespace clipself;
  // LibTorch 2.13 comes with this set, and then aborts where memory runs out.
  FLAGS_caffe2_use_fatal_for_enforce = false;
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may grow no more is an error of writing it
  explain_bus_errors();
  start_logging();
  CLI::App app("clipself: make CLIP vision transformers see where things are", "clipself");
  app.set_version_flag("--version", "clipself 0.1.0");
  app.require_subcommand(1);
  app.footer(
      "'clipself COMMAND --help' explains a command. First time here: 'clipself quickstart'.\n"
      "CLIPSELF_CPU=generic|avx2|avx512|amx in the environment: use no more of the processor than this.");
  cli::add_quickstart(app);
  cli::add_train(app);
  cli::add_eval(app);
  cli::add_visualize(app);
  cli::add_classify(app);
  cli::add_verify(app);
  cli::add_embed_text(app);
  cli::add_info(app);
  cli::add_convert(app);
  cli::add_prepare(app);
  cli::add_detect(app);
  cli::add_make_proposals(app);
  cli::add_make_pseudo_labels(app);
  cli::add_bench(app);
  try {
    ops::cpu::cap_libraries();
    auto arguments = cli::expand_config(app, {argv + 1, argv + argc});
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    app.parse(arguments);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      print_error("writing the result: the output could not be written (hint: is the disk full?)");
      return 1;
    }
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
    print_usage_error(Error(explain(app, error)).what());
    return 2;
  } catch (const cli::ExitCode& exit) {
    return exit.code;
  } catch (const Error& error) {
    print_error(error.what());
    return 2;
  } catch (const std::exception& error) {
    print_error(cli::failure_message(error));
    return 1;
  }
}
