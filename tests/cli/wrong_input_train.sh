#!/usr/bin/env bash
# clipself train on wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
make_checkpoints

good=(train --model model.json --pretrained tiny.pt --precision fp32 --det-image-size 32 --workers 0 --epochs 1 --batch-size 1
  --train-data instances.json --train-image-root images --dataset-type proposals_distill --save-frequency 0)
validation=(--val-data panoptic.json --val-image-root images --val-segm-root panoptic --embed-path embeddings.npy)
accepted good "${good[@]}" --logs out --name good "${validation[@]}"
[[ -s out/good/checkpoints/epoch_1.pt ]] || failed good "no checkpoint written"
rm -rf out && mkdir out
bad() { refused "$1" "$2" "${good[@]}" --logs out --name run "${@:3}"; }
# RegionCLIP: labelled boxes and noun embeddings.
nouns=(--dataset-type region_clip --train-embed-path embeddings.npy)
for method in '' '--method regionclip'; do
  # shellcheck disable=SC2086 # two words or none
  accepted "labelled boxes $method" "${good[@]}" "${nouns[@]}" $method --retain-weight 0.5 --logs out --name nouns
  grep -q '"loss_contrast".*"loss_retain"' out/nouns/metrics.jsonl || failed "labelled boxes $method" 'terms are missing'
  grep -q '"method":"regionclip"' out/nouns/settings.json || failed "labelled boxes $method" 'another method in the settings'
  rm -rf out && mkdir out
done
accepted 'crops of labelled boxes' "${good[@]}" --dataset-type region_clip --method clipself --logs out --name crops
grep -q '"loss_cosine"' out/crops/metrics.jsonl || failed 'crops of labelled boxes' 'the term is missing'
rm -rf out && mkdir out

# Missing files and folders
bad 'missing checkpoint' '--pretrained|missing.pt' --pretrained missing.pt
bad 'missing data' '--train-data|missing.json' --train-data missing.json
bad 'missing image folder' '--train-image-root|missing' --train-image-root missing
bad 'no image folder' '--train-image-root' --train-image-root ''
bad 'missing configuration' '--config|missing.toml' --config missing.toml
bad 'missing checkpoint to resume' '--resume|missing.pt' --resume missing.pt
bad 'nothing to resume' 'latest' --resume latest
bad 'missing validation data' '--val-data|missing.json' "${validation[@]}" --val-data missing.json
bad 'missing embeddings' '--embed-path|missing.npy' "${validation[@]}" --embed-path missing.npy
mkdir empty
bad 'images that are elsewhere' '0000' --train-image-root empty
bad 'folder without images' 'empty' --train-data empty --dataset-type grid_distill

# Files of another kind, or cut off
for part in 0 1 50 99; do
  truncated tiny.pt $part >cut.pt
  bad "checkpoint cut at $part %" cut.pt --pretrained cut.pt
  bad "checkpoint to resume cut at $part %" cut.pt --resume cut.pt
  truncated instances.json $part >cut.json
  bad "data cut at $part %" cut.json --train-data cut.json
done
bad 'picture for a checkpoint' '000001.png' --pretrained images/000001.png
bad 'checkpoint for data' 'tiny.pt' --train-data tiny.pt
bad 'picture for data' '000001.png' --train-data images/000001.png
bad 'model for data' 'model.json' --train-data model.json

# Files that do not belong together
bad 'checkpoint of another model' 'other.pt' --pretrained other.pt
bad 'embeddings of another width' 'embeddings_width_24.npy|24|16' "${validation[@]}" --embed-path embeddings_width_24.npy
bad 'weights alone to resume' 'clip.safetensors' --resume clip.safetensors
bad 'another run to resume' '--resume' --resume other.pt
bad 'folder of images for proposals' '--train-data|images' --train-data images

# RegionCLIP's nouns
bad 'nouns that are missing' '--train-embed-path|missing.npy' "${nouns[@]}" --train-embed-path missing.npy
bad 'nouns not given and no vocabulary' 'vocabulary|--tokenizer' --method regionclip --dataset-type region_clip
bad 'regions without labels' 'regionclip|region_clip' --method regionclip
bad 'nouns of another width' '--train-embed-path|embeddings_width_24.npy|24|16' "${nouns[@]}" --train-embed-path embeddings_width_24.npy
truncated embeddings.npy 50 >cut.npy
bad 'nouns cut off' 'cut.npy' "${nouns[@]}" --train-embed-path cut.npy
sed 's/"categories": \[/"categories": [{"id": 7}, {"id": 8}, {"id": 9}, {"id": 11}, {"id": 12}, {"id": 13},/' instances.json >changed.json
bad 'fewer nouns than categories' '--train-embed-path|embeddings.npy|8 categories' "${nouns[@]}" --train-data changed.json
bad 'nouns for crops' '--train-embed-path|clipself' "${nouns[@]}" --method clipself
bad 'grid for nouns' '--dataset-type|grid_distill|region_clip' "${nouns[@]}" --method regionclip --dataset-type grid_distill
bad 'proposals for nouns' '--dataset-type|proposals_distill|region_clip' --method regionclip --dataset-type proposals_distill
bad 'folder of images for labelled boxes' '--train-data|images|region_clip' "${nouns[@]}" --train-data images
sed 's/"category_id": 2/"category_id": 99/' instances.json >changed.json
bad 'label that is no category' '99' "${nouns[@]}" --train-data changed.json

# Annotations with a part missing or wrong
for key in images file_name image_id; do
  sed "s/\"$key\":/\"other\":/" instances.json >changed.json
  bad "data without $key" 'changed.json' --train-data changed.json
done
sed 's/"bbox":/"other":/' instances.json >changed.json
bad 'annotations without a box' 'annotation 10|bbox' --train-data changed.json
sed 's/"image_id": [0-9]*/"image_id": 99/' instances.json >changed.json
bad 'unknown image' 'changed.json' --train-data changed.json
sed 's/"bbox": \[/"bbox": ["left", /' instances.json >changed.json
bad 'box with a word' 'changed.json' --train-data changed.json
sed 's/"file_name": "000001.png"/"file_name": 7/' instances.json >changed.json
bad 'number for a name' 'changed.json' --train-data changed.json
echo '{"images": [{"id": 1, "file_name": "000001.png", "width": 64, "height": 48}], "annotations": [], "categories": []}' >changed.json
bad 'zero annotations' 'changed.json|annotations' --train-data changed.json
echo '{"images": [], "annotations": [], "categories": []}' >changed.json
bad 'zero images' 'changed.json' --train-data changed.json --dataset-type grid_distill

# Pictures that are none: a few are named and replaced, without any that can be read the run ends
cp -r images damaged && cp model.json damaged/000001.png
accepted 'one image that is text' "${good[@]}" --logs out --name replaced --train-image-root damaged
grep -q 'damaged/000001.png' "$work.err" || failed 'one image that is text' 'it is not named'
rm -rf out && mkdir out
truncated images/000002.png 60 >damaged/000002.png
bad 'images that are none' 'damaged/0000|no readable one' --train-image-root damaged
bad 'images that are none, in threads' 'damaged/0000|no readable one' --train-image-root damaged --workers 2

# Output that cannot be written
bad 'logs through a file' 'model.json' --logs model.json
bad 'logs in /proc' '/proc' --logs /proc
mkdir -p kept/run/checkpoints && cp tiny.pt kept/run/checkpoints/epoch_1.pt
bad 'experiment that exists' '--name|run' --logs kept
bad 'a name that leads elsewhere' '--name|../run' --name ../run

# Flags that make no sense
bad 'unknown flag' '--no-such-flag' --no-such-flag
bad 'stray argument' 'stray' stray
bad 'unknown model' 'no-such-model' --model no-such-model
bad 'unknown data set type' '--dataset-type|coco' --dataset-type coco
bad 'unknown method' '--method|selfclip|clipself|regionclip' --method selfclip
bad 'a box feature of another backbone' '--extract-type|eva' --extract-type v1
bad 'unknown box feature' '--extract-type|v3' --extract-type v3
for flag in --retain-weight --cosine-weight --contrast-weight; do
  for value in -1 nan inf much; do bad "$flag $value" "$flag" $flag $value; done
done
for value in 0 -1 1.5 all; do bad "--num-sample-cats $value" '--num-sample-cats' --num-sample-cats $value; done
bad 'nothing to learn' 'weights 0' --cosine-weight 0
bad 'unknown schedule' '--lr-scheduler|linear' --lr-scheduler linear
bad 'unknown precision' '--precision|fp8' --precision fp8
for value in -1 0 fast nan inf; do bad "learning rate $value" '--lr' --lr $value; done
for value in -1 nan x; do bad "weight decay $value" '--wd' --wd $value; done
for flag in --epochs --batch-size --accum-freq --max-boxes --max-split --log-every-n-steps --det-image-size; do
  bad "$flag 0" $flag $flag 0
  bad "$flag 1.5" $flag $flag 1.5
  bad "$flag 99999999999999999999" $flag $flag 99999999999999999999
done
for value in 1.5 -0.1 nan; do bad "alpha $value" '--alpha' --alpha $value; done
for value in 0 2 nan; do bad "training part $value" 'ratio' --train-ratio $value; done
bad 'crop scale' '--crop-scale' --crop-scale -1
bad 'sizes the wrong way round' '--min-size' --min-size 2000 --max-size 10
bad 'negative warm-up' '--warmup' --warmup -5
bad 'negative gradient norm' '--grad-clip-norm' --grad-clip-norm -1
bad 'nothing to train' '--lock-image-unlocked-groups' --lock-image-unlocked-groups 0
bad 'image size that is no multiple' '--det-image-size|33' --det-image-size 33
bad 'batch larger than the data' 'batch of 1000' --batch-size 1000
bad 'seed that is no number' '--seed' --seed x
bad 'device' '--device' --device gpu
bad 'cooldown longer than the run' '--epochs-cooldown' --lr-scheduler const-cooldown --epochs-cooldown 5
refused 'no flags' '--' train
echo 'learning-rate = 1' >settings.toml
bad 'unknown key in a configuration' 'settings.toml|learning-rate' --config settings.toml
echo 'lr = "fast"' >settings.toml
bad 'wrong value in a configuration' '--lr' --config settings.toml

# Numbers gone wrong: weights that one step makes enormous.
wild=("${good[@]}" --logs kept --lr 1e30 --warmup 0 --epochs 3)
refused 'a loss that is no number' 'not finite|image ids' "${wild[@]}" --name wild
grep -q '"image_ids":\[[0-9]' kept/wild/not_finite.jsonl || failed 'a loss that is no number' 'no ids were saved'
refused 'more such steps than allowed' 'not finite' "${wild[@]}" --name wilder --max-not-finite 2
[[ $(wc -l <kept/wilder/not_finite.jsonl) == 3 ]] || failed 'more such steps than allowed' 'not three of them'
[[ $(grep -c '"left_out":true' kept/wilder/metrics.jsonl) == 2 ]] || failed 'more such steps than allowed' 'not two left out'

# Only the last checkpoints are kept.
accepted 'two of four epochs' "${good[@]}" --logs kept --name four --epochs 4 --save-frequency 1 --keep-last 2
[[ $(cd kept/four/checkpoints && echo *.pt) == 'epoch_3.pt epoch_4.pt' ]] || failed 'two of four epochs' "$(ls kept/four/checkpoints)"
bad 'fewer than none to keep' '--keep-last' --keep-last -1

finish
