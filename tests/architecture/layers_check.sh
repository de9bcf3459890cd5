#!/usr/bin/env bash
# layers.sh must see what it claims to see: a small house with one offence of each kind, and one without any.
#
# usage: layers_check.sh LAYERS_SH
set -euo pipefail
checker=$1
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT
mkdir -p "$house"/{cli,tests,benchmarks} "$house"/clipself/{base,ops,models}

write() { printf '%b' "$2" >"$house/$1"; }
refused() { # refused FILE TEXT EXPECTED
  write "$1" "$2"
  if output=$("$checker" "$house" 2>&1); then
    echo "not refused: $1 with $2" >&2
    exit 1
  fi
  if [[ $output != *"$3"* ]]; then
    printf 'refused, but without "%s":\n%s\n' "$3" "$output" >&2
    exit 1
  fi
  rm "$house/$1"
}

write clipself/base/error.h '#pragma once\n'
write clipself/ops/rope.h '#pragma once\n#include "clipself/base/error.h"\n#include <vector>\n'
write clipself/models/tower.cpp '#include "clipself/models/tower.h"\n#include "clipself/ops/rope.h"\n'
"$checker" "$house"

refused clipself/ops/up.cpp '// up\n#include "clipself/models/tower.h"\n' 'clipself/ops/up.cpp:2: ops includes "clipself/models/tower.h"'
refused clipself/ops/angle.cpp '\n\n  #  include <clipself/models/tower.h>\n' 'clipself/ops/angle.cpp:3:'
refused clipself/base/program.cpp '#include "cli/commands.h"\n' 'clipself/base/program.cpp:1:'
refused clipself/ops/odd.cpp '#include "clipself/odds/ends.h"\n' '"clipself/odds/ends.h" is in no layer'
refused clipself/ops/twice.h '#include <vector>\n' 'clipself/ops/twice.h:1: no #pragma once'
mkdir "$house/clipself/utils"
refused clipself/utils/misc.cpp '\n' 'clipself/utils/: not a layer'
echo "every kind of offence is seen"
