#!/usr/bin/env bash
# clipself detect, make-proposals and make-pseudo-labels: what they write, and wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

# Four blocks for four taps, and a vocabulary that knows the classes.
sed 's/"layers": 2/"layers": 4/' model.json >tower.json
cat >words.json <<'JSON'
{"model": {"type": "WordLevel", "vocab": {"<pad>": 0, "a": 1, "photo": 2, "of": 3, "box": 4, "red": 5, "blue": 6, "background": 7, "<start_of_text>": 48, "<end_of_text>": 49}, "unk_token": "<pad>"}}
JSON
echo '{}' >templates.txt
small=(--image-size 64 --taps 0,1,2,3 --head-channels 16 --proposals 20 --roi-samples 8 --precision fp32 --workers 0)
text=(--tokenizer words.json --templates templates.txt)
data=(--train-data instances.json --train-image-root images --val-data instances.json --val-image-root images)
train=(detect train --model tower.json --pretrained none "${small[@]}" "${text[@]}" "${data[@]}" --batch-size 1 --score-threshold 0
  --min-ratio 0.9 --max-ratio 1.1 --logs made)

accepted training "${train[@]}" --epochs 2 --name whole
for file in checkpoints/epoch_2.pt checkpoints/detector.json checkpoints/open_clip_config.json metrics.jsonl; do
  [[ -s made/whole/$file ]] || failed training "no $file"
done
grep -q '"detection"' made/whole/metrics.jsonl || failed training 'no evaluation in metrics.jsonl'
grep -q '"acc"' made/whole/metrics.jsonl || failed training 'no accuracy in metrics.jsonl'
detector=(--detector made/whole/checkpoints/epoch_2.pt --precision fp32)
test=(detect test "${detector[@]}" --val-data instances.json --val-image-root images)
accepted testing "${test[@]}" --results made/results.json --out made/report.json --per-class
[[ -s made/results.json && -s made/report.json ]] || failed testing 'no results or report written'
accepted 'the results in eval' eval --task coco-ap --gt instances.json --results made/results.json
accepted 'what is in it' info made/whole/checkpoints/epoch_2.pt
grep -q 'F-ViT detector' "$work.out" && grep -q 'base classes.*red box' "$work.out" || failed 'what is in it' 'no word of a detector'
accepted 'a batch of two' "${test[@]}" --test-batch-size 2 --json
accepted 'as it is' "${test[@]}" --json && cp "$work.out" made/own.json
accepted 'its names in another order' "${test[@]}" --json --class-names 'blue box,red box'
cmp -s "$work.out" made/own.json || failed 'its names in another order' 'another result'
predict=(detect predict images "${detector[@]}" --show 0)
accepted predicting "${predict[@]}" --out made/pictures
[[ -s made/pictures/000001_detections.png && -s made/pictures/results.json ]] || failed predicting 'no picture or results'
accepted 'other names' "${predict[@]}" --names 'blue box, red box' --pretrained none "${text[@]}" --out made/named --json
grep -q '"category": "blue box"' made/named/results.json || failed 'other names' 'no blue box in the results'
propose=(make-proposals "${detector[@]}" --images images --min-score 0 --min-side 1)
accepted proposing "${propose[@]}" --out made/proposals.json
label=(make-pseudo-labels --model tower.json --pretrained none --precision fp32 --proposals made/proposals.json --image-root images
  --embed-path embeddings.npy --min-size 0)
accepted labelling "${label[@]}" --out made/labelled.json
accepted 'training on them' train --model tower.json --pretrained none --precision fp32 --det-image-size 32 --batch-size 1 --epochs 1 \
  --workers 0 --method regionclip --train-data made/labelled.json --train-image-root images --train-embed-path embeddings.npy \
  --min-size 0 --logs made --name regions

# With masks: boxes as outlines.
sed -E 's/"iscrowd": 0/"iscrowd": 0, "segmentation": [[6, 8, 26, 8, 26, 26, 6, 26]]/' instances.json >outlined.json
masks=("${train[@]}" --masks --rpn-norm --train-data outlined.json --val-data outlined.json --epochs 1)
accepted 'training with masks' "${masks[@]}" --name masks
accepted 'predicting masks' detect predict images --detector made/masks/checkpoints/epoch_1.pt --precision fp32 --show 0 --out made/masked
grep -q '"counts"' made/masked/results.json || failed 'predicting masks' 'no masks in the results'

# A run that is interrupted goes on exactly.
accepted 'two epochs' "${train[@]}" --epochs 2 --name twice --eval-frequency 0 --seed 5
accepted 'one epoch' "${train[@]}" --epochs 2 --name resumed --eval-frequency 0 --seed 5 --save-every-n-steps 3
rm made/resumed/checkpoints/epoch_*.pt
accepted 'going on' "${train[@]}" --epochs 2 --name resumed --eval-frequency 0 --seed 5 --save-every-n-steps 3 --resume latest
losses() { sed -E 's/.*"step":([0-9]+),.*"loss":([^,]+),.*/\1 \2/' "made/$1/metrics.jsonl"; }
diff <(losses twice) <(losses resumed) >"$work.out" || failed 'going on' 'other losses than without interruption'

# Pictures that cannot be read end no training.
mkdir -p torn && cp images/* torn && truncated images/000002.png 30 >torn/000002.png
accepted 'an unreadable picture to test on' "${train[@]}" --val-image-root torn --epochs 1 --name torn
grep -q 'no evaluation after 1 epoch.*000002.png' "$work.err" || failed 'an unreadable picture to test on' 'is not named'
refused 'an unreadable picture' 'torn/000002.png' detect test "${detector[@]}" --val-data instances.json --val-image-root torn

# Flags
bad() { refused "$1" "$2" "${train[@]}" --logs out --name bad "${@:3}"; }
bad 'three taps' '--taps|0,1,2' --taps 0,1,2
bad 'taps that fall' '--taps' --taps 3,2,1,0
bad 'a tap too many' '--taps|block 9|0 to 3' --taps 0,1,2,9
bad 'a tap that is no number' "--taps|'x'" --taps 0,1,2,x
bad 'no multiple of a patch' '--image-size|63|multiple' --image-size 63
bad 'ratios crossed' '--min-ratio' --min-ratio 2 --max-ratio 1
bad 'milestones' "--milestones|'b'" --milestones 1,b
bad 'no number' '--lr' --lr nan
bad 'no number for gamma' '--gamma' --gamma nan
bad 'no number for beta' '--beta' --beta nan
bad 'an unknown flag' '--tap' --tap 1
bad 'an unknown task' '--task' --task kitti
refused 'no weights' '--pretrained' detect train --model tower.json "${small[@]}" "${data[@]}" --logs out --name bad
refused 'no command' 'detect' detect
refused 'an unknown command' 'trian|train' detect trian
# Data
bad 'no such file' 'missing.json' --train-data missing.json
bad 'no such folder' 'nowhere' --train-image-root nowhere
bad 'no such annotations to test on' 'missing.json|--val-data' --val-data missing.json
echo '{"images": [{"id": 1, "file_name": "000001.png", "width": 64, "height": 48}], "annotations": [], "categories": [{"id": 1, "name": "red box"}]}' >empty.json
bad 'no annotations' 'empty.json|annotations' --train-data empty.json
bad 'a class that the data lacks' "'zebra'|instances.json" --class-names 'red box,zebra'
bad 'boxes of a class that is not base' "--base-classes|'blue box'" --base-classes 'red box'
bad 'embeddings of another model' 'embeddings_width_24.npy' --embed-path embeddings_width_24.npy
bad 'masks of annotations without' 'instances.json' --masks
# Detectors
refused 'no detector' '--detector|missing.pt' detect predict images --detector missing.pt --out out
cp made/regions/checkpoints/epoch_1.pt tower.pt
refused 'a tower' '--detector|tower.pt|detector' detect predict images --detector tower.pt --out out
mkdir cut && truncated made/whole/checkpoints/epoch_2.pt 60 >cut/epoch_2.pt && cp made/whole/checkpoints/*.json cut
refused 'half a detector' 'cut/epoch_2.pt' detect predict images --detector cut/epoch_2.pt --out out
mkdir alone && cp made/whole/checkpoints/epoch_2.pt alone
refused 'names that do not fit' '--class-names' detect predict images --detector alone/epoch_2.pt --model tower.json \
  --image-size 64 --taps 0,1,2,3 --head-channels 16 --class-names 'a,b,c,d,e,f,g' --out out
mkdir broken && cp made/whole/checkpoints/epoch_2.pt broken && echo '{"classes": 3' >broken/detector.json
refused 'a broken description' 'broken/detector.json' detect predict images --detector broken/epoch_2.pt --out out
refused 'other names by --class-names' '--class-names' detect test "${detector[@]}" --val-data instances.json --val-image-root images \
  --class-names 'red box,zebra'
refused 'other names without a text tower' '--pretrained|--embed-path' "${predict[@]}" --names zebra --out out
refused 'a name twice' "--names|twice" "${predict[@]}" --names 'red box,red box' --pretrained none "${text[@]}" --out out
refused 'no pictures' 'nothing.png' detect predict nothing.png "${detector[@]}" --out out
sed 's/"red box"/"lynx"/' instances.json >renamed.json
refused 'categories of other names' "renamed.json|'red box'" detect test "${detector[@]}" --val-data renamed.json --val-image-root images
refused 'proposals of nothing' '--min-score' make-proposals "${detector[@]}" --images images --min-score 1 --out out/p.json
refused 'labels without nouns' '--names' make-pseudo-labels --model tower.json --pretrained none --proposals made/proposals.json \
  --image-root images --out out/l.json
sed -e '/"mean"/,/]/d' made/whole/checkpoints/detector.json >broken/detector.json
refused 'a description without statistics' 'broken/detector.json|mean' detect predict images --detector broken/epoch_2.pt --out out
refused 'a background to look for' "background" "${predict[@]}" --names 'red box,background' --pretrained none "${text[@]}" --out out
refused 'no names' '--names' "${predict[@]}" --names '' --out out
refused 'masks of a detector without' '--masks|epoch_2.pt' "${test[@]}" --masks
refused 'another folder of pictures' '--train-image-root|000001.png' "${train[@]}" --train-image-root made --name nowhere
[[ ! -e made/nowhere ]] || failed 'another folder of pictures' 'a run was begun'
mkdir photos && cp images/*.png photos && truncated images/000002.png 30 >photos/000002.png
accepted 'a broken picture among others' "${propose[@]}" --images photos --out made/most.json
grep -q '000002.png' "$work.err" || failed 'a broken picture among others' 'no word of it'
refused 'more broken pictures than allowed' '000002.png' "${propose[@]}" --images photos --max-unreadable 0 --out made/none.json
[[ ! -e made/none.json ]] || failed 'more broken pictures than allowed' 'a file was left'
sed -E 's/"bbox": *\[[^]]*\]/"bbox": [-90, -90, 5, 5]/g; s/"bbox":\[[^]]*\]/"bbox":[-90,-90,5,5]/g' made/proposals.json >outside.json
accepted 'labels of boxes outside' "${label[@]}" --proposals outside.json --out made/outside.json
grep -q ': 0 of' "$work.out" || failed 'labels of boxes outside' 'boxes that are none'
accepted 'info on results' info made/results.json
grep -q 'detection results' "$work.out" || failed 'info on results' 'another kind'
accepted 'info on a description' info made/whole/checkpoints/detector.json
refused 'labels of no boxes' 'empty.json' "${label[@]}" --proposals empty.json --out out/l.json
finish
