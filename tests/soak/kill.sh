#!/usr/bin/env bash
# A run that is killed again and again (kill -9, at random moments) and gone on with ends like one that never was: the same
# losses at every step, the same weights. At every moment the newest checkpoint is whole.
#
# usage: kill.sh PROGRAM [KILLS] [SEED] [PROCESSES]     (100 kills, seed 1, 1 process)
source "$(dirname "${BASH_SOURCE[0]}")/../cli/harness.sh"
kills=${2-100} RANDOM=${3-1} processes=${4-1}

# As many steps as that many lives are good for.
epochs=$((kills * 30 + 50)) steps=$((2 * epochs / processes))
settings=(train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 2 --batch-size 1 --seed 3
  --train-data instances.json --train-image-root images --dataset-type grid_distill --epochs $epochs --save-frequency 7
  --keep-last 2 --save-every-n-steps 3 --warmup 10 --lr 1e-4 --logs out)
if ((processes > 1)); then # the images of a step are one batch then
  settings+=(--batch-size $processes --total-batch $processes --nproc $processes)
fi
losses() { sed -nE 's/.*"step":([0-9]+),.*"loss":([^,]+),.*/\1 \2/p' "out/$1/metrics.jsonl"; }

"$program" "${settings[@]}" --name whole </dev/null >"$work.out" 2>"$work.err" || failed whole "exit code $?"
victim=killed$$ # other tests have names too
survived=0 lives=0 finished=0
while ((finished == 0)); do
  resume=()
  ls out/$victim/checkpoints/*.pt >/dev/null 2>&1 && resume=(--resume latest)
  "$program" "${settings[@]}" --name "$victim" "${resume[@]}" </dev/null >"$work.out" 2>"$work.err" &
  process=$!
  lives=$((lives + 1))
  # From before the first step to the middle of the run, in hundredths of a second.
  if ((survived < kills)); then
    sleep "$((RANDOM % 90 / 100)).$(printf '%02d' $((10 + RANDOM % 70)))"
    if kill -9 $process 2>/dev/null; then survived=$((survived + 1)); fi
    # Those that it launched would save and end by themselves; here everything goes at once.
    ((processes == 1)) || kill -9 $(processes_of "--name $victim") 2>/dev/null || true
  fi
  status=0
  wait $process 2>/dev/null || status=$?
  if ((status == 0)); then
    finished=1
  elif ((status != 137)); then
    failed "life $lives" "exit code $status"
    break
  fi
  # Whatever was being written, what stands under its name is whole.
  checks=$((checks + 1))
  newest=$(ls -t out/$victim/checkpoints/*.pt 2>/dev/null | head -n 1 || true)
  if [[ -n $newest ]]; then
    "$program" verify out/$victim/checkpoints >"$work.out" 2>"$work.err" || failed "life $lives" 'a checkpoint is not whole'
  fi
  ((failures == 0)) || break
done
checks=$((checks + 1))
[[ $(losses "$victim" | wc -l) == "$steps" ]] || failed killed "$(losses "$victim" | wc -l) steps instead of $steps"
diff <(losses whole) <(losses "$victim") | head -n 5 >"$work.out" && [[ ! -s $work.out ]] || failed killed 'other losses than without kills'
for name in whole "$victim"; do
  "$program" convert "out/$name/checkpoints/epoch_$epochs.pt" "$name.safetensors" 2>/dev/null || failed "$name" 'no last checkpoint'
done
cmp -s whole.safetensors "$victim.safetensors" || failed killed 'other weights than without kills'
((survived >= kills)) || failed killed "only $survived kills: the run was over"
echo "$survived kills survived in $lives lives; $steps steps"
finish
