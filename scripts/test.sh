#!/usr/bin/env bash
# One command from a fresh Debian 12 to the whole test suite's result.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

parse_setup_options "$@"
for argument in "${rest[@]}"; do
  if [[ $argument == -h || $argument == --help ]]; then
    echo "usage: scripts/test.sh [options] [options of ctest, such as -R NAME]"
    echo "Installs what is missing, builds everything and runs the tests through ctest, -j N of them at a time"
    echo "(default 2)."
    setup_options_help
    exit 0
  fi
done
parallel_tests=${jobs:-2}
set_up all
exec ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$parallel_tests" "${rest[@]}"
