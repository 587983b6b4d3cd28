#!/usr/bin/env bash
# Sets up, builds and runs the tests. usage: test.sh [--all | PRESET] [ctest arguments...]
#   (nothing)     the default run: everything but the labels slow, fuzz and bench; real models included
#   --all         every label
#   asan, ubsan   the default run under a sanitizer
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
preset=release; select=(--label-exclude '^(slow|fuzz)$')
case "${1:-}" in
  --all) select=(); shift ;;
  asan|ubsan|dev|release|cuda) preset=$1; shift ;;
esac
scripts/setup.sh
scripts/build.sh "$preset"
"$(python_with_torch)" scripts/fetch_models.py || [ -n "${OUTLIERS_OFFLINE:-}" ] || die "the tests want the real models; set OUTLIERS_OFFLINE=1 to skip the tests that need them"
exec ctest --preset "$preset" -j "$(nproc)" "${select[@]}" "$@"
