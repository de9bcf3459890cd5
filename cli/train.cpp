// clipself train: refine a CLIP vision tower by self-distillation.
#include "cli/commands.h"
#include "cli/train_run.h"

namespace clipself::cli {

void add_train(CLI::App& app) {
  auto* sub = app.add_subcommand("train", "Refine a CLIP vision tower by self-distillation (CLIPSelf)");
  sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  auto flags = std::make_shared<TrainFlags>();
  sub->add_option("--config", "TOML file of these settings; flags override it");
  flags->add_to(*sub);
  sub->callback([flags, sub] {
    if (flags->processes.launches()) flags->run.check(flags->processes.processes);  // one message, not one of each
    run_together(flags->processes,
                 [&](const auto& processes) { TrainRun(*flags, settings_of(*sub), processes).run(); });
  });
}

}  // namespace clipself::cli
