#!/usr/bin/env bash
# Fuzzes the parsers with libFuzzer and AddressSanitizer, one after another. usage: fuzz.sh [--minutes N] [TARGET...]
#   --minutes N  for each target (default 20)
#   TARGET       config_json, gguf, npz, ... (tests/fuzz/*_fuzz.cpp); default: all
# What is found lies in build/fuzz/findings/TARGET; a mended one is kept, small, in tests/fuzz/corpus/TARGET.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
minutes=20
if [ "${1:-}" = --minutes ]; then minutes=${2:?--minutes needs a number}; shift 2; fi
known=(); for file in tests/fuzz/*_fuzz.cpp; do known+=("$(basename "$file" _fuzz.cpp)"); done
targets=("$@"); [ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/${target}_fuzz.cpp" ] || die "no target $target; known: ${known[*]}"
done
printf 'int main() {}' | clang++ -x c++ - -fsanitize=address,fuzzer-no-link -o /dev/null 2>/dev/null ||
  die "clang++ with libFuzzer is needed: apt-get install clang libclang-rt-dev"
scripts/build.sh fuzz "${targets[@]/#/fuzz_}"

# Copies beginnings for the fuzzer, the goldens of each format, to a folder. Two files of one input have a zero byte between.
joined() { { cat "$1"; printf '\0'; cat "$2"; } >"$3"; }
seed() {
  local target=$1 to=$2 file
  case "$target" in
    adapter) for file in tests/golden/io/adapters/*/adapter_model.safetensors; do
        joined "${file%/*}/adapter_config.json" "$file" "$to/golden-$(basename "${file%/*}")"; done ;;
    quantized) for file in tests/golden/io/quantized/*.json; do
        joined "$file" "${file%.json}.safetensors" "$to/golden-$(basename "$file" .json)"; done ;;
    config_json) for file in tests/golden/models/*/config.json; do cp "$file" "$to/golden-$(basename "${file%/*}")"; done ;;
    gguf) for file in tests/golden/models/*/model.gguf; do cp "$file" "$to/golden-$(basename "${file%/*}")"; done ;;
    safetensors) for file in tests/golden/models/*/model.safetensors; do cp "$file" "$to/golden-$(basename "${file%/*}")"; done ;;
    image) cp tests/golden/io/images/*.png tests/golden/io/images/*.jpg "$to" ;;
    image_processor) printf '{"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": 7}}' >"$to/vit"
      printf '{"feature_extractor_type": "CLIPFeatureExtractor", "size": 8, "crop_size": 11, "resample": 1}' >"$to/clip" ;;
    npz) cp tests/golden/io/numpy*.npz "$to" ;;
    sentencepiece) cp tests/golden/text/*.model "$to" ;;
    interventions|report|results) scripts/build.sh fuzz outliers
      "$(python_with_torch)" tests/fuzz/seeds.py "$target" "$to" build/fuzz/outliers ;;
    corpus|vocab_merges) "$(python_with_torch)" tests/fuzz/seeds.py "$target" "$to" ;;
    tokenizer_json) find tests/golden/text -name '*.json' -size -64k -exec cp {} "$to" \; ;;
    rules) cp src/outliers/studies/data/rules.toml "$to" ;;
    torch_file) cp tests/golden/io/torch/*.bin "$to" ;;
  esac
}

failed=()
for target in "${targets[@]}"; do
  grown=build/fuzz/corpus/$target findings=build/fuzz/findings/$target
  mkdir -p "$grown" "$findings"
  seed "$target" "$grown"
  say "$target: $minutes minutes"
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 "build/fuzz/tests/fuzz/fuzz_$target" \
    -max_total_time=$((60 * minutes)) -rss_limit_mb=2048 -timeout=20 -max_len=131072 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$grown" "tests/fuzz/corpus/$target" 2>&1 |
    tee "build/fuzz/$target.log" | grep -vE '^(#|\s+NEW_FUNC)' || true
  grep -q '^Done ' "build/fuzz/$target.log" || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || die "found something in: ${failed[*]} (build/fuzz/findings)"
