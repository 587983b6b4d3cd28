#!/usr/bin/env bash
# The main job on a real model: sets up, builds, fetches SmolLM2 135M and reports its outliers.
# usage: demo.sh [smollm|qwen|gemma] [options of outliers report...]
# Everything it makes stays in this folder (.venv, build, outliers-demo) and in the user's cache directory.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
name=smollm
case "${1:-}" in smollm|qwen|gemma) name=$1; shift ;; ''|-*) ;; *) die "unknown model $1; known: smollm, qwen, gemma" ;; esac
options=()
case $name in
  smollm) model=$SMOLLM ;;
  qwen) model=$QWEN; options=(--bos never) ;;
  gemma) model=$GEMMA ;;
esac
scripts/setup.sh
scripts/build.sh release outliers
"$(python_with_torch)" scripts/fetch_models.py "$name"
say "outliers report $(basename "$model") -o outliers-demo ${options[*]} $*"
build/release/outliers report "$model" -o outliers-demo --force "${options[@]}" "$@"
