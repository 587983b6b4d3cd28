#!/usr/bin/env bash
# clang-tidy with the short list of .clang-tidy over our sources. usage: tidy.sh [FILE...]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/build.sh release outliers_flags >/dev/null 2>&1 || cmake --preset release >/dev/null
database=build/tidy
mkdir -p "$database"
# clang cannot read gcc's precompiled header, nor some of gcc's options.
sed -E 's/-include [^ ]*cmake_pch\.hxx//g; s/-Winvalid-pch//g; s/-march=[^ ]+//g; s/"command": "[^"]*ccache /"command": "/; s/-Wno-stringop-over(flow|read)//g; s/-Wno-restrict//g' \
  build/release/compile_commands.json >"$database/compile_commands.json"
files=("$@")
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'src/*.cpp' 'apps/*.cpp')
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 "${CLANG_TIDY:-clang-tidy}" -p "$database" --quiet
