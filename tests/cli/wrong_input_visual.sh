#!/usr/bin/env bash
# clipself visualize, clipself classify and the whole-image tasks of clipself eval: what they write, and wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
make_checkpoints
model=(--model model.json --pretrained tiny.pt --precision fp32)
names="a, b, c"

# A vocabulary of whole words for the small text tower, under a name that is not looked for beside the weights.
cat >words.json <<'JSON'
{"model": {"type": "WordLevel", "vocab": {"<pad>": 0, "a": 1, "photo": 2, "of": 3, "box": 4, "cat": 5, "dog": 6, "<start_of_text>": 48, "<end_of_text>": 49}, "unk_token": "<pad>"}}
JSON

# What they are for
view=(visualize images "${model[@]}" --det-image-size 32)
for kind in similarity segment kmeans pca; do
  accepted "$kind" "${view[@]}" --kind $kind --embed-path embeddings.npy --clusters 3 --out made/$kind
  [[ -s made/$kind/000001_$kind.png && -s made/$kind/000002_$kind.png && -s made/$kind/$kind.json ]] ||
    failed "$kind" "no pictures or numbers written"
done
accepted 'jointly, plain' "${view[@]}" --kind kmeans --joint --plain --out made/plain
accepted 'classes of pictures' classify images "${model[@]}" --embed-path embeddings.npy --out made/whole
accepted 'classes of boxes' classify images "${model[@]}" --det-image-size 32 --embed-path embeddings.npy --boxes instances.json \
  --json --out made/boxes
grep -q '"dense"' "$work.out" || failed 'classes of boxes' 'no dense guess in the JSON'
echo '{"000001.png": [[2, 3, 20, 20]]}' >boxes.json
accepted 'boxes of a plain list' classify images "${model[@]}" --det-image-size 32 --embed-path embeddings.npy --boxes boxes.json
[[ $(grep -c 'box 1' "$work.out") == 1 ]] || failed 'boxes of a plain list' 'not one box'

accepted 'classes by name' "${view[@]}" --kind segment --names "$names" --tokenizer words.json --out made/names
accepted 'clusters with names' "${view[@]}" --kind kmeans --names dog --tokenizer words.json --out made/dog

# Pictures
shown() { refused "$1" "$2" visualize "${@:3}" "${model[@]}" --det-image-size 32 --kind segment --embed-path embeddings.npy --out out/x; }
named() { refused "$1" "$2" classify "${@:3}" "${model[@]}" --det-image-size 32 --embed-path embeddings.npy --out out/x; }
mkdir -p empty mixed
cp images/000001.png mixed/a.png && cp model.json mixed/b.png
truncated images/000001.png 60 >cut.png
for each in shown named; do
  $each 'missing picture' 'IMAGE|missing.png' missing.png
  $each 'second picture missing' 'IMAGE|missing.png' images/000001.png missing.png
  $each 'no picture' 'model.json' model.json
  $each 'picture cut off' 'cut.png' cut.png
  $each 'folder without pictures' 'empty' empty
  $each 'folder with one that is none' 'mixed/b.png' mixed
  $each 'nothing to look at' 'IMAGE'
done

# Classes
bad() { refused "$1" "$2" "${view[@]}" --kind segment --out out/x "${@:3}"; }
bad 'no classes' '--names|--embed-path'
refused 'no classes' '--names|--embed-path' "${view[@]}" --kind similarity --out out/x
refused 'no classes' '--names|--embed-path' classify images "${model[@]}"
bad 'missing embeddings' '--embed-path|missing.npy' --embed-path missing.npy
bad 'embeddings of another width' '--embed-path|24|16' --embed-path embeddings_width_24.npy
bad 'picture for embeddings' '000001.png' --embed-path images/000001.png
bad 'names that are too few' '--names|1 names' --embed-path embeddings.npy --names one
bad 'an empty name' 'a,,b' --embed-path embeddings.npy --names 'a,,b'
bad 'missing file of names' 'missing.txt' --names missing.txt
bad 'no vocabulary' 'tokenizer' --names "$names"
bad 'missing vocabulary' '--tokenizer|missing.json' --names "$names" --tokenizer missing.json
bad 'picture for a vocabulary' '000001.png' --names "$names" --tokenizer images/000001.png
bad 'missing templates' 'missing' --names "$names" --tokenizer words.json --templates missing.txt

# Boxes
boxed() { echo "$2" >broken.json && named "$1" "$3" images --boxes broken.json; }
boxed 'boxes cut off' '{"000001.png": [[2, 3' '--boxes|broken.json'
boxed 'no object' '[[2, 3, 4, 5]]' '--boxes|broken.json'
boxed 'three numbers' '{"000001.png": [[2, 3, 4]]}' '--boxes|box 0|000001.png'
boxed 'words' '{"000001.png": [[2, 3, 4, "5"]]}' '--boxes|box 0'
boxed 'no list' '{"000001.png": 5}' '--boxes|000001.png'
boxed 'box without size' '{"000001.png": [[2, 3, 20, 20], [5, 5, 0, 5]]}' '--boxes|box 1'
boxed 'box elsewhere' '{"000001.png": [[2000, 3, 20, 20]]}' '--boxes|box 0|within'
boxed 'boxes of other pictures' '{"other.png": [[2, 3, 20, 20]]}' '--boxes|000001.png'
boxed 'no boxes' '{}' '--boxes|no box'
named 'missing boxes' '--boxes|missing.json' images --boxes missing.json
named 'picture for boxes' '--boxes|000001.png' images --boxes images/000001.png

# Output that cannot be written
refused 'output through a file' 'model.json' "${view[@]}" --kind pca --out model.json/x
refused 'output in /proc' '/proc' "${view[@]}" --kind pca --out /proc/x
refused 'output in /proc' '/proc' classify images "${model[@]}" --embed-path embeddings.npy --out /proc/x

# Flags that make no sense
bad 'odd image size' '--det-image-size|33' --embed-path embeddings.npy --det-image-size 33
bad 'unknown kind' '--kind|rainbow' --kind rainbow
bad 'no clusters' '--clusters' --kind kmeans --clusters 0
bad 'unknown scale' '--scale|log' --scale log
bad 'unknown flag' '--no-such-flag' --no-such-flag
bad 'checkpoint of another model' 'other.pt' --embed-path embeddings.npy --pretrained other.pt
refused 'no kind' '--kind' visualize images "${model[@]}" --out out/x
refused 'no output' '--out' visualize images "${model[@]}" --kind pca
named 'no names wanted' '--top' images --top 0
named 'crops smaller than boxes' '--crop-scale' images --crop-scale 0.5

# Whole images: classification
mkdir -p classes/{one,two} lonely
cp images/000001.png classes/one && cp images/000002.png classes/two && cp images/000001.png lonely
classes=(eval --task classification "${model[@]}" --image-folder classes --workers 0 --out out/report.json)
accepted 'classification' "${classes[@]}" --tokenizer words.json
grep -q mean_per_class_top1 out/report.json || failed classification 'no means in the report'
rm -f out/report.json
wrong() { refused "$1" "$2" "${classes[@]}" "${@:3}"; }
wrong 'no vocabulary' 'tokenizer'
wrong 'embeddings of more classes' '--image-folder|2 names' --embed-path embeddings.npy
wrong 'missing folder' '--image-folder|missing' --image-folder missing
wrong 'file for a folder' '--image-folder|model.json' --image-folder model.json
wrong 'empty folder' 'empty' --image-folder empty
wrong 'images without folders' 'lonely' --image-folder lonely
echo 'one the first' >names.txt
wrong 'a folder without a name' 'two|names.txt' --class-names names.txt
printf 'one the first\ntwo\n' >names.txt
wrong 'a line without a name' 'names.txt|line 2' --class-names names.txt
wrong 'missing names' '--class-names|missing.txt' --class-names missing.txt
refused 'no images' '--image-folder' eval --task classification "${model[@]}"

# Whole images: retrieval
cat >captions.json <<'JSON'
{"images": [{"id": 1, "file_name": "000001.png"}, {"id": 2, "file_name": "000002.png"}],
 "annotations": [{"image_id": 1, "id": 1, "caption": "a cat"}, {"image_id": 2, "id": 2, "caption": "a dog"}, {"image_id": 2, "id": 3, "caption": "a box"}]}
JSON
found=(eval --task retrieval "${model[@]}" --captions captions.json --val-image-root images --workers 0 --out out/report.json)
accepted 'retrieval' "${found[@]}" --tokenizer words.json
grep -q 'recall@10' out/report.json || failed retrieval 'no recalls in the report'
rm -f out/report.json
wrong() { refused "$1" "$2" "${found[@]}" "${@:3}"; }
wrong 'no vocabulary' 'tokenizer'
wrong 'missing captions' '--captions|missing.json' --captions missing.json
wrong 'no captions in it' 'instances.json' --captions instances.json
wrong 'missing image folder' '--val-image-root|missing' --val-image-root missing
sed 's/"image_id": 2/"image_id": 9/' captions.json >changed.json
wrong 'caption of no image' 'changed.json|9' --captions changed.json
truncated captions.json 60 >changed.json
wrong 'captions cut off' 'changed.json' --captions changed.json
refused 'no captions' '--captions' eval --task retrieval "${model[@]}"
refused 'unknown task' '--task|detection' eval --task detection "${model[@]}"

finish
