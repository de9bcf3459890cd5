#!/usr/bin/env bash
# clipself eval --task coco-ap, lvis-ap, voc-ap on wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

cat >gt.json <<'JSON'
{"images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}, {"id": 2, "file_name": "b.jpg", "width": 4, "height": 3}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0,
                  "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}],
 "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]}
JSON
# results FILE ENTRY...: a results file
results() { local IFS=,; echo "[${*:2}]" >"$1"; }
box='{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}'
mask='{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": {"size": [3, 4], "counts": [0, 2, 1, 2, 7]}}'
results boxes.json "$box" "$box"
results masks.json "$mask"

good=(eval --task coco-ap --gt gt.json --results boxes.json)
accepted good "${good[@]}" --out out/report.json
[[ -s out/report.json ]] || failed good "no report written"
rm -f out/report.json
accepted 'voc' "${good[@]}" --task voc-ap --per-class
accepted 'masks' "${good[@]}" --results masks.json --iou-type segm
accepted 'boxes of masks' "${good[@]}" --results masks.json
accepted 'masks with their areas from boxes' "${good[@]}" --results masks.json --iou-type segm --detection-area box
accepted 'limits and classes' "${good[@]}" --max-dets 100,300,1000 --base-classes cat --novel-classes dog --json
accepted 'proposals' "${good[@]}" --class-agnostic
sed 's/"name"/"frequency": "c", "name"/g' gt.json >lvis.json
accepted 'lvis' "${good[@]}" --task lvis-ap --gt lvis.json
bad() { refused "$1" "$2" "${good[@]}" --out out/report.json "${@:3}"; }

# Flags
bad 'unknown task' '--task' --task coco
bad 'kind of region' '--iou-type' --iou-type boxes
bad 'limit of nothing' '--max-dets' --max-dets 0,10
bad 'limit of words' '--max-dets' --max-dets many
bad 'masks for VOC' '--iou-type|voc-ap' --task voc-ap --iou-type segm
bad 'proposals for LVIS' '--class-agnostic' --task lvis-ap --class-agnostic
bad 'classes of another world' '--novel-classes|unicorn' --novel-classes unicorn
bad 'missing class list' '--base-classes|names.txt' --base-classes names.txt
refused 'no annotations' '--gt' eval --task coco-ap --results boxes.json
refused 'no results' '--results' eval --task coco-ap --gt gt.json

# Files
bad 'missing annotations' '--gt|missing.json' --gt missing.json
bad 'missing results' '--results|missing.json' --results missing.json
bad 'folder for results' '--results|images' --results images
: >nothing.json
bad 'empty file' 'nothing.json' --results nothing.json
bad 'annotations for results' 'gt.json|an array' --results gt.json
bad 'results for annotations' 'boxes.json|an object' --gt boxes.json
bad 'picture for results' '000001.png' --results images/000001.png
for part in 1 50 99; do
  truncated boxes.json $part >cut.json
  bad "results cut at $part %" 'cut.json|does not end' --results cut.json
  truncated gt.json $part >cut.json
  bad "annotations cut at $part %" cut.json --gt cut.json
done

# Entries
one() { results one.json "$box" "$3" && bad "$1" "one.json|$2" --results one.json "${@:4}"; }
echo '[]' >none.json
accepted 'a detector that found nothing' eval --task coco-ap --gt gt.json --results none.json
grep -q 'none.json.*no results' "$work.err" || failed 'a detector that found nothing' 'no warning'
echo '{"images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}' >blank.json
bad 'annotations of nothing' 'blank.json|annotations with boxes' --gt blank.json
bad 'a class both base and novel' '--novel-classes|cat' --base-classes 'cat,dog' --novel-classes cat
one 'corners for a box' '[1].bbox|corners' '{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [9, 9, -3, 2]}'
one 'entry of another kind' '[1]|an object' 3
one 'unknown image' '[1].image_id|3' '{"image_id": 3, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}'
one 'unknown category' '[1].category_id|2' '{"image_id": 1, "category_id": 2, "bbox": [0, 0, 2, 2], "score": 0.5}'
one 'no image' '[1].image_id' '{"category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}'
one 'no category' '[1].category_id' '{"image_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}'
one 'no score' '[1].score' '{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}'
one 'score that is none' '[1].score' '{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": null}'
one 'score not a number' 'one.json' '{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": NaN}'
one 'score in words' '[1].score' '{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": "high"}'
one 'neither box nor mask' '[1].bbox' '{"image_id": 1, "category_id": 1, "score": 0.5}'
one 'empty box' '[1].bbox' '{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": []}'
one 'box of three' '[1].bbox' '{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3]}'
one 'box far away' '[1].bbox' '{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 1e300]}'
bad 'boxes for masks' 'boxes.json|segmentation' --iou-type segm
m() {
  results one.json "$mask" "{\"image_id\": 1, \"category_id\": 1, \"score\": 0.5, \"segmentation\": $3}"
  bad "$1" "one.json|$2" --results one.json --iou-type segm
}
m 'empty segmentation' '[1].segmentation' '[]'
m 'mask without size' '[1].segmentation|size' '{"counts": "0"}'
m 'mask without counts' '[1].segmentation|counts' '{"size": [3, 4]}'
m 'mask cut off' '[1].segmentation|pixels less' '{"size": [3, 4], "counts": "1"}'
m 'mask too long' '[1].segmentation|more pixels' '{"size": [3, 4], "counts": "P1"}'
m 'mask of other characters' '[1].segmentation|character' '{"size": [3, 4], "counts": "\u0001"}'
m 'mask with a negative run' '[1].segmentation' '{"size": [3, 4], "counts": [-1, 13]}'
m 'mask of another size' 'size [4, 3]' '{"size": [4, 3], "counts": [12]}'
m 'polygon of three numbers' '[1].segmentation|3 numbers' '[[1, 2, 3]]'

# Annotations
sed 's/"bbox"/"other"/' gt.json >changed.json
bad 'annotations without boxes' 'changed.json|annotation 1|bbox' --gt changed.json
sed 's/"segmentation"/"other"/' gt.json >changed.json
bad 'annotations without masks' 'changed.json|annotation 1|segmentation' --gt changed.json --results masks.json --iou-type segm
sed 's/"width": 4/"width": null/' gt.json >changed.json
bad 'images without a size' 'width' --gt changed.json --results masks.json --iou-type segm
bad 'COCO for LVIS' 'gt.json|frequency' --task lvis-ap
sed 's/"frequency": "c"/"frequency": "often"/' lvis.json >changed.json
bad 'unknown frequency' 'changed.json|categories[0].frequency|often' --task lvis-ap --gt changed.json
sed 's/"categories"/"other"/' gt.json >changed.json
bad 'no categories' 'changed.json' --gt changed.json
finish
