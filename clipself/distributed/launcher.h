// Several processes of this program on one machine, watched over.
#pragma once

#include <string>
#include <vector>

namespace clipself::distributed {

/// Runs this program with `arguments` as ranks 0..processes-1 of a job, and hosts what they find each other by. SIGINT
/// and SIGTERM are passed on. When one fails the others are given time to end and then killed; one that was killed is
/// told of on stderr. None outlives this process. Returns the exit code of the job: the largest of those that ended by
/// themselves (1 is of those that end because of another).
int launch(int processes, const std::vector<std::string>& arguments);

/// Whether launch() started this process; if so it ends with it from now on.
bool was_launched();

}  // namespace clipself::distributed
