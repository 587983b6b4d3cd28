#!/usr/bin/env python3
"""Joins a page's parts into one HTML template for the program to fill in; the build runs it.

The style, the scripts (in the order given, as one strict block) and plotly.js (compressed with zlib, as base64) go where
the template has {{style}}, {{script}} and {{plotly}}. {{csp}} becomes a content security policy that allows these scripts,
by their hashes, and nothing else: no request can leave the page. What stays in double braces is the program's to fill.
usage: assemble.py --template T.html --style S.css [--plotly P.js] -o OUT.html SCRIPT.js...
"""
import argparse
import base64
import hashlib
import pathlib
import re
import sys
import zlib

FILLED_LATER = {"title", "answer", "results", "index", "arrays_index", "arrays", "interventions"}


def hash_source(script):
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--template", required=True, type=pathlib.Path)
    parser.add_argument("--style", required=True, type=pathlib.Path)
    parser.add_argument("--plotly", type=pathlib.Path)
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path)
    parser.add_argument("scripts", nargs="+", type=pathlib.Path)
    args = parser.parse_args()

    script = '"use strict";\n(() => {\n' + "\n".join(path.read_text("utf-8") for path in args.scripts) + "})();\n"
    parts = {"style": args.style.read_text("utf-8"), "script": script, "plotly": ""}
    sources = [hash_source(script)]
    if args.plotly:
        # A script element's text has no carriage returns: the parser turns them into line feeds.
        plotly = args.plotly.read_text("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        if "Plotly" not in plotly[:2000]:
            sys.exit(f"error: {args.plotly} is not plotly.js")
        sources.append(hash_source(plotly))
        parts["plotly"] = base64.b64encode(zlib.compress(plotly.encode(), 9)).decode()
    # plotly.js makes a style element, and charts set style attributes; neither can load anything under default-src 'none'.
    parts["csp"] = (f"default-src 'none'; script-src {' '.join(sources)}; style-src 'unsafe-inline'; img-src data: blob:; "
                    "base-uri 'none'; form-action 'none'")
    for name, end in (("style", "</style"), ("script", "</script")):
        if end in parts[name].lower() or "<!--" in parts[name]:
            sys.exit(f"error: the page's {name} holds {end} or <!--, which would end or confuse its element")

    def place(match):
        name = match.group(1)
        if name in parts:
            return parts[name]
        if name not in FILLED_LATER:
            sys.exit(f"error: {args.template}: unknown place {match.group(0)}")
        return match.group(0)
    template = args.template.read_text("utf-8")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(re.sub(r"\{\{(\w+)\}\}", place, template), "utf-8")


if __name__ == "__main__":
    main()
