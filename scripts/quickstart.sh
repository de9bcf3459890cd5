#!/usr/bin/env bash
# One command from a fresh Debian 12 to a CLIP model that learns where things are.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

parse_setup_options "$@"
for argument in "${rest[@]}"; do
  if [[ $argument == -h || $argument == --help ]]; then
    echo "usage: scripts/quickstart.sh [options] [options of 'clipself quickstart']"
    echo "Installs what is missing, builds clipself and runs 'clipself quickstart' in the current folder."
    setup_options_help
    echo "The options of the run itself: '$build/clipself quickstart --help', once built."
    exit 0
  fi
done
set_up clipself
exec "$build/clipself" quickstart "${rest[@]}"
