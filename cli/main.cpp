// clipself: the command-line program. Exit code 0: done; 1: a defect of ours or a failed check; 2: a user's mistake or
// bad input; 128+n: stopped by signal n after saving.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/commands.h"
#include "cli/common.h"
#include "clipself/base/error.h"
#include "clipself/base/log.h"

namespace {

void print_error(const std::string& message) {
  std::fprintf(stderr, "clipself: error: %s\n", message.c_str());
}

// torch's messages carry a stack trace behind the first line.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace clipself;
  start_logging();
  CLI::App app("clipself: make CLIP vision transformers see where things are", "clipself");
  app.set_version_flag("--version", "clipself 0.1.0");
  app.require_subcommand(1);
  app.footer("'clipself COMMAND --help' explains a command. First time here: 'clipself quickstart'.");
  cli::add_quickstart(app);
  cli::add_train(app);
  cli::add_eval(app);
  cli::add_visualize(app);
  cli::add_classify(app);
  cli::add_verify(app);
  cli::add_embed_text(app);
  cli::add_info(app);
  cli::add_convert(app);
  cli::add_bench(app);
  try {
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
    // CLI11 says that a command is missing before it says what stood in its place.
    const auto strays = app.remaining();
    const bool no_command = app.get_subcommands().empty() && !strays.empty();
    const std::string what = no_command ? "no command or flag '" + strays.front() + "'" : first_line(error.what());
    print_error(Error(what + " (hint: see 'clipself --help' or 'clipself COMMAND --help')").what());
    return 2;
  } catch (const cli::ExitCode& exit) {
    return exit.code;
  } catch (const Error& error) {
    print_error(error.what());
    return 2;
  } catch (const std::exception& error) {
    print_error("internal: " + first_line(error.what()));
    return 1;
  }
}
