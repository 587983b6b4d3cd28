#!/usr/bin/env bash
# Installs what the build and the tests need: Debian/Ubuntu packages and a .venv with PyTorch. Does nothing where all is there.
# With OUTLIERS_PYTHON=/path/to/python (one that has torch 2.11 or newer) it installs nothing and only says what is missing.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

PACKAGES=(
  g++ cmake ninja-build pkg-config git ccache
  python3 python3-venv
  libcli11-dev libfmt-dev libsimdjson-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev
  libtomlplusplus-dev libpng-dev libjpeg-dev
  libcurl4-openssl-dev libssl-dev openssl
  libgtest-dev libgmock-dev libbenchmark-dev
  clang clang-format clang-tidy
  gnuplot-nox fonts-dejavu-core fonts-droid-fallback
)
# For the tests of the page, and fuzzing: where the distribution has them. Ubuntu has Chromium as a snap only.
OPTIONAL=(chromium chromium-driver libclang-rt-dev)

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
missing=()
for package in "${PACKAGES[@]}"; do
  installed "$package" || missing+=("$package")
done

if [ -n "${OUTLIERS_PYTHON:-}" ]; then
  "$OUTLIERS_PYTHON" -c 'import torch' 2>/dev/null ||
    die "OUTLIERS_PYTHON=$OUTLIERS_PYTHON cannot import torch; install torch 2.11 or newer there, or unset it"
  plotly=$(grep -o '^plotly==[0-9.]*' "$ROOT/requirements.txt")
  [ -n "${OUTLIERS_PLOTLY_JS:-}" ] || "$OUTLIERS_PYTHON" -c 'import plotly' 2>/dev/null ||
    die "OUTLIERS_PYTHON=$OUTLIERS_PYTHON has no plotly, whose plotly.js the page embeds; install it" \
      "($OUTLIERS_PYTHON -m pip install $plotly), or set OUTLIERS_PLOTLY_JS to a plotly.min.js"
  "$OUTLIERS_PYTHON" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pyarrow") is None)' ||
    say "OUTLIERS_PYTHON=$OUTLIERS_PYTHON has no pyarrow, so Parquet files cannot be read as corpora"
  [ ${#missing[@]} -eq 0 ] || say "OUTLIERS_PYTHON is set, so nothing is installed; if the build stops: apt-get install ${missing[*]}"
  exit 0
fi

sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "install these packages (Debian's names): ${missing[*]}"
  $sudo apt-get update -q
fi
for package in "${OPTIONAL[@]}"; do
  ! installed "$package" && apt-cache show "$package" >/dev/null 2>&1 && missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

venv=$ROOT/.venv
stamp=$venv/.requirements
if ! cmp -s "$ROOT/requirements.txt" "$stamp"; then
  say "creating .venv with PyTorch"
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --requirement "$ROOT/requirements.txt"
  cp "$ROOT/requirements.txt" "$stamp"
fi
