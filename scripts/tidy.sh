#!/usr/bin/env bash
# clang-tidy with the short list of .clang-tidy over our sources. usage: tidy.sh [FILE...]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
scripts/build.sh release outliers_commit >/dev/null  # configures, and writes the one generated header
database=build/tidy
mkdir -p "$database"
# clang cannot read gcc's precompiled header, omp.h and some of its options.
sed -E -e 's/-include [^ ]*cmake_pch\.hxx//g; s/-Winvalid-pch//g; s/-march=[^ ]+//g; s/-fopenmp//g' \
  -e 's/"command": "[^"]*ccache /"command": "/; s/-Wno-stringop-over(flow|read)//g; s/-Wno-restrict//g' \
  build/release/compile_commands.json >"$database/compile_commands.json"
files=("$@")
# The bindings of CUDA kernels are compiled in the preset cuda only, what reads Parquet only where pyarrow is.
left_out='/cuda/'
grep -q 'parquet/module\.cpp' "$database/compile_commands.json" || left_out+='|parquet/module'
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'src/*.cpp' 'apps/*.cpp' | grep -vE "$left_out")
# The count of warnings in headers that are not ours is no news.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 "${CLANG_TIDY:-clang-tidy}" -p "$database" --quiet \
  2> >(grep -vE '^[0-9]+ warnings? generated\.$' >&2)
