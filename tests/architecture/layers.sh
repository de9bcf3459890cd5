#!/usr/bin/env bash
# The house's order: a file of clipself/<layer> includes its own layer and earlier ones, never a later one nor cli/, and
# every header has #pragma once. Prints each offence as FILE:LINE and fails when there is one.
#
# usage: layers.sh PROJECT_FOLDER
set -euo pipefail
cd "$1"

layers=(base distributed formats ops models datasets training distillation evaluation visualization detection scenes)
offences=0
offence() {
  echo "$*" >&2
  offences=$((offences + 1))
}

rank() {
  local i
  for i in "${!layers[@]}"; do
    if [[ ${layers[i]} == "$1" ]]; then
      echo "$i"
      return
    fi
  done
  echo -1
}

for folder in clipself/*/; do
  layer=$(basename "$folder")
  own=$(rank "$layer")
  if ((own < 0)); then
    offence "$folder: not a layer; the layers are ${layers[*]}"
    continue
  fi
  # grep finds nothing in an empty folder, which is no failure.
  while IFS=: read -r file line included; do
    if [[ $included == cli/* ]]; then
      offence "$file:$line: the library includes the program's \"$included\""
      continue
    fi
    used=${included#clipself/}
    used=${used%%/*}
    other=$(rank "$used")
    if ((other < 0)); then
      offence "$file:$line: \"$included\" is in no layer"
    elif ((other > own)); then
      offence "$file:$line: $layer includes \"$included\" of the later layer $used"
    fi
  done < <(grep -rHnoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<](clipself|cli)/[^">]+' \
    --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' --include='*.inc' "$folder" |
    sed -E 's/^([^:]*:[0-9]+:).*["<]/\1/' || true)
done

while read -r header; do
  grep -q '^#pragma once$' "$header" || offence "$header:1: no #pragma once"
done < <(find clipself cli tests benchmarks \( -name '*.h' -o -name '*.cuh' \) | sort)

files=$(find clipself \( -name '*.h' -o -name '*.cpp' \) | wc -l)
((files > 0)) || offence "no source file found under $PWD/clipself"
echo "$files files looked at, $offences offences"
((offences == 0))
