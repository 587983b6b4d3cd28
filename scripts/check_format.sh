#!/usr/bin/env bash
# Fails with the names of the files that clang-format would change.
set -euo pipefail
cd "$(dirname "$0")/.."
# --dry-run's diagnostics name a file and line; -Werror makes them the exit code.
git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs "${CLANG_FORMAT:-clang-format}" --dry-run -Werror
