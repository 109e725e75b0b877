"""Fuzz every entry point with random and hostile input: no crash, no hang, no lost line.

    python benchmarks/fuzz.py --minutes 10                       # every kind in turn
    python benchmarks/fuzz.py --kind contents --seed 123 --inputs 1   # one input again

Each input follows from its kind and seed alone. Inputs run in a child process that is watched from outside. Faults
are: an input that takes more than --seconds of processor time, or many times that by the clock, a process that needs
more than --megabytes, an exception that is not a ``MoseError``, a line of an indexed file that is in no chunk, a line
of ``--json`` that does not parse. Each is printed with its seed, and written to --out. The last line of standard output
is the result as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fuzz_files import archives, checkpoints, make_checkpoint, models, pairs
from fuzz_requests import requests
from fuzz_texts import EXTENSIONS, SAMPLES
from fuzz_trees import alike, colours, contents, filters, ignores, indexes, lines, names, notebooks, queries

KINDS: dict[str, tuple[Callable[[random.Random, Path], None], int]] = {
    "contents": (contents, 4), "names": (names, 1), "ignores": (ignores, 60), "queries": (queries, 12),
    "filters": (filters, 12), "lines": (lines, 2), "notebooks": (notebooks, 4), "requests": (requests, 12),
    "colours": (colours, 4), "indexes": (indexes, 2), "alike": (alike, 1), "models": (models, 2), "archives": (archives, 12),
    "pairs": (pairs, 2), "checkpoints": (checkpoints, 1),
}  # fmt: skip
"""Kind -> function of a generator and a folder of its own, and the number of its inputs in a round."""


PATIENCE = 30
"""A loaded machine is not a hang: a child has this many times its limit by the clock before it is killed."""


def serve(kind: str, first: int, count: int, base: str) -> None:
    """Run inputs one after the other; writes the start of each, and faults, to standard output."""
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    function, _ = KINDS[kind]
    if kind == "checkpoints":
        import mose.model.convert.convert  # noqa: F401 - takes seconds, which are of no input

        make_checkpoint(Path(base))
    for seed in range(first, first + count):
        print(f"begin {seed}", file=say)
        work = Path(tempfile.mkdtemp(prefix="in-", dir=base))
        started = _processor_seconds()
        try:
            function(random.Random(f"{kind} {seed}"), work)
        except BaseException:
            print("fault " + json.dumps([seed, traceback.format_exc()[-1500:]]), file=say)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(f"end {_processor_seconds() - started:.3f} {peak // 1024}", file=say)
        subprocess.run(["rm", "-rf", str(work)], check=False)


def _processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(os.times()[:4])


def watch(
    kind: str, first: int, count: int, base: Path, seconds: float
) -> tuple[int, list[tuple[int, str]], float, int]:
    """Inputs done, faults (seed, what), longest time and peak memory of one child."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve", kind, str(first), str(count), str(base)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    faults: list[tuple[int, str]] = []
    done, longest, peak, current = 0, 0.0, 0, first
    pending = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], PATIENCE * seconds)
        if not ready:
            faults.append((current, f"hang: no answer in {PATIENCE * seconds:.0f} s"))
            break
        data = os.read(child.stdout.fileno(), 65536)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "begin":
                current = int(rest)
            elif word == "fault":
                faults.append(tuple(json.loads(rest)))
            else:
                done += 1
                took, megabytes = rest.split()
                longest, peak = max(longest, float(took)), max(peak, int(megabytes))
                if float(took) > seconds:
                    faults.append((current, f"took {took} s"))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, 9)
    if child.wait() not in (0, -9):
        faults.append((current, f"the process ended with {child.returncode}"))
    return done, faults, longest, peak


def prepare(base: Path) -> None:
    """A small tree with an index, for the kinds that need one."""
    os.environ.update(MOSE_FUZZ=str(base), MOSE_HOME=str(base / "home"))
    tree = base / "tree" / "src"
    tree.mkdir(parents=True)
    for path in SAMPLES.glob("sample.*"):
        shutil.copy(path, tree / f"{path.suffix[1:]}_sample.{EXTENSIONS[path.suffix[1:]]}")
    (tree / "dates.py").write_text('def parse_date(text):\n    """Read an ISO date."""\n    return text.split("-")\n')
    subprocess.run(
        [sys.executable, "-m", "mose", "index", str(base / "tree"), "--quiet"], check=True, stdout=subprocess.DEVNULL
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--inputs", type=int, help="of each kind, in place of a time")
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seconds", type=float, default=5.0, help="longest time of one input")
    parser.add_argument("--megabytes", type=int, default=1500, help="most memory of one process")
    parser.add_argument("--out", type=Path, help="file for the faults, JSON lines")
    arguments = parser.parse_args()
    kinds = arguments.kind or list(KINDS)
    counts, longest, peaks, faults = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="mose-fuzz-") as name:
        base = Path(name)
        prepare(base)
        at = dict.fromkeys(kinds, arguments.seed)
        while any(at[kind] < arguments.seed + (arguments.inputs or 10**9) for kind in kinds) and (
            arguments.inputs or time.monotonic() < end
        ):
            for kind in kinds:
                count = 20 * KINDS[kind][1]
                if arguments.inputs:
                    count = min(count, arguments.seed + arguments.inputs - at[kind])
                if count <= 0:
                    continue
                done, found, took, peak = watch(kind, at[kind], count, base, arguments.seconds)
                if peak > arguments.megabytes:
                    found.append((at[kind], f"{peak} MB in one process, among seeds {at[kind]} to {at[kind] + count}"))
                for seed, what in found:
                    faults[kind] += 1
                    print(f"{kind} --seed {seed}: {what}", file=sys.stderr)
                    if arguments.out:
                        with arguments.out.open("a") as file:
                            file.write(json.dumps({"kind": kind, "seed": seed, "fault": what}) + "\n")
                counts[kind] += done
                longest[kind] = max(longest[kind], round(took, 2))  # type: ignore[assignment]
                peaks[kind] = max(peaks[kind], peak)
                at[kind] += count
            print(f"{sum(counts.values()):,} inputs, {sum(faults.values())} faults", file=sys.stderr)
    print(json.dumps({"inputs": counts, "faults": faults, "longest_seconds": longest, "peak_megabytes": peaks}))
    return 1 if faults else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        sys.exit(main())
