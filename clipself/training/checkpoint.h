// Training checkpoints: everything a run needs to go on exactly, in a file that torch.load reads.
#pragma once

#include <filesystem>
#include <string>

#include "clipself/formats/tensor_dict.h"
#include "clipself/formats/value.h"
#include "clipself/training/trainer.h"

namespace clipself::training {

/// In the file: {"epoch", "name", "state_dict", "optimizer"} as the Python original writes and reads them, and
/// "clipself":
/// {"step", "epoch_step", "parameters", "data", "start", "settings"}.
struct Checkpoint {
  Position position;
  std::string name;                ///< of the experiment
  formats::TensorDict state_dict;  ///< the weights to use: for CLIPSelf those averaged with the teacher's
  formats::TensorDict parameters;  ///< the trained parameters themselves, from which a run goes on
  formats::Value optimizer;        ///< AdamW::state_dict
  std::string data_fingerprint;    ///< of the data set: its size and its images' names in order
  std::string start_fingerprint;   ///< of the weights training began with
  std::string settings;            ///< the run's settings as JSON, for people and for checks on resuming
  std::filesystem::path file{};    ///< that it was read from
};

/// Atomically; a crash at any moment leaves the file of before.
void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);
/// Throws Error when the file is no training checkpoint of this program, or not as it was written (checksums).
Checkpoint read_checkpoint(const std::filesystem::path& path);

/// The checkpoint in `folder` with the most steps; damaged ones are told in the log and passed over. Throws Error when
/// there is none that is whole.
Checkpoint read_latest_checkpoint(const std::filesystem::path& folder);

/// Moves what is in `folder` of more steps than `step` into a new folder below its "set_aside", and says so: a run that goes on from
/// an earlier step must not be taken up from the abandoned ones later.
void set_aside_later_checkpoints(const std::filesystem::path& folder, std::int64_t step);

/// Whether `folder` holds any.
bool has_checkpoint(const std::filesystem::path& folder);

}  // namespace clipself::training
