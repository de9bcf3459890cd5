# Sourced by the tests of the command line: a working folder with a copy of world/, and what to expect of a command.
#
# usage of such a test: NAME.sh PROGRAM
set -euo pipefail

program=$1
world=$(cd "$(dirname "${BASH_SOURCE[0]}")/world" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp -r "$world"/. .
mkdir out
export OMP_NUM_THREADS=1
checks=0
failures=0

failed() {
  failures=$((failures + 1))
  printf 'FAILED %s: %s\n' "$1" "$2" >&2
  sed 's/^/    /' "$work.err" "$work.out" | tail -n 20 >&2
}

run() {
  status=0
  timeout 120 "$program" "$@" </dev/null >"$work.out" 2>"$work.err" || status=$?
}

# processes_of WORDS: the numbers of this test's processes that were started with these words, such as --name NAME.
processes_of() {
  local folder
  for folder in /proc/[0-9]*; do
    [[ $folder/cwd -ef . ]] || continue
    if tr '\0' ' ' <"$folder/cmdline" 2>/dev/null | grep -q -- "^$program .*$1 "; then echo "${folder#/proc/}"; fi
  done 2>/dev/null
}

# accepted NAME ARGUMENT...: the command ends well. Shows that it is the damage, and nothing else, that is refused.
accepted() {
  local name=$1
  shift
  checks=$((checks + 1))
  run "$@"
  ((status == 0)) || failed "$name" "exit code $status of: clipself $*"
}

# refused NAME WORDS ARGUMENT...: the command ends with exit code 2 and one line "clipself: error: ..." as the last of
# stderr, in which each of WORDS (separated by |) occurs; below out/ lies nothing but logs afterwards.
refused() {
  local name=$1 words word line left
  IFS='|' read -ra words <<<"$2"
  shift 2
  checks=$((checks + 1))
  run "$@"
  if ((status != 2)); then
    failed "$name" "exit code $status instead of 2 of: clipself $*"
    rm -rf out && mkdir out
    return
  fi
  line=$(tail -n 1 "$work.err")
  [[ $(grep -c '^clipself: error: ' "$work.err") == 1 && $line == 'clipself: error: '* ]] ||
    failed "$name" "no single last line 'clipself: error: ...' of: clipself $*"
  for word in "${words[@]}"; do
    [[ $line == *"$word"* ]] || failed "$name" "the error does not mention '$word'"
  done
  # LibTorch's own exceptions carry the place in its source and a stack.
  ! grep -qE 'Exception raised from|frame #|terminate called|\.cpp:[0-9]+' "$work.err" || failed "$name" "internals in the message"
  left=$(find out -type f ! -name out.log ! -name settings.json ! -name .lock ! -name metrics.jsonl ! -name 'events.*' | head -n 5 | tr '\n' ' ' || true)
  [[ -z $left ]] || failed "$name" "left behind: $left"
  rm -rf out && mkdir out
}

finish() {
  rm -f "$work.out" "$work.err"
  echo "$checks command lines tried, $failures failures"
  ((checks > 0 && failures == 0))
}

# A trained checkpoint of model.json (tiny.pt) and one of model_width_48.json (other.pt).
make_checkpoints() {
  local model
  for model in model model_width_48; do
    accepted "training $model" train --model $model.json --pretrained none --train-data instances.json \
      --train-image-root images --det-image-size 32 --batch-size 1 --epochs 1 --precision fp32 --workers 0 \
      --logs made --name $model
  done
  cp made/model/checkpoints/epoch_1.pt tiny.pt
  cp made/model_width_48/checkpoints/epoch_1.pt other.pt
}

truncated() { head -c "$(($(stat -c %s "$1") * $2 / 100))" "$1"; }
