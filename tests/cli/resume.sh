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

# Going back to an earlier checkpoint: the later ones do not come back, and of the steps' own the last alone stays.
steps=40
settings+=(--epochs $((steps / 2)) --save-frequency 1 --save-every-n-steps 3 --save-most-recent --keep-last 2)
accepted 'to go back in' "${settings[@]}" --name back --keep-last 0
checks=$((checks + 1))
[[ $(ls out/back/checkpoints/step_*.pt) == out/back/checkpoints/step_39.pt ]] || failed 'steps of their own' "$(ls out/back/checkpoints)"
[[ -f out/back/checkpoints/epoch_latest.pt && $(ls out/back/checkpoints/epoch_[0-9]*.pt | wc -l) == 20 ]] ||
  failed 'epochs' "$(ls out/back/checkpoints)"
checks=$((checks + 1))
"$program" "${settings[@]}" --name back --resume out/back/checkpoints/epoch_2.pt </dev/null >"$work.out" 2>"$work.err" &
process=$!
until lines=$(wc -l <out/back/metrics.jsonl) && ((lines >= 9 && lines < steps)) || ! kill -0 $process 2>/dev/null; do sleep 0.01; done
kill $process 2>/dev/null || true
status=0
wait $process || status=$?
((status == 143)) || failed back "exit code $status instead of 143 after SIGTERM"
[[ -f out/back/checkpoints/set_aside/after_step_4/epoch_20.pt && ! -f out/back/checkpoints/epoch_20.pt ]] || failed back 'later checkpoints still there'
accepted 'forward again' "${settings[@]}" --name back --resume latest
accepted 'back again' "${settings[@]}" --name back --resume out/back/checkpoints/set_aside/after_step_4/epoch_3.pt
checks=$((checks + 1))
[[ -d out/back/checkpoints/set_aside/after_step_6 && $(ls out/back/checkpoints/set_aside/after_step_4 | wc -l) -ge 17 ]] ||
  failed back "$(ls out/back/checkpoints/set_aside/*)"
accepted 'without going back' "${settings[@]}" --name forth
checks=$((checks + 1))
diff <(losses forth) <(losses back) >"$work.out" || failed back 'other losses than without going back'
[[ $(ls out/forth/checkpoints/epoch_[0-9]*.pt | tr '\n' ' ') == 'out/forth/checkpoints/epoch_19.pt out/forth/checkpoints/epoch_20.pt ' ]] ||
  failed '--keep-last' "$(ls out/forth/checkpoints)"

# A picture of the evaluation's disappears: training goes on.
cp -r images seen
checks=$((checks + 1))
"$program" "${settings[@]}" --epochs 150 --name unseen --val-data panoptic.json --val-image-root seen --val-segm-root panoptic \
  --embed-path embeddings.npy --zeroshot-frequency 10 </dev/null >"$work.out" 2>"$work.err" &
process=$!
until grep -qs zero_shot out/unseen/metrics.jsonl || ! kill -0 $process 2>/dev/null; do sleep 0.01; done
rm seen/*
wait $process || failed 'a lost evaluation' "exit code $?"
grep -q 'no evaluation after .* epochs: .*seen' "$work.err" || failed 'a lost evaluation' 'no warning'
checks=$((checks + 1))
run "${settings[@]}" --name never_seen --val-data panoptic.json --val-image-root seen --val-segm-root panoptic --embed-path embeddings.npy
((status == 2)) || failed 'an evaluation that fails at the start' "exit code $status"

# Two runs in one folder.
accepted 'a short one' "${settings[@]}" --name shared
"$program" "${settings[@]}" --epochs 100000 --name shared --resume latest </dev/null >"$work.out" 2>"$work.err" &
first=$!
for ((i = 0; i < 300; ++i)); do
  [[ -f out/shared/metrics.jsonl && $(wc -l <out/shared/metrics.jsonl) -gt $((steps + 3)) ]] && break
  sleep 0.1
done
checks=$((checks + 1))
run "${settings[@]}" --name shared --resume latest
((status == 2)) && grep -q 'another process that writes there' "$work.err" || failed 'two runs in one folder' "exit code $status"
kill -0 $first || failed 'two runs in one folder' 'the first has ended'
kill -TERM $first && wait $first || true

# What was begun with other weights is not gone on with. (Out of out/, which must stay empty when a command is refused.)
mv out/killed killed && rm -rf out && mkdir out
refused 'another seed' 'other weights' "${settings[@]}" --resume "$(echo killed/checkpoints/epoch_*.pt)" --seed 4
mkfifo pipe.pt
refused 'a pipe' 'pipe.pt|not a regular file' info pipe.pt
finish
