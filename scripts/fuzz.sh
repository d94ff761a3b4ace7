#!/usr/bin/env bash
# Feeds damaged files to the parsers that we wrote, with libFuzzer and sanitizers, until one breaks or the time is over.
# usage: scripts/fuzz.sh [--seconds N] [NAME…]      N for each fuzzer (default 60); NAME: description, table …, as in tests/fuzz
# Inputs that taught something are kept in build/fuzz/corpus/NAME; one that breaks a parser is named and kept.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local seconds=60 names=()
  while [ $# -gt 0 ]; do
    case $1 in
      --seconds) seconds=${2:-} && shift ;;
      -h | --help) sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" && return ;;
      -*) fail 2 "unknown option '$1'" "see scripts/fuzz.sh --help" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || fail 2 "'$seconds' is no number of seconds" "--seconds 600"
  begin 3
  step "clang with libFuzzer"
  install_packages clang-16 libclang-rt-16-dev
  if [ ${#names[@]} -eq 0 ]; then
    mapfile -t names < <(basename -s .cpp "$ROOT"/tests/fuzz/[^f]*.cpp)
  fi
  step "build in build/fuzz"
  configure fuzz
  build fuzz "${names[@]/#/fuzz_}"
  step "${#names[@]} fuzzers, $seconds s each: ${names[*]}"
  local name
  for name in "${names[@]}"; do
    fuzz "$name" "$seconds"
  done
}

# fuzz NAME SECONDS
fuzz() {
  local corpus="$ROOT/build/fuzz/corpus/$1" log="$ROOT/build/fuzz/$1.log"
  mkdir -p "$corpus"
  seeds "$1" "$corpus"
  if ! "$ROOT/build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$2" -rss_limit_mb=4096 -timeout=20 -max_len=65536 -detect_leaks=1 \
    -artifact_prefix="$ROOT/build/fuzz/$1-" "$corpus" >"$log" 2>&1; then
    tail -40 "$log" >&2
    fail 1 "fuzz_$1 found something" "run build/fuzz/tests/fuzz/fuzz_$1 with the file that the last lines name"
  fi
  say "      $1: $(sed -n 's/^Done //p' "$log"), nothing found"
}

# seeds NAME FOLDER: valid files to begin with, where the repository has some.
seeds() {
  case $1 in
    description)
      cp "$ROOT/tests/data/nuclei/dataset.json" "$2/seed"
      sed 's/"version": 1/"version": 3/; s/"type": "u8"/&, "codec": "raw"/; s/"splits": \[/"fields": [{"name": "m", "kind": "mask", "type": "u8", "shape": [2, 2], "codec": "png", "names": ["a"]}],\n  &/' \
        "$2/seed" >"$2/fields"
      ;;
    cells_of_fields) printf '\0[[1, 2.5, 3, 4, "a"], [0, 0, 1, 1]]' >"$2/seed" ;;
    coco)
      printf '%s' '{"images":[{"id":1,"file_name":"a.png","height":5,"width":6,"plate":"p"}],"categories":[{"id":2,"name":"c"}],"annotations":[{"id":1,"image_id":1,"category_id":2,"bbox":[0,0,1,1],"segmentation":[[1,1,4,1,4,3]]},{"id":2,"image_id":1,"category_id":2,"iscrowd":1,"bbox":[0,0,1,1],"segmentation":{"size":[5,6],"counts":"345M<"}},{"id":3,"image_id":1,"category_id":2,"bbox":[0,0,1,1],"segmentation":{"size":[5,6],"counts":[10,20]}}]}' \
        >"$2/seed"
      ;;
    voc) cp "$ROOT"/tests/data/annotated/voc/Annotations/*.xml "$2" ;;
    table) printf 'path,label,"con,text"\na.png,0,"x ""y"""\n' >"$2/seed" ;;
    config) find "$ROOT/configs" -name '*.yaml' -exec cp {} "$2" \; ;;
    checkpoint_meta) printf '%s' '{"format":"cohort-checkpoint","version":1,"step":1,"epoch":0,"seed":7,"config":"a: 1","dataset":"d","file_bytes":9,"tensors":{"/x":{"shape":[2,3],"slices":[{"begin":0,"count":6,"checksum":"xxh3:0000000000000001"}]}}}' >"$2/seed" ;;
    report) printf 'seed: 1\nmodel: {name: vit}\n\0{"kind":"step","step":1,"loss":0.5}\n{"kind":"end","step":1,"seconds":1,"images_per_second":2,"ranks":1,"parameters":3}\n' >"$2/seed" ;;
    safetensors) find "$ROOT/tests" -name '*.safetensors' -size -64k -exec cp {} "$2" \; ;;
    npz) find "$ROOT/tests" -name '*.npz' -size -64k -exec cp {} "$2" \; ;;
    text_merges) (cat "$ROOT/tests/golden/bpe_small.merges.txt" && printf '\0It’s &eacute; cell') >"$2/seed" ;;
    text_vocabulary) printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\nheart\n##s\n\0Hearts. [SEP] é' >"$2/seed" ;;
    zarr) (cd "$ROOT/tests/data/readers" && for array in gzip raw checked big; do
      { cat $array.zarr/zarr.json && printf '\0' && cat $array.zarr/c/0/0; } >"$2/$array"
    done) ;;
    ome_xml) printf '<OME UUID="u"><Plate Name="p"><Well Row="0" Column="1"><WellSample><ImageRef ID="i"/></WellSample></Well></Plate><Image ID="i"><Pixels DimensionOrder="XYCZT" SizeC="2" SizeZ="3" SizeT="1"><Channel Name="a"/><TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID FileName="b.ome.tif">u</UUID></TiffData></Pixels></Image></OME>' >"$2/seed" ;;
    tar) tar -cf "$2/seed" -C "$ROOT/tests/data" arrays.py nuclei/dataset.json ;;
    exif) printf 'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0tiff:Orientation="6"------' >"$2/seed" ;;
    image_file) find "$ROOT/tests" \( -name '*.png' -o -name '*.tif' -o -name '*.jpg' \) -size -64k -exec cp {} "$2" \; ;;
  esac
}

main "$@"
