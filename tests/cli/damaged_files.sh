#!/usr/bin/env bash
# clipself verify of files: what is whole is said to be, what is damaged or hostile is refused with a line of its own, and
# nothing else happens.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
corpus=$world/../../fuzz/corpus

accepted 'a checkpoint' train --model model.json --pretrained none --precision fp32 --det-image-size 32 --workers 0 --train-data instances.json \
  --train-image-root images --dataset-type grid_distill --epochs 1 --batch-size 1 --logs made --name run
mkdir -p sound damaged
cp made/run/checkpoints/epoch_1.pt images/000001.png embeddings.npy instances.json sound/
"$program" convert made/run/checkpoints/epoch_1.pt sound/weights.safetensors 2>/dev/null
accepted 'what is whole' verify sound
checks=$((checks + 1))
[[ $(grep -c '^whole ' "$work.out") == 5 ]] || failed 'what is whole' 'not five'
grep -q '5 files: 5 whole, 0 refused' "$work.out" || failed 'what is whole' 'no summary'
accepted 'one file' verify sound/epoch_1.pt

# Every file cut off somewhere, and a byte in the middle changed where there are checksums.
for file in sound/*; do
  size=$(stat -c %s "$file")
  for part in 0 1 30 97; do
    head -c $((size * part / 100)) "$file" >"damaged/$part.$(basename "$file")"
  done
done
middle=$(($(stat -c %s sound/epoch_1.pt) / 2))
cp sound/epoch_1.pt damaged/changed.pt
printf '\xff\x00\xff\x00' | dd of=damaged/changed.pt bs=1 seek=$middle conv=notrunc 2>/dev/null
find "$corpus" -name 'hostile_calls*.pt' -exec cp {} damaged/ \;
find "$corpus" -name 'hostile_name_climbs*.pt' -exec cp {} damaged/ \;
find "$corpus" -name 'hostile_list_that_holds_itself.pt' -exec cp {} damaged/ \;
find "$corpus" -name 'hostile_storage_huge.pt' -exec cp {} damaged/ \;
find "$corpus" -name 'hostile_bad_crc*.pt' -exec cp {} damaged/ \;
count=$(find damaged -type f | wc -l)
before=$(find . -type f | sort | grep -v '^./made' | xargs md5sum)
run verify damaged
checks=$((checks + 1))
((status == 2)) || failed 'what is damaged' "exit code $status instead of 2"
[[ $(grep -c '^refused ' "$work.out") == "$count" ]] || failed 'what is damaged' "not all $count refused"
grep -q "$count files: 0 whole, $count refused" "$work.out" || failed 'what is damaged' 'no summary'
! grep -qE 'internal|Exception raised|frame #' "$work.out" "$work.err" || failed 'what is damaged' 'internals in a message'
[[ $before == "$(find . -type f | sort | grep -v '^./made' | xargs md5sum)" ]] || failed 'what is damaged' 'a file changed'
run verify damaged --json
checks=$((checks + 1))
((status == 2)) && grep -q "\"refused\": $count" "$work.out" || failed 'as JSON' 'no count'
rm -rf out && mkdir out
mkdir empty
refused 'an empty folder' 'no file' verify empty
finish
