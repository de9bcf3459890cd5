#!/usr/bin/env bash
# Several processes train, evaluate and detect as one does; what one of them does wrong ends them all with one message.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

# Six pictures, of two files.
{
  printf '{"images": ['
  for i in 1 2 3 4 5 6; do
    odd=$((i % 2))
    printf '%s{"id": %d, "file_name": "%06d.png", "width": %d, "height": %d}' \
      "$([[ $i == 1 ]] || echo ', ')" "$i" $((2 - odd)) $((48 + 16 * odd)) $((64 - 16 * odd))
  done
  printf '], "annotations": [], "categories": [{"id": 1, "name": "red box"}]}'
} >six.json
settings=(train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 1 --seed 3 --train-data six.json
  --train-image-root images --dataset-type grid_distill --save-frequency 0 --warmup 10 --lr 1e-3 --logs out --batch-size 6
  --total-batch 6 --dist-timeout 60)
endless=("${settings[@]}" --epochs 1000000)
settings+=(--epochs 60)

losses() { sed -nE 's/.*"step":([0-9]+),.*"loss":([^,]+),.*/\1 \2/p' "out/$1/metrics.jsonl"; }

# close NAME OTHER [STEPS]: the same steps with the same losses, but for rounding.
close() {
  checks=$((checks + 1))
  paste <(losses "$2") <(losses "$1") | awk '
    function abs(x) { return x < 0 ? -x : x }
    $1 != $3 || abs($2 - $4) > 1e-5 * $2 { print "step", $1, $3, "loss", $2, $4; wrong = 1 }
    END { exit wrong || NR < '"${3-60}"' }' >"$work.out" || failed "$1" "other losses than $2"
}

# ranks COUNT ARGUMENT...: that many processes by plain variables; `extra`, if set, is an array of a command's arguments for
# the last, and `last` a command that starts it; the rank `absent`, if set, does not come. Sets `process`, by rank.
ranks() {
  local count=$1 rank
  shift
  port=$((20000 + RANDOM % 12000))
  process=()
  rm -f "$work".err.*
  for ((rank = 0; rank < count; ++rank)); do
    [[ $rank != "$absent" ]] || continue
    local own=("$program" "$@")
    ((rank < count - 1)) || own=("${last[@]}" "${own[@]}" "${extra[@]}")
    RANK=$rank WORLD_SIZE=$count MASTER_PORT=$port "${own[@]}" </dev/null >/dev/null 2>"$work.err.$rank" &
    process+=($!)
  done
}
extra=() last=() absent=

# ended SECONDS CODE...: all ended in that time, each with its exit code, a pattern (those without one with the last).
ended() {
  local until=$((SECONDS + $1)) i one wanted codes=("${@:2}")
  for i in "${!process[@]}"; do
    one=${process[i]} wanted=${codes[i]-${codes[-1]}}
    while kill -0 "$one" 2>/dev/null && ((SECONDS < until)); do sleep 0.1; done
    checks=$((checks + 1))
    if kill -0 "$one" 2>/dev/null; then
      failed "$name" "process $one still runs"
      kill -9 "$one"
    fi
    status=0
    wait "$one" 2>/dev/null || status=$?
    [[ $status == $wanted ]] || failed "$name" "exit code $status of rank $i instead of $wanted"
  done
}

# one_message WORDS: of all ranks' together.
one_message() {
  checks=$((checks + 1))
  cat "$work".err.* >"$work.err"
  [[ $(grep -c '^clipself: error: ' "$work.err") == 1 ]] || failed "$name" 'not one message'
  grep -q "^clipself: error: .*$1" "$work.err" || failed "$name" "no '$1' in the message"
}

# begun RUN: waits for its first steps.
begun() {
  local i
  for ((i = 0; i < 600; ++i)); do
    [[ -s out/$1/metrics.jsonl && $(wc -l <"out/$1/metrics.jsonl") -ge 5 ]] && return
    sleep 0.1
  done
  failed "$name" 'no step within a minute'
}

# One, two and three processes.
accepted 'one process' "${settings[@]}" --name one
accepted 'two processes' "${settings[@]}" --name two --nproc 2
close two one
accepted 'three processes, two batches each' "${settings[@]}" --name three --nproc 3 --batch-size 1
grep -q -- '--total-batch 6: 3 processes x 2 batches of 1 image' "$work.err" || failed three 'does not say how the batch is divided'
accepted 'one process, two batches' "${settings[@]}" --name halves --batch-size 3
close three halves
name='plain variables'
ranks 2 "${settings[@]}" --name plain
ended 60 0
close plain one
if command -v mpirun >/dev/null; then
  checks=$((checks + 1))
  timeout 60 mpirun --allow-run-as-root --oversubscribe -x MASTER_PORT=$((20000 + RANDOM % 12000)) -np 2 "$program" "${settings[@]}" --name mpi </dev/null >"$work.out" 2>"$work.err" ||
    failed mpirun "exit code $?"
  close mpi one
fi
torchrun=${TORCHRUN-torchrun}
# Those of torch 1 spell their flags with underscores.
if "$torchrun" --help 2>/dev/null | grep -e --no-python >/dev/null; then
  checks=$((checks + 1))
  timeout 90 "$torchrun" --no-python --nproc-per-node 2 --master-port $((20000 + RANDOM % 12000)) -- "$program" "${settings[@]}" --name torchrun \
    </dev/null >"$work.out" 2>"$work.err" || failed torchrun "exit code $?"
  close torchrun one
fi

# Stopped as two processes, gone on with as three, as one: the images of every step are the same.
name='stopping one of them'
ranks 2 "${settings[@]}" --epochs 400 --name stopped
begun stopped
kill -TERM "${process[1]}"
ended 60 143
checks=$((checks + 1))
grep -q -- '--name stopped --resume latest' "$work.err.0" || failed stopped 'does not say how to go on'
before=$(wc -l <out/stopped/metrics.jsonl)
accepted 'whole' "${settings[@]}" --epochs 400 --name whole
accepted 'going on as three' "${settings[@]}" --epochs 400 --name stopped --resume latest --nproc 3
close stopped whole
checks=$((checks + 1))
((before < 400)) || failed stopped 'was not stopped'

# Killed, stopped, failing.
name='killing the last'
ranks 3 "${endless[@]}" --name killed
begun killed
kill -9 "${process[2]}"
ended 30 1 1 137
one_message 'rank 2 .*killed, stopped or cut off'
name='killing the first'
ranks 3 "${endless[@]}" --name killed_first
begun killed_first
kill -9 "${process[0]}"
ended 30 137 1
one_message 'rank 0 .*killed, stopped or cut off'
name='one that hangs'
ranks 3 "${endless[@]}" --name hangs --dist-timeout 3
begun hangs
kill -STOP "${process[1]}"
(sleep 20 && kill -9 "${process[1]}") &
ended 40 1 137 1
one_message 'rank 1 .*last seen at '
name='the first two killed'
ranks 3 "${endless[@]}" --name first_two
begun first_two
kill -9 "${process[0]}" "${process[1]}"
ended 30 137 137 1
one_message 'rank 0 .*no longer answers'
name='one that was stopped for a while, and another killed'
ranks 3 "${endless[@]}" --name paused
begun paused
kill -STOP "${process[1]}"
sleep 4
kill -CONT "${process[1]}"
sleep 2
kill -9 "${process[2]}"
ended 30 1 1 137
one_message 'rank 2 .*killed, stopped or cut off'
name='the first alone throws'
ranks 2 "${endless[@]}" --name one
ended 30 2 1
one_message "rank 0: --name 'one'"
name='one that throws'
extra=(--train-data missing.json)
ranks 3 "${endless[@]}" --name throws
extra=()
ended 30 1 1 2
one_message "rank 2: --train-data 'missing.json'"
name='a wrong flag of one'
extra=(--bogus)
ranks 2 "${endless[@]}" --name flags
extra=()
wait "${process[1]}" && status=0 || status=$?
kill -9 "${process[0]}"
wait "${process[0]}" 2>/dev/null || true
checks=$((checks + 1))
((status == 2)) && grep -q "rank 1: .*'--bogus'" "$work.err.1" || failed "$name" "exit code $status"
name='another processor'
last=(env ATEN_CPU_CAPABILITY=default)
CLIPSELF_CPU=avx2 ranks 2 "${endless[@]}" --name processors
last=()
if grep -q avx2 /proc/cpuinfo; then
  ended 30 2
  one_message "'instructions': found .*CLIPSELF_CPU"
else
  kill -9 "${process[@]}"
  wait
fi
name='another seed'
extra=(--seed 4)
ranks 2 "${endless[@]}" --name seeds
extra=()
ended 30 2 # both compared
one_message "'--seed': found '4' on rank 1, but '3' on rank 0"
# While they come together: one of a machine tells.
name='a process that does not come'
absent=1
ranks 3 "${settings[@]}" --name lonely --dist-timeout 1
ended 30 '[12]'
one_message 'no rank 1 within 1 s'
name='nobody hosts'
absent=0
ranks 3 "${settings[@]}" --name headless --dist-timeout 1
ended 30 '[12]'
one_message 'no answer within 1 s; expected rank 0 there'
absent=
name='no such network'
GLOO_SOCKET_IFNAME=none ranks 3 "${settings[@]}" --name unreachable
ended 30 '[12]'
one_message 'GLOO_SOCKET_IFNAME'

# --nproc: no process is left, whoever is killed.
name='a launched process is killed'
"$program" "${endless[@]}" --name launched --nproc 2 </dev/null >/dev/null 2>"$work.err.0" &
process=($!)
rm -f "$work".err.[12]
begun launched
kill -9 "$(processes_of '--name launched' | grep -vx "${process[0]}" | tail -n 1)"
ended 30 137
one_message 'rank [01] .* was killed by signal 9'
checks=$((checks + 1))
[[ -z $(processes_of '--name launched') ]] || failed "$name" 'a process is left'
name='a launched process is stopped'
"$program" "${endless[@]}" --name frozen --nproc 2 --dist-timeout 2 </dev/null >/dev/null 2>"$work.err.0" &
process=($!)
begun frozen
kill -STOP "$(processes_of '--name frozen' | grep -vx "${process[0]}" | tail -n 1)"
ended 20 1
one_message 'rank [01] .*shows no sign of life'
name='the launcher is killed'
"$program" "${endless[@]}" --name orphans --nproc 2 </dev/null >/dev/null 2>"$work.err.0" &
process=($!)
begun orphans
kill -9 "${process[0]}"
ended 30 137
for ((i = 0; i < 300; ++i)); do
  [[ -z $(processes_of '--name orphans') ]] && break
  sleep 0.1
done
checks=$((checks + 1))
[[ -z $(processes_of '--name orphans') ]] || failed "$name" 'a process is left'
name='Ctrl-C'
"$program" "${endless[@]}" --name interrupted --nproc 2 </dev/null >/dev/null 2>"$work.err" &
process=($!)
begun interrupted
kill -TERM "${process[0]}"
ended 30 143
checks=$((checks + 1))
grep -q -- '--name interrupted --resume latest' "$work.err" || failed "$name" 'does not say how to go on'

name='Ctrl-C twice'
"$program" "${endless[@]}" --name impatient --nproc 2 </dev/null >/dev/null 2>"$work.err" &
process=($!)
begun impatient
kill -TERM "${process[0]}" && sleep 0.05 && { kill -TERM "${process[0]}" 2>/dev/null || true; }
ended 5 143
for ((i = 0; i < 50; ++i)); do
  [[ -z $(processes_of '--name impatient') ]] && break
  sleep 0.1
done
checks=$((checks + 1))
[[ -z $(processes_of '--name impatient') ]] || failed "$name" 'a process is left'

# Two hosts: networks of their own, joined by a cable.
if ((EUID == 0)) && command -v ip >/dev/null && ip netns add "clipself$$a" 2>/dev/null; then
  trap 'ip netns del "clipself$$a"; ip netns del "clipself$$b"; rm -rf "$work"' EXIT
  ip netns add "clipself$$b"
  ip -n "clipself$$a" link add cable type veth peer name cable netns "clipself$$b"
  for side in a:1 b:2; do
    ip -n "clipself$$${side%:*}" address add "10.77.0.${side#*:}/24" dev cable
    ip -n "clipself$$${side%:*}" link set cable up
    ip -n "clipself$$${side%:*}" link set lo up
  done
  name='two hosts'
  process=()
  for side in a:0 b:1; do
    RANK=${side#*:} WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=10.77.0.1 \
      ip netns exec "clipself$$${side%:*}" "$program" "${settings[@]}" --name hosts </dev/null >/dev/null 2>"$work.err" &
    process+=($!)
  done
  ended 60 0
  close hosts one
else
  echo 'two hosts: left out, network namespaces cannot be made here'
fi

# Evaluation and detection divided.
evaluation=(eval --model model.json --pretrained none --precision fp32 --det-image-size 32 --val-data panoptic.json --val-image-root images
  --val-segm-root panoptic --embed-path embeddings.npy --json --workers 0)
accepted 'evaluation' "${evaluation[@]}" && cp "$work.out" one.json
for n in 2 3; do # three processes, two images
  accepted "evaluation by $n" "${evaluation[@]}" --nproc $n
  cmp -s "$work.out" one.json || failed "evaluation by $n" 'other figures than by one'
done
name='evaluation of unequal weights'
extra=(--seed 9)
ranks 2 "${evaluation[@]}"
ended 30 2
one_message "'--seed': found '9' on rank 1"
name='evaluation of unequal images'
extra=()
mkdir elsewhere
cp -r model.json images panoptic embeddings.npy elsewhere/
sed 's/"file_name": "000001.png"/"file_name": "000002.png"/' panoptic.json >elsewhere/panoptic.json
last=(env -C elsewhere)
ranks 2 "${evaluation[@]}"
last=()
ended 30 2
one_message 'images of --val-data'
sed 's/"layers": 2/"layers": 4/' model.json >tower.json
boxes=
for i in 1 2 3 4 5 6; do boxes+="${boxes:+, }{\"id\": $i, \"image_id\": $i, \"category_id\": $((1 + i % 2)), \"bbox\": [6, 8, 20, 18], \"area\": 360}"; done
sed -E 's|"annotations": \[\]|"annotations": ['"$boxes"']|; s|(\{"id": 1, "name": "red box"\})|\1, {"id": 2, "name": "blue box"}|' six.json >boxes.json
detector=(--model tower.json --pretrained none --image-size 64 --taps 0,1,2,3 --head-channels 16 --proposals 20 --roi-samples 8
  --precision fp32 --workers 0 --train-data boxes.json --train-image-root images --val-data boxes.json --val-image-root images
  --class-names 'red box,blue box' --embed-path embeddings.npy --batch-size 2 --total-batch 2 --score-threshold 0 --logs made)
accepted 'a detector of two' detect train "${detector[@]}" --epochs 2 --name detector --nproc 2
test=(detect test --detector made/detector/checkpoints/epoch_2.pt --precision fp32 --val-data boxes.json --val-image-root images --workers 0
  --json)
accepted 'testing' "${test[@]}" && cp "$work.out" one.json
accepted 'testing by two' "${test[@]}" --nproc 2
cmp -s "$work.out" one.json || failed 'testing by two' 'other figures than by one'


# Begun as two, gone on with as one.
accepted 'half a detector by two' detect train "${detector[@]}" --lr 1e-3 --base-batch 0 --epochs 1 --name half --nproc 2
accepted 'the other half by one' detect train "${detector[@]}" --lr 1e-3 --base-batch 0 --epochs 2 --name half --resume latest
accepted 'both halves by one' detect train "${detector[@]}" --lr 1e-3 --base-batch 0 --epochs 2 --name both
close ../made/half ../made/both 4

# An evaluation is interrupted, of so many images that the fastest machine is not done with them.
name='an interrupted evaluation'
segments='"segments_info": [{"id": 1001, "category_id": 1, "bbox": [6, 8, 20, 18], "area": 360, "iscrowd": 0}]'
{
  seq 40000 | sed 's/.*/{"id": &, "file_name": "000001.png", "width": 64, "height": 48}/' | paste -sd, | sed 's/.*/{"images": [&],/'
  seq 40000 | sed "s/.*/{\"image_id\": &, \"file_name\": \"000001.png\", $segments}/" | paste -sd, | sed 's/.*/"annotations": [&],/'
  sed -n '/"categories"/,$p' panoptic.json
} >many.json
"$program" "${evaluation[@]}" --val-data many.json --nproc 2 </dev/null >"$work.out" 2>"$work.err" &
process=($!)
sleep 2
kill -INT "$(processes_of many.json | grep -vx "${process[0]}" | tail -n 1)"
ended 30 130
checks=$((checks + 1))
[[ -z $(processes_of many.json) && ! -s $work.out ]] || failed "$name" 'a process is left, or a report'
! grep -q 'clipself: error' "$work.err" || failed "$name" 'an error'

# A signal that reaches one process alone, in the evaluation at a training's start.
name='one process is interrupted in an evaluation'
ranks 2 "${settings[@]}" --name early --val-data many.json --val-image-root images --val-segm-root panoptic --embed-path embeddings.npy --dist-timeout 5
for ((i = 0; i < 300; ++i)); do
  grep -q 'evaluating after 0' "$work.err.0" && break
  sleep 0.1
done
kill -TERM "${process[1]}"
ended 30 143
checks=$((checks + 1))
[[ -f out/early/checkpoints/step_0.pt ]] || failed "$name" 'no checkpoint'
! cat "$work".err.* | grep -q 'clipself: error' || failed "$name" 'an error'

# Steps that come to no number: left out as often as allowed, told of once.
name='losses that are no numbers'
checks=$((checks + 1))
run "${settings[@]}" --logs made --name wild --lr 1e30 --warmup 0 --epochs 6 --max-not-finite 2 --nproc 2
((status == 2)) && [[ $(grep -c '^clipself: error: .*not finite' "$work.err") == 1 ]] || failed "$name" "exit code $status"
[[ $(wc -l <made/wild/not_finite.jsonl) == 3 && $(grep -o '"image_ids":[^]]*' made/wild/not_finite.jsonl | head -n 1 | tr -dc , | wc -c) -ge 1 ]] ||
  failed "$name" 'not three of them, with ids'
[[ $(grep -c '"left_out":true' made/wild/metrics.jsonl) == 2 ]] || failed "$name" 'not two left out'

# Wrong input.
rm -rf out && mkdir out
refused 'a batch that cannot be divided' '--total-batch|multiple' "${settings[@]}" --name bad --nproc 4
refused 'two ways to say it' '--accum-freq|--total-batch' "${settings[@]}" --name bad --accum-freq 2
refused 'a task that is not divided' '--task|one' eval --task coco-ap --gt instances.json --results six.json --nproc 2
refused 'no number of processes' '--nproc' "${settings[@]}" --name bad --nproc 0
RANK=0 WORLD_SIZE=2 refused 'a launcher and another' '--nproc|launcher' "${settings[@]}" --name bad --nproc 2
RANK=3 WORLD_SIZE=2 refused 'a rank that cannot be, and a wrong flag' '--bogus' "${settings[@]}" --bogus
RANK=3 WORLD_SIZE=2 refused 'a rank that cannot be' "RANK|'3'|0 to 1" "${settings[@]}" --name bad
finish
