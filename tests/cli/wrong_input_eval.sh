#!/usr/bin/env bash
# clipself eval on wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
make_checkpoints

# good FLAG VALUE...: a whole command line, in which later flags replace earlier ones.
good=(eval --model model.json --pretrained tiny.pt --precision fp32 --det-image-size 32 --workers 0 --val-data panoptic.json
  --val-image-root images --val-segm-root panoptic --embed-path embeddings.npy)
accepted good "${good[@]}" --out out/report.json
[[ -s out/report.json ]] || failed good "no report written"
rm -f out/report.json
bad() { refused "$1" "$2" "${good[@]}" --out out/report.json "${@:3}"; }

# Missing files and folders
bad 'missing checkpoint' '--pretrained|missing.pt' --pretrained missing.pt
bad 'missing data' '--val-data|missing.json' --val-data missing.json
bad 'missing embeddings' '--embed-path|missing.npy' --embed-path missing.npy
bad 'missing image folder' '--val-image-root|missing' --val-image-root missing
bad 'missing mask folder' '--val-segm-root|missing' --val-segm-root missing
bad 'missing model' 'missing.json' --model missing.json
bad 'missing configuration' '--config|missing.toml' --config missing.toml
bad 'folder for a checkpoint' '--pretrained|images' --pretrained images
bad 'folder for data' '--val-data|images' --val-data images
bad 'file for a folder' '--val-image-root|model.json' --val-image-root model.json
mkdir empty
bad 'images that are elsewhere' '000001.png' --val-image-root empty
bad 'masks that are elsewhere' '000001.png' --val-segm-root empty

# Files of another kind, cut off or empty
: >nothing
for part in 0 1 50 99; do
  truncated tiny.pt $part >cut.pt
  bad "checkpoint cut at $part %" cut.pt --pretrained cut.pt
  truncated panoptic.json $part >cut.json
  bad "panoptic cut at $part %" cut.json --val-data cut.json --val-segm-root panoptic
  truncated embeddings.npy $part >cut.npy
  bad "embeddings cut at $part %" cut.npy --embed-path cut.npy
done
bad 'picture for a checkpoint' '000001.png' --pretrained images/000001.png
bad 'text for a checkpoint' 'model.json' --pretrained model.json
bad 'checkpoint for data' 'tiny.pt' --val-data tiny.pt --val-segm-root panoptic
bad 'instances for panoptic' 'instances.json' --val-data instances.json --val-segm-root panoptic
bad 'picture for embeddings' '000001.png' --embed-path images/000001.png
bad 'checkpoint for embeddings' 'tiny.pt' --embed-path tiny.pt
bad 'data for a model' 'panoptic.json' --model panoptic.json
cp panoptic.json settings.toml
bad 'JSON for a configuration' 'settings.toml' --config settings.toml

# Files that do not belong together
bad 'checkpoint of another model' 'other.pt' --pretrained other.pt
bad 'checkpoint of another model' 'tiny.pt' --model model_width_48.json
bad 'checkpoint of a published model' 'tiny.pt' --model EVA02-CLIP-B-16
bad 'embeddings of another width' '--embed-path|embeddings_width_24.npy|24|16' --embed-path embeddings_width_24.npy

# Annotations with a part missing or wrong
for key in images file_name image_id categories isthing segments_info category_id; do
  sed "s/\"$key\":/\"other\":/" panoptic.json >changed.json
  bad "panoptic without $key" 'changed.json' --val-data changed.json --val-segm-root panoptic
done
sed 's/"bbox":/"other":/' panoptic.json >changed.json
bad 'things without a box' 'segment 1001|bbox' --val-data changed.json --val-segm-root panoptic
sed 's/"category_id": [0-9]*/"category_id": 99/' panoptic.json >changed.json
bad 'unknown category' 'changed.json' --val-data changed.json --val-segm-root panoptic
sed 's/"image_id": [0-9]*/"image_id": 99/' panoptic.json >changed.json
bad 'unknown image' 'changed.json' --val-data changed.json --val-segm-root panoptic
sed 's/"width": [0-9]*/"width": "wide"/' panoptic.json >changed.json
bad 'text for a number' 'changed.json' --val-data changed.json --val-segm-root panoptic
echo '{"images": [], "annotations": [], "categories": []}' >changed.json
bad 'zero annotations' 'changed.json' --val-data changed.json --val-segm-root panoptic

# Pictures that are none
cp -r images damaged && cp model.json damaged/000001.png
bad 'image that is text' 'damaged/000001.png' --val-image-root damaged
truncated images/000001.png 60 >damaged/000001.png
bad 'image cut off' 'damaged/000001.png' --val-image-root damaged
: >damaged/000001.png
bad 'image that is empty' 'damaged/000001.png' --val-image-root damaged
cp -r panoptic masks && cp model.json masks/000001.png
bad 'mask that is text' 'masks/000001.png' --val-segm-root masks
cp panoptic/000002.png masks/000001.png
bad 'mask of another size' '000001.png' --val-segm-root masks

# Output that cannot be written
bad 'output through a file' 'model.json' --out model.json/report.json
bad 'output in /proc' '/proc' --out /proc/report.json
bad 'output that is a folder' 'images' --out images

# Flags that make no sense
bad 'unknown flag' '--no-such-flag' --no-such-flag
bad 'flag without value' '--embed-path' --embed-path
bad 'stray argument' 'stray' stray
bad 'unknown model' 'no-such-model|EVA02-CLIP-B-16' --model no-such-model
bad 'unknown precision' '--precision|fp8' --precision fp8
bad 'unknown device' '--device|tpu' --device tpu
bad 'absent device' '--device|cuda:99' --device cuda:99
bad 'odd image size' '--det-image-size|33' --det-image-size 33
bad 'no image size' '--det-image-size' --det-image-size 0
bad 'huge image size' '--det-image-size' --det-image-size 99999999999999
bad 'word for a number' '--workers|many' --workers many
bad 'negative number' '--workers|-1' --workers -1
bad 'unknown mask rule' '--mask-rule|nearest' --mask-rule nearest
bad 'wrong token size' '--downsample-factor|5' --downsample-factor 5
refused 'no flags' '--' eval
refused 'no data' '--val-data' eval --model model.json --pretrained tiny.pt
refused 'no checkpoint' '--pretrained' eval --model model.json --val-data panoptic.json
refused 'no embeddings' '--embed-path' eval --model model.json --pretrained tiny.pt --val-data panoptic.json \
  --val-image-root images --val-segm-root panoptic --det-image-size 32
echo 'no-such-key = 1' >settings.toml
bad 'unknown key in a configuration' 'settings.toml|no-such-key' --config settings.toml
echo 'workers = "many"' >settings.toml
bad 'wrong value in a configuration' '--workers|many' --config settings.toml

finish
