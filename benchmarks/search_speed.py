"""Time of a search: first, warm, after an edit, as a whole process, on small and large trees.

    python benchmarks/search_speed.py --sources SITE_PACKAGES

SOURCES is any folder with much source code; trees of the sizes below are copied from it. Vectors of the deepest exit
are synthetic (random unit rows) where a row says so: the time of a query does not depend on their values.
The last line is JSON; the same goes to benchmarks/results/search-speed-<commit>.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from results import write_result

QUERIES = [
    "open a connection through a proxy",
    "parse a date from a string",
    "how are settings read from the environment",
    "retry a failed request",
    "Tokenizer",
    "load weights from a checkpoint file",
    "convert an array to another type",
    "raise an error for an unknown option",
    "write rows to a csv file",
    "BaseModel",
    "compile a regular expression",
    "cache results of a function",
    "where are the arguments of the command line defined",
    "normalize a path",
    "split a text into words",
]
SUFFIXES = {".py", ".pyi", ".c", ".h", ".cpp", ".hpp", ".js", ".ts", ".go", ".rs", ".java"}


def copy_tree(sources: Path, target: Path, *, num_files: int | None = None, num_bytes: int | None = None) -> int:
    """Copy source files until either number is reached; returns the number of files."""
    count = size = 0
    for file in sorted(sources.rglob("*")):
        if file.suffix not in SUFFIXES or not file.is_file() or not 200 < file.stat().st_size < 200_000:
            continue
        copy = target / file.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        count += 1
        size += file.stat().st_size
        if (num_files and count >= num_files) or (num_bytes and size >= num_bytes):
            break
    return count


def mose(*words: str, home: Path) -> float:
    """Seconds of one whole process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mose", *words],
        env={**os.environ, "MOSE_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def synthetic_deep(index) -> None:
    """Give every chunk a random unit vector at the deepest exit."""
    from mose.search.store.write_vectors import missing_vectors, write_vectors

    rng = np.random.default_rng(0)
    width = index.encoder.manifest.widths[index.encoder.exit]
    with index.store.writing():
        missing = missing_vectors(index.store, index.encoder.exit)
        for start in range(0, len(missing), 4096):
            ids = missing[start : start + 4096]
            rows = rng.standard_normal((len(ids), width)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            write_vectors(index.store, index.encoder.exit, index.encoder.identity, ids, rows)


def warm_query_ms(root: Path, home: Path) -> dict[str, float]:
    from mose.search.index import CodeIndex

    os.environ["MOSE_HOME"] = str(home)
    with CodeIndex.open(root) as index:
        synthetic_deep(index)
        chunks = index.status().num_chunks
        times = []
        for repeat in range(4):
            for query in QUERIES:
                started = time.perf_counter()
                index.search(query)
                if repeat:
                    times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return {"chunks": chunks, "p50_ms": statistics.median(times), "p95_ms": times[int(0.95 * len(times))]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--large", action="store_true", help="also a tree of about 200,000 chunks (minutes)")
    args = parser.parse_args()
    result: dict[str, object] = {}

    def show(name: str, value: object) -> None:
        result[name] = value
        print(f"{name:58} {value}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        show("mose --help, s (best of 5)", round(min(mose("--help", home=work) for _ in range(5)), 3))
        tree, home = work / "ten", work / "home-ten"
        copy_tree(args.sources, tree, num_bytes=9_500_000)
        first = mose("search", QUERIES[0], str(tree), home=home)
        again = min(mose("search", QUERIES[0], str(tree), home=home) for _ in range(5))
        warm = warm_query_ms(tree, home)
        show(f"first search of a new tree, {warm['chunks']:,} chunks, s", round(first, 2))
        show("whole process on that tree, indexed, s (best of 5)", round(again, 3))
        show("warm query in process, small tree, synthetic deep vectors", warm)

        tree, home = work / "files", work / "home-files"
        count = copy_tree(args.sources, tree, num_files=5000)
        first = mose("search", QUERIES[0], str(tree), home=home)
        again = statistics.median(mose("search", QUERIES[0], str(tree), home=home) for _ in range(5))
        edited = []
        victim = next(file for file in sorted(tree.rglob("*.py")) if file.stat().st_size > 2000)
        for number in range(5):
            victim.write_text(victim.read_text() + f"\n\ndef added_{number}():\n    return {number}\n")
            edited.append(mose("search", QUERIES[0], str(tree), home=home))
        show(f"first search of a new tree, {count:,} files, s", round(first, 2))
        show("the same search again, s (median of 5)", round(again, 3))
        show("slower after one edit, s (median of 5)", round(statistics.median(edited) - again, 3))

        if args.large:
            base, large, home = work / "ten", work / "large", work / "home-large"
            for number in range(round(200_000 / warm["chunks"])):
                shutil.copytree(base, large / f"part{number:02}")
            started = time.perf_counter()
            mose("search", QUERIES[0], str(large), home=home)
            show("first search of the large tree, s", round(time.perf_counter() - started, 1))
            show("warm query in process, large tree, synthetic deep vectors", warm_query_ms(large, home))
    write_result("search-speed", {"rows": result})


if __name__ == "__main__":
    main()
