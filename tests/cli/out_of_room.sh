#!/usr/bin/env bash
# No room on the disk, in a file, in memory: one line, and what was there before stays whole.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
settings=(train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 1 --batch-size 1 --seed 3
  --train-data instances.json --train-image-root images --dataset-type grid_distill --warmup 10 --lr 1e-3 --save-frequency 1)

# refused_for NAME CODE WORDS: the last command ended so, with one line.
refused_for() {
  checks=$((checks + 1))
  ((status == $2)) || failed "$1" "exit code $status instead of $2"
  [[ $(grep -c '^clipself: error: ' "$work.err") == 1 ]] || failed "$1" 'not one line'
  grep -q "^clipself: error: .*$3" "$work.err" || failed "$1" "no '$3' in the message"
  ! grep -qE 'terminate|Abort|frame #|enforce fail' "$work.err" || failed "$1" 'internals in the message'
}
# whole NAME FOLDER: what lies there is whole, and nothing half-written does.
whole() {
  checks=$((checks + 1))
  "$program" verify "$2" >"$work.out" 2>&1 || failed "$1" 'a checkpoint is not whole'
  [[ -z $(find "$2" -name '.*' -type f) ]] || failed "$1" 'a half-written file is left'
}

# A run whose files may be as large as its checkpoint is, but no larger: a file of metrics reaches that.
accepted 'a run' "${settings[@]}" --epochs 2 --logs made --name run
size=$(stat -c %s made/run/checkpoints/epoch_2.pt)
(ulimit -f $((size / 1024 / 2)) && run "${settings[@]}" --epochs 2 --logs small --name run; echo "$status" >"$work.status")
status=$(cat "$work.status")
refused_for 'files that may not grow' 2 'writing file'
whole 'files that may not grow' small/run/checkpoints

# A disk with room for two checkpoints, and the run wants to keep three.
mkdir disk
if ((EUID == 0)) && mount -t tmpfs -o size=$((5 * size / 2 + 200000)) tmpfs disk 2>/dev/null; then
  trap 'umount "$work/disk"; rm -rf "$work"' EXIT
  run "${settings[@]}" --epochs 60 --logs disk --name run
  refused_for 'a full disk' 2 'No space left on device'
  whole 'a full disk' disk/run/checkpoints
  [[ -s disk/run/checkpoints/epoch_1.pt ]] || failed 'a full disk' 'the first checkpoint is gone'
else
  echo 'a full disk: left out, none can be made here'
fi

# Memory. (The sanitizers' own takes any amount of it.)
if ! ldd "$program" | grep -q libasan; then
  (ulimit -v 1500000 && run "${settings[@]}" --epochs 1 --logs many --name run --det-image-size 8192; echo "$status" >"$work.status")
  status=$(cat "$work.status")
  refused_for 'memory that runs out' 1 'out of memory'
  (ulimit -v 1500000 && run "${settings[@]}" --epochs 1 --logs several --name run --det-image-size 8192 --nproc 2; echo "$status" >"$work.status")
  status=$(cat "$work.status")
  refused_for 'memory of one of two' 1 'rank [01]: out of memory'
fi
finish
