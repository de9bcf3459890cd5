#!/usr/bin/env bash
# A long run in little time: 20,000 small steps with evaluation, checkpoints and logs, during which memory, open files and
# threads must not grow and steps must not become slower.
#
# usage: load.sh PROGRAM [STEPS]     (20000)
source "$(dirname "${BASH_SOURCE[0]}")/../cli/harness.sh"
steps=${2-20000}
epochs=$((steps / 2))

settings=(train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 2 --batch-size 1 --seed 3
  --train-data instances.json --train-image-root images --dataset-type grid_distill --epochs $epochs --warmup 10 --lr 1e-4
  --val-data panoptic.json --val-image-root images --val-segm-root panoptic --embed-path embeddings.npy --zeroshot-frequency 20
  --save-frequency 20 --keep-last 3 --save-every-n-steps 25 --log-every-n-steps 10 --logs out --name load)
"$program" "${settings[@]}" </dev/null >"$work.out" 2>"$work.err" &
process=$!

# resident kB, open files, threads, a few times a second
samples=$work/samples
while kill -0 $process 2>/dev/null; do
  if resident=$(awk '/^VmRSS/ { print $2 }' /proc/$process/status 2>/dev/null) && [[ -n $resident ]]; then
    threads=$(awk '/^Threads/ { print $2 }' /proc/$process/status 2>/dev/null || true)
    files=$(ls /proc/$process/fd 2>/dev/null | wc -l)
    echo "$resident $files ${threads:-0}" >>"$samples"
  fi
  sleep 0.3
done
status=0
wait $process || status=$?
checks=$((checks + 1))
((status == 0)) || failed load "exit code $status"

# largest COLUMN FROM TO: of the samples between these hundredths of the run.
count=$(wc -l <"$samples")
largest() { awk -v c="$1" -v from=$((count * $2 / 100)) -v to=$((count * $3 / 100)) 'NR > from && NR <= to && $c > most { most = $c } END { print most + 0 }' "$samples"; }
# least COLUMN FROM TO: what is open all the time; a file that is being read is not.
least() { awk -v c="$1" -v from=$((count * $2 / 100)) -v to=$((count * $3 / 100)) 'NR > from && NR <= to && (!seen++ || $c < few) { few = $c } END { print few + 0 }' "$samples"; }
# Milliseconds of a step, the median of a third of the run.
median() { sed -nE 's/.*"seconds":([^,}]+).*/\1/p' out/load/metrics.jsonl | awk -v from=$(($1 * steps / 3)) -v to=$((($1 + 1) * steps / 3)) 'NR > from && NR <= to' | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", 1000 * v[int((NR + 1) / 2)] }'; }

memory=($(largest 1 10 40) $(largest 1 60 90))
files=($(least 2 10 40) $(least 2 60 90))
threads=($(least 3 10 40) $(least 3 60 90))
step=($(median 0) $(median 2))
echo "$steps steps, $(grep -c '"zero_shot\|"rois' out/load/metrics.jsonl || true) evaluations, $count samples"
echo "resident memory ${memory[0]} -> ${memory[1]} kB, open files ${files[0]} -> ${files[1]}, threads ${threads[0]} -> ${threads[1]}, step ${step[0]} -> ${step[1]} ms"
checks=$((checks + 1))
((memory[1] <= memory[0] + memory[0] / 20)) || failed load 'memory grows'
((files[1] <= files[0])) || failed load 'open files grow'
((threads[1] <= threads[0])) || failed load 'threads grow'
[[ $(find out/load/checkpoints -name '*.pt' | wc -l) == 4 ]] || failed load 'checkpoints pile up'
finish
