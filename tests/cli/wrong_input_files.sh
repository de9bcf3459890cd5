#!/usr/bin/env bash
# clipself info, convert, verify, bench and quickstart on wrong input, and the program without a command.
source "$(dirname "${BASH_SOURCE[0]}")/harness.sh"
make_checkpoints
accepted 'convert' convert tiny.pt tiny.safetensors

# info
for file in tiny.pt tiny.safetensors instances.json panoptic.json embeddings.npy images/000001.png; do
  accepted "info $file" info $file
  for part in 1 40 95; do
    truncated $file $part >"cut.${file##*.}"
    refused "info of $file cut at $part %" "cut.${file##*.}" info "cut.${file##*.}"
  done
done
: >nothing
head -c 4096 /dev/zero >zeros.pt
refused 'info of a missing file' missing.pt info missing.pt
refused 'info of a folder' images info images
refused 'info of an empty file' nothing info nothing
refused 'info of zeros' zeros.pt info zeros.pt
refused 'info of text' README.md info README.md
refused 'info of nothing' FILE info
refused 'info with an unknown flag' '--no-such-flag' info tiny.pt --no-such-flag
sed 's/"file_name":/"other":/' instances.json >changed.json
refused 'info of data without a key' changed.json info changed.json
# A safetensors header that promises more than the file holds, and one that is no JSON.
printf '\xff\xff\xff\xff\xff\xff\xff\x7f{}' >huge.safetensors
refused 'info of a huge header' huge.safetensors info huge.safetensors
printf '\x08\x00\x00\x00\x00\x00\x00\x00{"a": 1,' >broken.safetensors
refused 'info of a broken header' broken.safetensors info broken.safetensors

# convert
accepted 'convert to bf16' convert tiny.pt half.pt --dtype bf16
refused 'convert a missing file' missing.pt convert missing.pt out/a.pt
refused 'convert a picture' 000001.png convert images/000001.png out/a.pt
refused 'convert data' instances.json convert instances.json out/a.safetensors
truncated tiny.pt 50 >cut.pt
refused 'convert a cut file' cut.pt convert cut.pt out/a.safetensors
refused 'convert to an unknown type' out/a.txt convert tiny.pt out/a.txt
refused 'convert to no type' out/a convert tiny.pt out/a
refused 'convert to itself' tiny.pt convert tiny.pt tiny.pt
refused 'convert to an unknown number type' '--dtype|int8' convert tiny.pt out/a.pt --dtype int8
refused 'convert through a file' model.json convert tiny.pt model.json/a.pt
refused 'convert into /proc' /proc convert tiny.pt /proc/a.safetensors
mkdir folder.pt
refused 'convert to a folder' folder.pt convert tiny.pt folder.pt
refused 'convert without a target' OUT convert tiny.pt
cp tiny.pt kept.pt
refused 'convert a cut file over another' cut.pt convert cut.pt kept.pt
cmp -s tiny.pt kept.pt || failed 'convert a cut file over another' 'the old file was changed'

# verify
refused 'verify a missing folder' missing verify missing
refused 'verify nothing' dir verify
refused 'verify an unknown kind' '--kind|no-such-kind' verify images --kind no-such-kind

# bench
refused 'bench of nothing' WHAT bench
refused 'bench of an unknown thing' 'no-such-thing' bench no-such-thing
refused 'bench of an unknown model' no-such-model bench crops --model no-such-model
refused 'bench with an odd size' '--image-size|33' bench dense --model model.json --image-size 33
refused 'bench with no steps' '--steps' bench crops --model model.json --steps 0
refused 'bench in an unknown precision' '--precision|fp8' bench crops --model model.json --image-size 32 --precision fp8
refused 'bench of a loader without images' '--image-folder' bench loader --model model.json --image-size 32
refused 'bench of a missing folder' missing bench loader --model model.json --image-size 32 --image-folder missing
mkdir empty
refused 'bench of an empty folder' empty bench loader --model model.json --image-size 32 --image-folder empty

# quickstart
refused 'quickstart through a file' model.json quickstart --out model.json/x
refused 'quickstart in /proc' /proc quickstart --out /proc/x
refused 'quickstart with a missing checkpoint' '--checkpoint|missing.pt' quickstart --out out --checkpoint missing.pt
refused 'quickstart with no steps' '--steps' quickstart --out out --steps 0
refused 'quickstart with an unknown flag' '--no-such-flag' quickstart --out out --no-such-flag
refused 'quickstart with a wrong rate' '--lr' quickstart --out out --lr nan

# The program itself
refused 'no command' 'command'
refused 'unknown command' 'no-such-command' no-such-command
refused 'unknown flag' '--no-such-flag' --no-such-flag
accepted 'help' --help
accepted 'version' --version

finish
