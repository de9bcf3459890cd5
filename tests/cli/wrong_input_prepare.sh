#!/usr/bin/env bash
# clipself prepare on sound and on wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

# COCO's 65 classes of the split as categories 1 to 65: base classes person (1) and toothbrush (65), novel airplane (5).
names='person;bicycle;car;motorcycle;airplane;bus;train;truck;boat;bench;bird;cat;dog;horse;sheep;cow;elephant;bear;zebra;giraffe;backpack;umbrella;handbag;tie;suitcase;frisbee;skis;snowboard;kite;skateboard;surfboard;bottle;cup;fork;knife;spoon;bowl;banana;apple;sandwich;orange;broccoli;carrot;pizza;donut;cake;chair;couch;bed;toilet;tv;laptop;mouse;remote;keyboard;microwave;oven;toaster;sink;refrigerator;book;clock;vase;scissors;toothbrush'
coco() {
  local id=0 name
  printf '{"images": [{"id": 1}, {"id": 2}, {"id": 3}], "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 5}, {"image_id": 2, "category_id": 90}], "categories": [{"id": 90, "name": "stop sign"}'
  while read -r -d ';' name; do printf ', {"id": %d, "name": "%s"}' "$((++id))" "$name"; done <<<"$names;"
  printf ']}\n'
}
coco >coco.json
lvis() {
  printf '{"images": [{"id": 1}, {"id": 2}], "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 2}],'
  printf '"categories": [{"id": 1, "name": "a", "frequency": "r", "image_count": 1}, {"id": 2, "name": "b", "frequency": "c", "image_count": 1}]}\n'
}
lvis >lvis.json
mkdir -p voc/ImageSets/Main voc/Annotations
echo 000001 >voc/ImageSets/Main/test.txt
voc() {
  printf '<annotation><size><width>50</width><height>40</height></size><object><name>dog</name><difficult>0</difficult>'
  printf '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>\n'
}
voc >voc/Annotations/000001.xml

says() { [[ $(cat "$work.out") == *"$1"* ]] || failed "$1" 'is not what it says'; }
accepted 'COCO for training' prepare ov-coco --annotations coco.json --out made/train.json
says '1 of 3 images, 1 of 3 annotations, 65 of 66 categories'
accepted 'COCO for testing' prepare ov-coco --annotations coco.json --split val --out made/val.json
says '2 of 3 images, 2 of 3 annotations, 65 of 66 categories'
accepted 'LVIS' prepare ov-lvis --annotations lvis.json --out made/lvis.json
says '2 of 2 images, 1 of 2 annotations, 2 of 2 categories'
says '2 categories, 1 of them rare'
[[ $(cat made/lvis_v1_train_cat_norare_info.json) == *'"a","frequency":"r","image_count":0'*'"b","frequency":"c","image_count":1'* ]] ||
  failed 'frequencies' 'the rare class is still counted'
accepted 'VOC' prepare voc --root voc --out made/voc.json
says '1 image, 1 object, 0 of them difficult'
accepted 'help' prepare --help
accepted 'help of a part' prepare voc --help

refused 'nothing' 'ov-coco' prepare
refused 'no such part' "'ov-cocoa'|ov-coco?" prepare ov-cocoa --out out/x.json
refused 'no annotations' '--annotations' prepare ov-coco --out out/x.json
refused 'no output' '--out' prepare ov-coco --annotations coco.json
refused 'an unknown split' '--split' prepare ov-coco --annotations coco.json --out out/x.json --split test
refused 'a missing file' 'absent.json' prepare ov-coco --annotations absent.json --out out/x.json
refused 'a folder' 'voc' prepare ov-lvis --annotations voc --out out/x.json
refused 'a file onto itself' '--out|coco.json|another' prepare ov-coco --annotations coco.json --out ./coco.json
: >file
refused 'unwritable output' 'file' prepare ov-coco --annotations coco.json --out file/x.json
refused 'a folder as output' 'out' prepare ov-coco --annotations coco.json --out out
refused 'both outputs the same' '--frequencies' prepare ov-lvis --annotations lvis.json --out out/x.json --frequencies out/../out/x.json

# wrong NAME WORDS COMMAND GOOD SED: the good file, changed.
wrong() {
  sed "$5" "$4" >wrong.json
  refused "$1" "$2|wrong.json" prepare "$3" --annotations wrong.json --out out/x.json
}
wrong 'a file cut off' 'valid JSON' ov-coco coco.json 's/\]}$//'
wrong 'no images' 'no `images`' ov-coco coco.json 's/"images"/"pictures"/'
wrong 'no categories' 'no `categories`' ov-coco coco.json 's/"categories"/"classes"/'
wrong 'no annotations' 'no `annotations`' ov-lvis lvis.json 's/"annotations"/"boxes"/'
wrong 'empty annotations' 'no annotation left of 0' ov-coco coco.json 's/"annotations": \[[^]]*\]/"annotations": []/'
wrong 'no annotation of a base class' 'no annotation left of 3' ov-coco coco.json 's/"category_id": 1/"category_id": 90/'
wrong 'annotations that are no array' 'annotations|an array' ov-coco coco.json 's/"annotations": \[[^]]*\]/"annotations": {}/'
wrong 'an annotation without a class' 'annotations[1].category_id' ov-coco coco.json 's/, "category_id": 5//'
wrong 'an annotation without an image' 'annotations[1].image_id' ov-lvis lvis.json 's/"image_id": 2, //'
wrong 'an annotation of no image' 'image 9' ov-lvis lvis.json 's/"image_id": 2/"image_id": 9/'
wrong 'an image without an id' 'images[2].id' ov-coco coco.json 's/"id": 3}/"no": 3}/'
wrong 'a category without a name' 'categories[1].name' ov-lvis lvis.json 's/"name": "b"/"title": "b"/'
wrong 'no such class' "no category 'airplane'|65 classes" ov-coco coco.json 's/airplane/aeroplane/'
wrong 'COCO for LVIS' "'stop sign' without a frequency" ov-lvis coco.json 's/^//'
wrong 'LVIS for COCO' 'no category' ov-coco lvis.json 's/^//'
wrong 'no JSON' 'wrong.json' ov-coco coco.json 's/.*/<annotation\/>/'

# bad NAME WORDS: of the folder as it is now.
bad() {
  refused "$1" "$2" prepare voc --root voc --out out/x.json
  voc >voc/Annotations/000001.xml
  echo 000001 >voc/ImageSets/Main/test.txt
}
refused 'no VOC folder' '--root|absent' prepare voc --root absent --out out/x.json
refused 'no such split' 'ImageSets/Main/train.txt' prepare voc --root voc --split train --out out/x.json
refused 'a split elsewhere' '..' prepare voc --root voc --split ../../../x --out out/x.json
refused 'unwritable VOC output' 'file' prepare voc --root voc --out file/x.json
truncated voc/Annotations/000001.xml 60 >cut && cp cut voc/Annotations/000001.xml
bad 'XML cut off' 'Annotations/000001.xml|at byte'
echo '{}' >voc/Annotations/000001.xml
bad 'no XML' 'Annotations/000001.xml'
sed -i 's/<ymin>2</<ymin>x</' voc/Annotations/000001.xml
bad 'a corner that is no number' "'x' in <ymin>"
sed -i 's/bndbox/box/g' voc/Annotations/000001.xml
bad 'no box' 'without <bndbox>'
sed -i 's/dog/elk/' voc/Annotations/000001.xml
bad 'no object of the classes' 'no objects'
echo 000002 >voc/ImageSets/Main/test.txt
bad 'a missing XML' 'Annotations/000002.xml'
finish
