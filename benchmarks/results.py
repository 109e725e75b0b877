"""Write benchmark results: one JSON file per benchmark and commit, and the last line printed.

A result of uncommitted code has a "+" after the commit in its name. Git ignores such files: only reproducible
results are committed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path

from mose import git

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "results"
PACKAGES = ("mose", "numpy", "onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers")


def commit() -> str:
    """Short hash of the commit, with "+" if the package or the benchmarks have uncommitted changes."""
    repository = git.find_repository(ROOT)
    if repository is None:
        return "uncommitted"
    return git.short_name(repository, ROOT / "src", ROOT / "benchmarks")


def with_interval(mean: float, low: float, high: float) -> str:
    """A difference and the ends of its interval, as tables show them.

    Example:
        >>> with_interval(0.02, -0.01, 0.05)
        '+0.020 [-0.010, +0.050]'
    """
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def lists_on_one_line(text: str) -> str:
    """Indented JSON with lists of numbers, and of plain words, on one line each.

    Example:
        >>> lists_on_one_line(json.dumps({"scores": [1.0, 0.5]}, indent=1))
        '{\\n "scores": [1.0, 0.5]\\n}'
    """
    plain = r"\[\s+([^][{}\"]*?|(?:\"[\w ]*\",?\s+)*)\s+\]"
    return re.sub(plain, lambda found: "[" + re.sub(r"\s+", " ", found[1]).strip() + "]", text)


def write_result(name: str, result: dict[str, object]) -> None:
    """Write ``results/<name>-<commit>.json`` and print the same as one line of JSON."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    result = {
        "benchmark": name,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": versions,
        **result,
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}-{result['commit']}.json"
    path.write_text(lists_on_one_line(json.dumps(result, indent=1)) + "\n", encoding="utf8")
    if str(result["commit"]).endswith("+"):
        print(f"{path.name} is of uncommitted changes: commit them and measure again to keep it.", file=sys.stderr)
    print(json.dumps(result))
