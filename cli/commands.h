// The program's commands: one file each (train.cpp, eval.cpp, ...), each adding itself to the application.
#pragma once

#include <CLI/CLI.hpp>

namespace clipself::cli {

void add_quickstart(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_visualize(CLI::App& app);
void add_classify(CLI::App& app);
void add_verify(CLI::App& app);
void add_embed_text(CLI::App& app);
void add_info(CLI::App& app);
void add_convert(CLI::App& app);
void add_detect(CLI::App& app);
void add_make_proposals(CLI::App& app);
void add_make_pseudo_labels(CLI::App& app);
void add_bench(CLI::App& app);
void add_prepare(CLI::App& app);

/// Thrown by a command that has done its work and said so, to end with another exit code than 0.
struct ExitCode {
  int code;
};

}  // namespace clipself::cli
