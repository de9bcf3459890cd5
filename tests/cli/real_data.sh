#!/usr/bin/env bash
# The real model at full size on real photos, in short: train, evaluate, resume, convert. Random weights: no figure means anything.
#
# usage: real_data.sh PROGRAM COCO EMBEDDINGS   (COCO holds train2017, val2017, annotations)
set -euo pipefail
program=$1 coco=$2 embeddings=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

evaluation=(--val-data "$coco/annotations/panoptic_val2017.json" --val-image-root "$coco/val2017" --embed-path "$embeddings")
training=(train --model EVA02-CLIP-B-16 --pretrained none --train-data "$coco/annotations/instances_train2017.json"
  --train-image-root "$coco/train2017" --det-image-size 320 --batch-size 1 --train-ratio 0.06 --max-boxes 6 --warmup 1 --workers 1
  --name real --zeroshot-frequency 2 "${evaluation[@]}")
"$program" "${training[@]}" --epochs 1
"$program" "${training[@]}" --epochs 2 --resume latest 2>&1 | tee resumed.log
grep -q 'resumed at step 2 ' resumed.log
grep -q '"zero_shot"' logs/real/metrics.jsonl
# Peak memory below 8 GB, as the log tells it.
grep -Eq 'peak memory [0-7]\.[0-9]+ GB' resumed.log
"$program" convert logs/real/checkpoints/epoch_2.pt model.safetensors --dtype bf16
"$program" info model.safetensors | tee info.log
grep -q EVA02-CLIP-B-16 info.log
"$program" eval --model EVA02-CLIP-B-16 --pretrained model.safetensors --det-image-size 320 "${evaluation[@]}" --per-class --out report.json
grep -q 'rois.thing.macc1' report.json
