#!/usr/bin/env python3
"""Pictures of a report's page for the README and the docs: light, dark, and as a telephone shows it.

Each is a PNG of at most 300 kB. Needs chromium and chromedriver (scripts/setup.sh installs them).
usage: screenshots.py DIR [--layer N] [-o docs/images]
"""
import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/apps"))
from browser import Browser  # noqa: E402

LIMIT = 300_000
# name, width, height, colours, what stands at the top, the view
PICTURES = [
    ("page-light", 1280, 860, "light", "#answer", ""),
    ("page-dark", 1280, 860, "dark", "#answer", ""),
    ("page-activations", 1280, 700, "light", "#prompt-3d-title", ""),
    ("page-weights", 1280, 900, "light", "#weights", ""),
    ("page-attention", 1280, 820, "dark", "#attention", "#layer={layer}"),
    ("page-phone", 390, 844, "light", "#answer", ""),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=pathlib.Path, help="a directory that outliers report has made")
    parser.add_argument("--layer", type=int, default=0, help="of the picture of attention")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "docs/images")
    args = parser.parse_args()
    page = args.report / "index.html"
    if not page.exists():
        sys.exit(f"error: {page} is not there; make it with outliers report or outliers plot")
    args.output.mkdir(parents=True, exist_ok=True)
    browser = Browser()
    try:
        for name, width, height, colours, top, view in PICTURES:
            browser.size(width, height, mobile=width < 500)
            browser.prefer(prefers_color_scheme=colours)
            browser.open(page, view.format(layer=args.layer))
            browser.run("const e = document.querySelector(arguments[0]); window.scrollTo({top: e.id === 'answer' ? 0 : "
                        "e.getBoundingClientRect().top - 84, behavior: 'instant'})", top)
            if top == "#prompt-3d-title":
                browser.wait("return document.querySelector('.plot3d').dataset.drawn")
            time.sleep(1)  # for WebGL's first frame; nothing is asserted here
            path = args.output / f"{name}.png"
            browser.screenshot(path)
            size = path.stat().st_size
            if size > LIMIT:
                sys.exit(f"error: {path} has {size} bytes, more than {LIMIT}")
            print(f"{path} {size}")
    finally:
        browser.close()


if __name__ == "__main__":
    main()
