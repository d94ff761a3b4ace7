#!/usr/bin/env python3
"""Runs all comparisons with other programs, one after the other, and writes their tables between the markers of docs/performance.md.

    perf/peers/install.sh && .deps/python/bin/python perf/peers/run_all.py

Some 40 minutes on 2 cores; --quick takes small sizes, to see that all of it works, and leaves the document alone.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import common

DOCUMENT = common.ROOT / "docs/performance.md"
COMPARISONS = {  # arguments, and those of --quick
    "collectives": (["--rounds", "3", "--seconds", "0.12", "--sizes", *(str(1 << power) for power in (16, 20, 22, 24, 26))], ["--sizes", "65536", "--seconds", "0.1"]),
    "loader": (["--rounds", "3"], ["--images", "1024", "--seconds", "0.3", "--codecs", "raw"]),
    "readers": (["--rounds", "3"], ["--copies", "1"]),  # scripts/bootstrap.sh --samples
    "views": (["--rounds", "3"], ["--seconds", "0.3"]),
    "training": (["--rounds", "3", "--steps", "3", "--images", "8"], ["--model", "vit_tiny", "--image", "32", "--images", "4", "--steps", "2"]),
    "step": (["--rounds", "3"], ["--model", "vit_tiny", "--image", "32", "--images", "2", "--steps", "1", "--peers", "eager"]),
    "dino": (["--rounds", "3"], ["--model", "vit_tiny", "--images", "2", "--prototypes", "256", "--steps", "1"]),
    "evaluation": (["--rounds", "3"], ["--model", "vit_tiny", "--image", "32", "--images", "64"]),
    "checkpoint": (["--rounds", "3", "--dir", "build"], ["--mib", "32", "--dir", "build"]),
}


def run(name, quick):
    """The table of a comparison, in Markdown."""
    arguments, small = COMPARISONS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, Path(__file__).parent / f"{name}.py", *(["--rounds", "1", *small] if quick else arguments), "--json", file]
        subprocess.run([str(word) for word in command], check=True, cwd=common.ROOT, stdout=subprocess.DEVNULL)
        return json.loads(file.read_text())["table"]


def write(name, table):
    text = DOCUMENT.read_text()
    begin, end = f"<!-- peers: {name} -->", f"<!-- end: {name} -->"
    changed, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"docs/performance.md has no place for '{name}': put '{begin}' and '{end}' there, a line each")
    DOCUMENT.write_text(changed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, tables on the terminal alone")
    options = parser.parse_args()
    for name in options.only:
        print(f"{name} …", file=sys.stderr)
        table = run(name, options.quick)
        print(f"## {name}\n{table}\n")
        if not options.quick:
            write(name, table)


if __name__ == "__main__":
    main()
