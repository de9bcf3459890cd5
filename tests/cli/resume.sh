#!/usr/bin/env bash
# An interrupted run of clipself train goes on exactly: the same losses, the same weights.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

steps=300
settings=(train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 2 --batch-size 1 --seed 3
  --train-data instances.json --train-image-root images --dataset-type grid_distill --epochs $((steps / 2)) --save-frequency 0
  --warmup 10 --lr 1e-3 --logs out)

losses() { sed -E 's/.*"step":([0-9]+),.*"loss":([^,]+),.*/\1 \2/' "out/$1/metrics.jsonl"; }
weights() { "$program" convert "$(find "out/$1/checkpoints" -name 'epoch_*.pt')" "$1.safetensors" 2>/dev/null; }

# interrupt NAME SIGNAL LINES ARGUMENT...: starts a run and sends it SIGNAL once it has done LINES steps; sets `status`.
interrupt() {
  local name=$1 signal=$2 lines=$3 process
  shift 3
  "$program" "${settings[@]}" --name "$name" "$@" </dev/null >"$work.out" 2>"$work.err" &
  process=$!
  until [[ -f out/$name/metrics.jsonl && $(wc -l <"out/$name/metrics.jsonl") -ge $lines ]] || ! kill -0 $process 2>/dev/null; do
    sleep 0.01
  done
  kill -s "$signal" $process 2>/dev/null || true
  status=0
  wait $process 2>/dev/null || status=$?
}

# same NAME [OTHER]: NAME took the same steps as OTHER (whole), a run that was never stopped.
same() {
  local other=${2:-whole}
  weights "$other"
  checks=$((checks + 1))
  [[ $(losses "$1" | wc -l) == "$steps" ]] || failed "$1" "$(losses "$1" | wc -l) steps instead of $steps"
  diff <(losses "$other") <(losses "$1") >"$work.out" || failed "$1" 'other losses than without interruption'
  weights "$1"
  cmp -s "$other.safetensors" "$1.safetensors" || failed "$1" 'other weights than without interruption'
}

accepted whole "${settings[@]}" --name whole

interrupt stopped TERM 7
checks=$((checks + 1))
((status == 143)) || failed stopped "exit code $status instead of 143 after SIGTERM"
grep -q -- '--name stopped --resume latest' "$work.err" || failed stopped 'does not say how to go on'
interrupt stopped INT 40 --resume latest
((status == 130)) || failed stopped "exit code $status instead of 130 after SIGINT"
accepted 'going on' "${settings[@]}" --name stopped --resume latest
same stopped

interrupt killed KILL 25 --save-every-n-steps 4
checks=$((checks + 1))
((status == 137)) || failed killed "exit code $status instead of 137 after SIGKILL"
accepted 'going on after kill -9' "${settings[@]}" --name killed --resume latest
same killed

# The same of a method with draws of its own (nouns, sizes) and a second term.
steps=200
settings+=(--method regionclip --dataset-type region_clip --train-embed-path embeddings.npy --num-sample-cats 3 --multiscale
  --retain-weight 0.5 --epochs $((steps / 2)))
accepted 'whole, regionclip' "${settings[@]}" --name nouns
checks=$((checks + 1))
[[ $(grep -c '"loss_retain"' out/nouns/metrics.jsonl) == "$steps" ]] || failed nouns 'steps without loss_retain'
interrupt nouns_stopped TERM 7
((status == 143)) || failed nouns_stopped "exit code $status instead of 143 after SIGTERM"
accepted 'going on, regionclip' "${settings[@]}" --name nouns_stopped --resume latest
same nouns_stopped nouns

# What was begun with other weights is not gone on with. (Out of out/, which must stay empty when a command is refused.)
mv out/killed killed && rm -rf out && mkdir out
refused 'another seed' 'other weights' "${settings[@]}" --resume "$(echo killed/checkpoints/epoch_*.pt)" --seed 4
finish
