#!/usr/bin/env bash
# The main job on a real model: sets up, builds, fetches Qwen2.5-Coder 0.5B and reports its outliers.
# Everything it makes stays in this folder (.venv, build, outliers-demo) and in the user's cache directory.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/setup.sh
scripts/build.sh release outliers
"$(python_with_torch)" scripts/fetch_models.py qwen
say "outliers report $(basename "$QWEN") -o outliers-demo --bos never"
build/release/outliers report "$QWEN" -o outliers-demo --bos never --force "$@"
