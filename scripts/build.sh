#!/usr/bin/env bash
# Configures and builds a preset (default: release). Installs nothing. usage: build.sh [PRESET] [TARGET...]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
preset=${1:-release}; shift || true
OUTLIERS_PYTHON=$(python_with_torch); export OUTLIERS_PYTHON
[ -x "$OUTLIERS_PYTHON" ] || die "$OUTLIERS_PYTHON does not exist; run scripts/setup.sh, or set OUTLIERS_PYTHON to a Python with torch"
log=$(mktemp); trap 'rm -f "$log"' EXIT
cmake --preset "$preset" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
sed -n 's/^-- \(Without .*\)/\1/p' "$log" >&2  # what this build cannot do
cmake --build --preset "$preset" ${@:+--target "$@"}
