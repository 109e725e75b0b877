"""Memory and time of indexing a 100,000-file tree: words and exit 0, as the first search of a new tree does.

    python benchmarks/index_memory.py [--files 100000] [--sources FOLDER] [--max-bytes 8192]

The tree is made of the source files of installed packages, copied under varied names; each copy gets a line
of its own, so that none equals another. Memory is the sum over this process and its workers of their
proportional set sizes (PSS), sampled. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import shutil
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

from results import write_result

SUFFIXES = (".py", ".js", ".ts", ".c", ".h", ".cpp", ".go", ".rs", ".java", ".rb", ".md")
SAMPLE_SECONDS = 0.5


def make_tree(target: Path, sources: Path, num_files: int, max_bytes: int) -> None:
    """Copy source files until there are enough, 250 to a folder."""
    found = [
        path
        for path in sorted(sources.rglob("*"))
        if path.suffix in SUFFIXES and path.is_file() and 200 <= path.stat().st_size <= max_bytes
    ]
    found = [path for path in found if "generated" not in path.read_text(encoding="utf-8", errors="replace")[:2000]]
    if not found:
        raise SystemExit(f"no source files below {sources}")
    for number, source in zip(range(num_files), itertools.cycle(found), strict=False):
        copy = target / f"part{number // 5000}" / f"group{number // 250}" / f"{source.stem}_{number}{source.suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8", errors="replace")
        mark = "#" if source.suffix in (".py", ".rb", ".md") else "//"
        copy.write_text(f"{text}\n{mark} copy {number}\n", encoding="utf-8")


class MemorySampler(threading.Thread):
    """The highest sum of proportional memory of this process and its children, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_proportional_bytes, _family(os.getpid()))))

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self.peak_bytes


def _family(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        children = []
    return [pid, *(member for child in children for member in _family(child))]


def _proportional_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--sources", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--max-bytes", type=int, default=8192, help="largest file that is copied")
    asked = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="mose-memory-"))
    os.environ["MOSE_HOME"] = str(work / "home")
    try:
        make_tree(work / "tree", asked.sources, asked.files, asked.max_bytes)
        write_result("index-memory", measure(work / "tree"))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure(tree: Path) -> dict[str, object]:
    from mose.runtime.encoder import Encoder
    from mose.search.refresh import refresh
    from mose.search.store.location import index_folder
    from mose.search.store.store import Store

    encoder = Encoder.load("small")
    sampler = MemorySampler()
    sampler.start()
    started = time.perf_counter()
    with Store.open(index_folder(tree)) as store:
        report = refresh(store, tree, encoder)
        first_seconds = time.perf_counter() - started
        peak_bytes = sampler.stop()
        own_peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        worker_peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        unchanged_seconds = refresh(store, tree, encoder).seconds
        begun = time.perf_counter()
        table = store.chunk_table()
        table_seconds = time.perf_counter() - begun
        status = store.status()
    return {
        "files": status.num_files,
        "chunks": len(table),
        "skipped": report.skipped,
        "source_mb": round(sum(path.stat().st_size for path in tree.rglob("*.*") if path.is_file()) / 1e6, 1),
        "index_mb": round(status.size_bytes / 1e6, 1),
        "peak_all_processes_mb": round(peak_bytes / 1e6, 1),
        "peak_rss_main_mb": round(own_peak_bytes / 1e6, 1),
        "peak_rss_largest_worker_mb": round(worker_peak_bytes / 1e6, 1),
        "seconds": round(first_seconds, 1),
        "chunks_per_second": round(len(table) / first_seconds),
        "unchanged_refresh_seconds": round(unchanged_seconds, 2),
        "chunk_table_seconds": round(table_seconds, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
