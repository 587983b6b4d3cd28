#!/usr/bin/env python3
"""Writes what README.md and docs/page.md show of the demo: the summary, the figures and the page's pictures, and the numbers in their
descriptions, all from one report of SmolLM2 135M (scripts/demo.sh fetches it). Run it after a change of the summary, figures or page.

usage: readme.py [--no-pictures]      needs build/release/outliers, gnuplot, chromium and chromedriver
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
FIGURES = {"figure-down": "exist_down", "figure-attention": "exist_attention", "figure-layers": "pos_out_layers"}


def replace(path, pattern, text):
    """Replaces the one match of `pattern` in a file."""
    old = path.read_text()
    new, count = re.subn(pattern, lambda _: text, old, flags=re.S)
    if count != 1:
        sys.exit(f"error: {path} has {count} places that look like {pattern!r}")
    path.write_text(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-pictures", action="store_true", help="leave the PNG files as they are")
    args = parser.parse_args()
    cache = os.environ.get("OUTLIERS_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outliers")
    model = pathlib.Path(os.environ.get("OUTLIERS_MODELS") or os.path.join(cache, "models")) / MODEL
    report = ROOT / "outliers-demo"
    printed = subprocess.run([ROOT / "build/release/outliers", "report", model, "-o", report, "--force"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    summary = re.search(r"^born .*?(?=^cost )", printed, re.S | re.M).group(0)
    block = "".join(f"    {line}\n" for line in summary.splitlines())
    replace(ROOT / "README.md", r"    \$ outliers report \S+ -o outliers-demo[^\n]*\n.*?\n(?=\S)",
            f"    $ outliers report {MODEL} -o outliers-demo\n\n{block}\n")

    results = json.loads((report / "results.json").read_text())
    life = results["summary"]["lives"][0]
    born, removed = life["born_layer"], life["removed_layer"]
    birth = results["layers"][born]["inputs"][life["input"]]["writes"]["largest"]
    neuron, channel = birth["neurons"][0], birth["channel"]
    for name, text in {
        "figure-down": f"Layer {born}: the input of the down projection by token and neuron in three dimensions; neuron "
        f"{neuron['neuron']} of the first token "
                       f"stands at {abs(neuron['down_in']):,.0f}",
        "figure-attention": f"Layer {born + 1}: attention of the prompt, mean over heads; every query looks at the first token most",
        "figure-layers": "The three largest values of the residual stream and its median over the layers, log scale: a step up at layer "
                         f"{born}, a plateau, a step down at layer {removed}",
    }.items():
        replace(ROOT / "README.md", rf'(?<=images/{name}\.png" width="32%" alt=")[^"]*', text)
    replace(ROOT / "docs/page.md", r"(?<=!\[)[^\]]*(?=\]\(images/page-activations\.png\))",
            f"The prompt at layer {born} in three dimensions: tokens by channels, with channel {channel} of the "
            "first token far above the rest")
    if args.no_pictures:
        return
    for name, figure in FIGURES.items():
        shutil.copy(report / "figures" / f"{figure}.png", IMAGES / f"{name}.png")
    subprocess.run([sys.executable, ROOT / "scripts/screenshots.py", report, "--layer", str(born + 1)], check=True)


if __name__ == "__main__":
    main()
