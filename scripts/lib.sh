# Shared by the scripts: where things are, and how they talk. Source it; it changes nothing.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${OUTLIERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/outliers}
MODELS=${OUTLIERS_MODELS:-$CACHE/models}
SMOLLM=$MODELS/SmolLM2-135M-Instruct.Q4_1.gguf
QWEN=$MODELS/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
GEMMA=$MODELS/gemma-3-270m-q4_k_m.gguf

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The Python that has PyTorch: the user's own, or the .venv that setup.sh makes.
python_with_torch() { printf '%s' "${OUTLIERS_PYTHON:-$ROOT/.venv/bin/python}"; }
