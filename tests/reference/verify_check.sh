#!/bin/sh
# That `clipself verify` sees what it should: a wrong number, a tensor nobody computes, a damaged and a missing file, an
# unknown kind, a folder without cases.  usage: verify_check.sh PROGRAM CASES
set -eu
program=$1
cases=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "verify_check: $1" >&2
  cat "$work/out" >&2
  exit 1
}

# expect NAME CODE TEXT FOLDER [FLAG...]: the exit code, and a line that holds TEXT on stdout or stderr.
expect() {
  name=$1 code=$2 text=$3
  shift 3
  got=0
  "$program" verify "$@" >"$work/out" 2>&1 || got=$?
  [ "$got" -eq "$code" ] || fail "$name: exit code $got instead of $code"
  grep -qF -- "$text" "$work/out" || fail "$name: no line says '$text'"
}

fresh() {
  rm -rf "$work/set"
  mkdir -p "$work/set/deep"
  cp -r "$cases/lr_schedules" "$cases/adamw_only" "$work/set/deep/"
  chmod -R u+w "$work/set"
}

fresh
expect "sound cases below a folder" 0 "2 cases" "$work/set"
expect "a case itself" 0 "1 cases" "$work/set/deep/adamw_only"
expect "one kind of two" 0 "1 cases" "$work/set" --kind lr_schedules
expect "JSON" 0 '"failed": 0' "$work/set" --json

# The schedule is asked for another rate: every value of that tensor is then beyond its tolerance.
fresh
sed -i 's/"base": 0.0005/"base": 0.0006/' "$work/set/deep/lr_schedules/config.json"
expect "a wrong number" 1 "failed: deep/lr_schedules" "$work/set"

# An input that is gone leaves expected tensors without a computation.
fresh
sed -i 's/"steps": 6/"steps": 5/' "$work/set/deep/adamw_only/config.json"
expect "a tensor not computed" 1 "not computed" "$work/set"

fresh
rm "$work/set/deep/adamw_only/inputs.safetensors"
expect "a missing file" 2 "adamw_only/inputs.safetensors" "$work/set"
grep -q "2 cases.* 1 ok, 0 failed, 1 unreadable" "$work/out" || fail "a missing file: the other case was not run"

fresh
head -c 3000 "$cases/adamw_only/expected.safetensors" >"$work/set/deep/adamw_only/expected.safetensors"
expect "a truncated file" 2 "adamw_only/expected.safetensors" "$work/set"

fresh
echo '{"lr": 1' >"$work/set/deep/adamw_only/config.json"
expect "broken JSON" 2 "adamw_only/config.json" "$work/set"

fresh
sed -i 's/"kind": "const"/"kind": "zigzag"/' "$work/set/deep/lr_schedules/config.json"
expect "an unknown setting" 2 "zigzag" "$work/set"

fresh
mkdir "$work/set/eva_b_like"
expect "a known kind without files" 2 "unreadable: eva_b_like" "$work/set"

fresh
cp -r "$work/set/deep/lr_schedules" "$work/set/deep/of_tomorrow"
mkdir "$work/set/pictures"
expect "an unknown kind" 0 "skipped (unknown kind): deep/of_tomorrow" "$work/set"
if grep -q pictures "$work/out"; then fail "a folder that is no case is listed"; fi

mkdir "$work/empty"
expect "no cases" 2 "found no file" "$work/empty"
expect "no folder" 2 "nowhere" "$work/nowhere"
expect "an unknown kind asked for" 2 "of_tomorrow" "$work/set" --kind of_tomorrow
