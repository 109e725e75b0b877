"""Kill mose at random moments, and compare the index with one made without interruption.

    python benchmarks/kills.py --kills 200

Every round runs one command, or two at once, on a small tree: a first search, an update after edits, `index`,
`index --rebuild`, `forget`, `prune`. A copy of the tree is indexed, too, so that a first search begins with a copy of its
index, however few files that has. At a random moment the process (or one of its workers, or all of them) is stopped,
perhaps continued, and killed. Then `mose index` runs to its end, and the index must equal a new one: the same chunks,
texts and words, and for every chunk the same vectors. The last line of standard output is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

FILES = 30
EXIT = 2


def source(number: int, version: int) -> str:
    """A file whose size does not depend on the version, from 0 to 9: trees of other versions are alike."""
    return "\n\n".join(
        f"def task_{number}_{part}(value):\n"
        f'    """Version {version}: part {part} of task {number} takes a value and counts it."""\n'
        f"    total = value + {1_000 + number * part + version}\n"
        + "".join(f"    total += value * {step}  # step {step} of {version}\n" for step in range(8))
        + "    return total\n"
        for part in range(3)
    )


def edit(tree: Path, rng: random.Random, version: int) -> None:
    """Change a third of the files, move one, remove one."""
    numbers = list(range(FILES))
    rng.shuffle(numbers)
    for number in numbers[: FILES // 3]:
        path = tree / f"part{number % 3}" / f"task{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source(number, version))
    moved, removed = (tree / f"part{number % 3}" / f"task{number}.py" for number in numbers[-2:])
    if moved.exists():
        moved.rename(tree / f"moved{version % 5}.py")
    removed.unlink(missing_ok=True)


STARTER = "from mose.search import lifecycle; lifecycle.ALIKE_FILES = 1; from mose.__main__ import main; main()"


def mose(home: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "MOSE_HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, *words],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(path.parent.name))
    return found


def disturb(process: subprocess.Popen[bytes], rng: random.Random, longest: float) -> None:
    """Stop, continue and kill at random moments: the process, a worker, or all of them."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rng.uniform(0, longest))
        return
    below = children(process.pid)
    whom = rng.choice(["one", "one", "worker", "all"])
    targets = {"one": [process.pid], "worker": rng.sample(below, min(1, len(below))), "all": [process.pid, *below]}[
        whom
    ]
    if rng.random() < 0.4:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in targets:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(rng.uniform(0, 0.3))
    for pid in targets:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if whom == "worker":
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0, longest))
            return
        process.kill()


def content(home: Path, tree: Path) -> dict[tuple[object, ...], list[bytes]]:
    """What an index holds: every chunk, and its vectors at exit 0 and at `EXIT`."""
    os.environ["MOSE_HOME"] = str(home)
    from mose.search.store.exit_vectors import read_exit
    from mose.search.store.location import index_folder
    from mose.search.store.store import Store

    with Store.open(index_folder(tree)) as store:
        table = store.chunk_table()
        chunks = {chunk.id: chunk for chunk in store.chunks(table.ids.tolist())}
        found, _ = store.lexical("task OR value")
        assert sorted(found.tolist()) == sorted(chunks), "words and chunks differ"
        vectors: dict[int, list[bytes]] = {number: [] for number in chunks}
        for exit_layer in (0, EXIT):
            found_vectors = read_exit(store, exit_layer)
            ids, rows, matrix = found_vectors.ids, found_vectors.rows, found_vectors.matrix
            assert sorted(ids.tolist()) == sorted(chunks), f"chunks without a vector at {exit_layer}"
            for number, row in zip(ids.tolist(), rows.tolist(), strict=True):
                vectors[number].append(np.asarray(matrix[row], dtype="<f2").tobytes())
        return {
            (chunk.path, chunk.first_line, chunk.last_line, chunk.kind, chunk.symbol, chunk.text): vectors[number]
            for number, chunk in chunks.items()
        }


def alike(left: dict[tuple[object, ...], list[bytes]], right: dict[tuple[object, ...], list[bytes]]) -> str:
    """The first difference, "" if there is none."""
    if left.keys() != right.keys():
        return f"chunks differ: {sorted(map(str, left.keys() ^ right.keys()))[:2]}"
    for key, vectors in left.items():
        for pair in zip(vectors, right[key], strict=True):
            a, b = (np.frombuffer(data, dtype="<f2").astype(np.float32) for data in pair)
            if float(a @ b) < 0.999 * float(np.linalg.norm(a) * np.linalg.norm(b)):
                return f"a vector of {key[:2]} differs"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    counts, faults = Counter[str](), []
    with tempfile.TemporaryDirectory(prefix="mose-kills-") as name:
        base = Path(name)
        tree, home, fresh = base / "tree", base / "home", base / "fresh"
        for number in range(FILES):
            path = tree / f"part{number % 3}" / f"task{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source(number, 0))
        shutil.copytree(tree, base / "twin")
        mose(home, "index", str(base / "twin"), "--exit", str(EXIT), "--quiet").communicate()
        started = time.monotonic()
        whole = ["index", str(tree), "--exit", str(EXIT), "--quiet"]
        first = mose(home, *whole)
        print(first.communicate()[0].decode(), file=sys.stderr)
        longest = (time.monotonic() - started) * 1.1
        actions = {
            "first search": ["search", "count the value", str(tree), "--exit", str(EXIT)], "update": ["search", "value", str(tree), "--exit", str(EXIT)],
            "index": whole, "rebuild": [*whole, "--rebuild"], "forget": ["forget", str(tree)], "prune": ["prune"],
        }  # fmt: skip
        for round_number in range(arguments.kills):
            names = rng.choices(list(actions), k=2 if rng.random() < 0.3 else 1)
            if "first search" in names:
                mose(home, "forget", str(tree)).communicate()
            if rng.random() < 0.5 or "update" in names:
                edit(tree, rng, round_number % 10)
            running = [mose(home, *actions[action]) for action in names]
            for process in running:
                disturb(process, rng, longest)
            for process in running:
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=120)
                process.kill()
            counts[" + ".join(sorted(names))] += 1
            last = mose(home, *whole)
            said = last.communicate()[0].decode()
            shutil.rmtree(fresh, ignore_errors=True)
            mose(fresh, *whole).communicate()
            try:
                assert last.returncode == 0, said
                difference = alike(content(fresh, tree), content(home, tree))
            except Exception as error:  # any error is a fault
                difference = f"{type(error).__name__}: {error}"
            if difference:
                faults.append({"round": round_number, "after": names, "fault": difference[:600]})
                print(faults[-1], file=sys.stderr)
                shutil.copytree(home, f"{base}-home-{round_number}")
            if round_number % 20 == 19:
                print(f"{round_number + 1} rounds, {len(faults)} faults", file=sys.stderr)
    print(json.dumps({"kills": arguments.kills, "rounds": counts, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
