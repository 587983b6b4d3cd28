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
"$(python_with_torch)" scripts/fetch_models.py || [ -n "${OUTLIERS_OFFLINE:-}" ] ||
  die "the tests want the real models; set OUTLIERS_OFFLINE=1 to skip the tests that need them"

# The closing lines: what was skipped and why, then CTest's own. In CI a test is skipped for want of a GPU, or of the
# right to mount, only.
export OUTLIERS_SKIPPED=$ROOT/build/$preset/skipped
rm -rf "$OUTLIERS_SKIPPED"; mkdir -p "$OUTLIERS_SKIPPED"
log=$(mktemp); trap 'rm -f "$log"' EXIT
# Tests share the cores: threads that wait by spinning take them from the others (six times the time, measured).
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
whole=; [ $# -gt 0 ] || whole=yes
[ -z "$whole" ] || python3 tests/goldens_read.py mark
status=0; ctest --preset "$preset" -j "$(nproc)" "${select[@]}" "$@" 2>&1 | tee "$log" || status=$?
skipped=$(cat "$OUTLIERS_SKIPPED"/* 2>/dev/null | sort) || true
avoidable=$(grep -vE "CUDA|no namespace" <<<"$skipped") || true
if [ -n "$whole" ] && [ "$status" = 0 ] && [ -z "$avoidable" ]; then
  python3 tests/goldens_read.py check || status=1
fi
if [ -n "$skipped" ]; then
  say "skipped"
  printf '%s\n' "$skipped" >&2
  [ -z "${CI:-}" ] || [ -z "$avoidable" ] ||
    die "all but those that want CUDA or a namespace can run here; scripts/setup.sh installs what they need"
  sed -n '/% tests passed/,$p' "$log"
fi
exit "$status"
