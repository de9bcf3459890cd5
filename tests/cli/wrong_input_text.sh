#!/usr/bin/env bash
# clipself embed-text, and --class-names and --embed-path of clipself eval and train, on wrong input.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
make_checkpoints

# A vocabulary of whole words that fits the text tower of model.json (64 ids), and templates of its words.
words() {
  local i=0 word sep=
  printf '{"normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"type": "WordLevel", "vocab": {'
  for word in '[PAD]' there is a red blue box grass background '<start_of_text>' '<end_of_text>'; do
    printf '%s"%s": %d' "$sep" "$word" "$((i++))"
    sep=', '
  done
  printf '}}}'
}
words >tokenizer.json
printf 'There is a {}\n{}\n' >templates.txt

good=(embed-text --model model.json --pretrained tiny.pt --names panoptic.json --templates templates.txt)
bad() { refused "$1" "$2" "${good[@]}" --out out/e.npy "${@:3}"; }
for suffix in npy safetensors pt; do
  accepted "good .$suffix" "${good[@]}" --background --out "made.$suffix"
done
[[ $(cat "$work.out") == *'4 classes, 2 templates, 16 numbers each'* ]] || failed good 'no summary line'
accepted 'names in the flag' "${good[@]}" --names 'red box,grass' --out made2.npy
cp model.json none.json
accepted 'random weights' "${good[@]}" --model none.json --pretrained none --out made3.npy

# Names and templates
bad 'a file of names that is missing' '--names|cocco.txt|coco_panoptic|lvis' --names cocco.txt
bad 'folder of names' '--names|images' --names images
bad 'picture of names' 'images/000001.png' --names images/000001.png
: >nothing
bad 'no names' 'nothing' --names nothing
echo '["a", 1]' >broken.json
bad 'numbers for names' 'broken.json' --names broken.json
bad 'words the vocabulary lacks' "tokenizer.json|'person'" --names coco
bad 'unknown templates' '--templates|vold|single, vild, openai' --templates vold
bad 'templates without a place' "nothing" --templates nothing
echo 'a photo' >plain.txt
bad 'templates without a place' "plain.txt|{}" --templates plain.txt

# Vocabularies
bad 'missing vocabulary' '--tokenizer|missing.gz' --tokenizer missing.gz
bad 'folder for a vocabulary' '--tokenizer|images' --tokenizer images
bad 'picture for a vocabulary' 'images/000001.png' --tokenizer images/000001.png
bad 'model for a vocabulary' 'model.json' --tokenizer model.json
sed 's/"red": 4/"red": 400/' tokenizer.json >large.json
bad 'vocabulary of another model' 'large.json|401 tokens|64' --tokenizer large.json
sed 's/<start_of_text>/start/' tokenizer.json >unframed.json
bad 'vocabulary of another kind of model' 'unframed.json|without start and end tokens' --tokenizer unframed.json
for part in 0 1 50 99; do
  truncated tokenizer.json $part >cut.json
  bad "vocabulary cut at $part %" 'cut.json' --tokenizer cut.json
done
mkdir alone && cp tiny.pt alone/
bad 'no vocabulary' 'github.com/openai/CLIP|--tokenizer' --pretrained alone/tiny.pt

# Models and output
bad 'missing checkpoint' '--pretrained|missing.pt' --pretrained missing.pt
bad 'checkpoint of another model' 'other.pt' --pretrained other.pt
sed 's/"text_cfg"/"no_text_cfg"/' model.json >blind.json
bad 'model without a text tower' 'blind.json|text tower' --model blind.json --pretrained none
bad 'unknown suffix' '--out|e.txt' --out out/e.txt
bad 'output in /proc' '/proc' --out /proc/e.npy
refused 'no output' '--out' "${good[@]}"

# Embeddings and names for eval and train
good=(eval --model model.json --pretrained tiny.pt --precision fp32 --det-image-size 32 --workers 0 --val-data panoptic.json
  --val-image-root images --val-segm-root panoptic --out out/e.json)
accepted 'names of the data' "${good[@]}" --class-names panoptic.json --templates templates.txt
for file in made.npy made.safetensors made.pt; do accepted "embeddings $file" "${good[@]}" --embed-path $file; done
rm -f out/e.json
bad() { refused "$1" "$2" "${good[@]}" "${@:3}"; }
bad 'neither' '--embed-path or --class-names'
bad 'both' '--class-names|--embed-path' --class-names panoptic.json --embed-path made.npy
bad 'too few names' '--class-names|2 rows|3' --class-names 'red box,grass' --templates templates.txt
bad 'unknown names' '--class-names|cocco' --class-names cocco
echo 'photo {}' >photo.txt
bad 'words the vocabulary lacks' "tokenizer.json|'photo'" --class-names panoptic.json --templates photo.txt
# Named rows are found by name, in whatever order they stand.
accepted 'embeddings of the data' "${good[@]}" --embed-path made.npy && mv out/e.json in_order.json
accepted 'names turned round' embed-text --model model.json --pretrained tiny.pt --names 'grass,background,blue box,red box' \
  --templates templates.txt --out turned.safetensors
accepted 'embeddings turned round' "${good[@]}" --embed-path turned.safetensors
cmp -s out/e.json in_order.json || failed 'embeddings turned round' 'another result than in order'
accepted 'class names turned round' "${good[@]}" --class-names 'grass,blue box,red box' --templates templates.txt
cmp -s out/e.json in_order.json || failed 'class names turned round' 'another result than in order'
rm -f out/e.json
accepted 'names of other things' embed-text --model model.json --pretrained tiny.pt --names 'red,red box,blue box,grass red' \
  --templates templates.txt --out other.npy
accepted 'names of one thing' embed-text --model model.json --pretrained tiny.pt --names 'blue box,grass' \
  --templates templates.txt --out blue.npy
bad 'embeddings of other things' "--embed-path 'other.npy'|no row named 'grass'" --embed-path other.npy
accepted 'other words for the categories' "${good[@]}" --class-names 'red,blue,grass,background' --templates templates.txt
grep -q 'has 4 rows for 3 categories' "$work.err" || failed 'other words' 'no warning about the row too many'
rm -f out/e.json
# A text tower is known by its weights, whatever the model is called.
cp model.json twin.json
accepted 'embeddings of the same model, renamed' "${good[@]}" --model twin.json --embed-path made.npy
rm -f out/e.json
for file in made.npy made.safetensors made.pt; do
  bad "embeddings of another model ($file)" "--embed-path|another text tower|model 'model'" --pretrained none --seed 7 --embed-path $file
  truncated $file 50 >cut
  bad "cut $file" 'cut' --embed-path cut
done
good=(train --model model.json --pretrained tiny.pt --precision fp32 --det-image-size 32 --batch-size 1 --epochs 1 --workers 0
  --train-data instances.json --train-image-root images --val-data panoptic.json --val-image-root images --val-segm-root panoptic
  --logs out --name run)
bad 'training with another model'"'"'s embeddings' '--embed-path|another text tower' --pretrained none --seed 7 --embed-path made.npy
bad 'training with unknown names' '--class-names|cocco' --class-names cocco
accepted 'training with names' "${good[@]}" --class-names panoptic.json --templates templates.txt
grep -q 'zero-shot classification after 1 epoch' "$work.err" || failed 'training with names' 'no evaluation'

accepted 'nouns by the names of the categories' "${good[@]}" --class-names panoptic.json --templates templates.txt --method regionclip --name nouns
grep -q 'the nouns are the 2 categories of instances.json' "$work.err" || failed 'nouns by names' 'no word about them'

# Named nouns are found by name, too.
nouns=("${good[@]}" --method regionclip --logs made)
accepted 'nouns of the data' "${nouns[@]}" --embed-path made.npy --train-embed-path made.npy --name in_order
accepted 'nouns turned round' "${nouns[@]}" --embed-path made.npy --train-embed-path turned.safetensors --name turned
losses() { grep -o '"loss_contrast":[^,}]*' "made/$1/metrics.jsonl"; }
[[ -n $(losses in_order) && $(losses in_order) == "$(losses turned)" ]] || failed 'nouns turned round' 'another loss than in order'
rm -rf out && mkdir out
bad 'nouns of other things' "--train-embed-path 'blue.npy'|no row named 'red box'" --embed-path made.npy --method regionclip \
  --train-embed-path blue.npy

# Weights without a text tower: what is trained from them has none either.
good=(train --model model.json --precision fp32 --det-image-size 32 --batch-size 1 --epochs 1 --workers 0
  --train-data instances.json --train-image-root images --logs made)
accepted 'a model without a text tower' "${good[@]}" --model blind.json --pretrained none --name blind
accepted 'weights without a text tower' "${good[@]}" --pretrained made/blind/checkpoints/epoch_1.pt --name still_blind
grep -q 'no text tower' "$work.err" || failed 'weights without a text tower' 'no word about it'
refused 'text by weights that have none' '--pretrained|without a text tower' embed-text --model model.json \
  --pretrained made/still_blind/checkpoints/epoch_1.pt --tokenizer tokenizer.json --names 'red box' --out out/e.npy

finish
