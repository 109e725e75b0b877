"""Watched trees: what idling costs, random changes against an index made from nothing, and servers that are killed.

    python benchmarks/watching.py --files 5000 --edits 200 --kills 50

- idle: processor time of `mose watch` on a tree of `--files` files in which nothing changes.
- edits: `mose watch` runs while files are edited, saved by rename, moved and removed; then its index must equal a new one.
- kills: one or two `mose serve` on one tree answer searches while files change; one is killed at a random moment. The
  other must go on to answer, and so must the next start. In the end the index must equal a new one.

The last line of standard output is the result as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from kills import alike, content, edit, mose, source

EXIT = 2


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(base: Path, num_files: int) -> dict[str, float]:
    tree = base / "idle"
    for number in range(num_files):
        path = tree / f"part{number % 100}" / f"task{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def task_{number}(value):\n    return value + {number}\n")
    watch = mose(base / "home", "watch", str(tree), "--json")
    assert watch.stdout is not None
    watch.stdout.readline()
    time.sleep(5)
    before, seconds = cpu_s(watch.pid), 30
    time.sleep(seconds)
    used = cpu_s(watch.pid) - before
    started = time.monotonic()
    (tree / "part7" / "saved.py").write_text("def saved():\n    return 1\n")
    watch.stdout.readline()
    latency = time.monotonic() - started
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=30)
    return {"idle_cpu_percent": round(100 * used / seconds, 2), "save_to_fresh_s": round(latency, 3)}


def edits(base: Path, count: int, rng: random.Random) -> str:
    """The first difference between the index of a watched tree and a new one; "" if there is none."""
    tree, home, fresh = base / "edited", base / "home", base / "fresh-edited"
    for number in range(60):
        path = tree / f"part{number % 5}" / f"task{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source(number, 0))
    mose(home, "index", str(tree), "--exit", str(EXIT), "--quiet").communicate()
    watch = mose(home, "watch", str(tree), "--json", "--deepen", "--exit", str(EXIT))
    assert watch.stdout is not None
    watch.stdout.readline()
    for number in range(count):
        change(tree, rng, number)
        time.sleep(rng.choice([0, 0.01, 0.1, 0.5 * (rng.random() < 0.1)]))
    time.sleep(5)
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=60)
    before = files_of(home, tree)
    for folder in (home, fresh):
        mose(folder, "index", str(tree), "--exit", str(EXIT), "--quiet").communicate()
    if before != files_of(fresh, tree):
        return f"files differ before anything else looked: {sorted(map(str, before ^ files_of(fresh, tree)))[:3]}"
    return alike(content(fresh, tree), content(home, tree))


def files_of(home: Path, tree: Path) -> set[tuple[object, ...]]:
    os.environ["MOSE_HOME"] = str(home)
    from mose.search.store.location import index_folder
    from mose.search.store.store import Store

    with Store.open_to_read(index_folder(tree)) as store:
        return set(store.rows("SELECT path, hash, size_bytes, language, skipped FROM files"))


def change(tree: Path, rng: random.Random, number: int) -> None:
    files = sorted(tree.rglob("*.py"))
    folders = [tree, *sorted(path for path in tree.rglob("*") if path.is_dir())]
    path = rng.choice(files) if files else tree / "first.py"
    with suppress(OSError):
        match rng.choice(["edit", "edit", "save", "new", "rename", "remove", "folder"]):
            case "edit":
                path.write_text(source(number, number))
            case "save":
                path.with_suffix(".tmp").write_text(source(number, number))
                path.with_suffix(".tmp").replace(path)
            case "new":
                folder = rng.choice(folders) / f"deep{number}"
                folder.mkdir()
                (folder / "new.py").write_text(source(number, number))
            case "rename":
                path.rename(rng.choice(folders) / f"moved{number}.py")
            case "remove":
                path.unlink()
            case "folder":
                folder = rng.choice(folders)
                if folder != tree:
                    folder.rename(folder.parent / f"folder{number}")


class Server:
    """One `mose serve`."""

    def __init__(self, home: Path, tree: Path) -> None:
        self.process = mose(home, "serve", str(tree), "--port", "0", "--exit", str(EXIT))
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        assert line.startswith("http"), line
        self.url = line
        self.is_killed = False

    def kill(self) -> None:
        self.is_killed = True  # before, so that nobody wonders
        self.process.kill()
        self.process.wait()

    def ask(self, query: str) -> int:
        body = json.dumps({"query": query, "limit": 3}).encode()
        request = urllib.request.Request(f"{self.url}/search", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return len(json.loads(answer.read())["hits"])


def load(servers: list[Server], stop: threading.Event, faults: list[str]) -> None:
    rng = random.Random(threading.get_ident())
    while not stop.is_set():
        server = rng.choice(servers)
        if server.is_killed:
            time.sleep(0.01)
            continue
        try:
            server.ask(f"count the value of task {rng.randrange(30)}")
        except (OSError, ValueError) as error:
            if not server.is_killed:
                faults.append(f"a server that lives does not answer: {error}")
        time.sleep(0.01)


def kill_once(home: Path, tree: Path, version: int, rng: random.Random) -> list[str]:
    """What went wrong while one or two servers worked and one was killed."""
    servers = [Server(home, tree) for _ in range(1 + rng.randrange(2))]
    stop, faults = threading.Event(), list[str]()
    clients = [threading.Thread(target=load, args=(servers, stop, faults)) for _ in range(3)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + rng.uniform(0.2, 3)
    while time.monotonic() < deadline:
        edit(tree, rng, version)
        time.sleep(rng.uniform(0, 0.5))
    servers[0].kill()
    for server in servers[1:]:
        with suppress(OSError, ValueError):
            if server.ask("count the value"):
                continue
        faults.append("the other server does not answer")
    stop.set()
    for client in clients:
        client.join()
    for server in servers[1:]:
        server.kill()
    return faults


def check(home: Path, tree: Path, fresh: Path) -> list[str]:
    """What is wrong with the next start, and with the index it leaves."""
    faults = []
    last = Server(home, tree)
    if not last.ask("count the value"):
        faults.append("the next start finds nothing")
    last.process.send_signal(signal.SIGTERM)
    last.process.communicate(timeout=60)
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in (home, fresh):
        mose(folder, "index", str(tree), "--exit", str(EXIT), "--quiet").communicate()
    try:
        difference = alike(content(fresh, tree), content(home, tree))
    except Exception as error:  # any error is a fault
        difference = f"{type(error).__name__}: {error}"
    return [*faults, difference[:300]] if difference else faults


def kills(base: Path, count: int, rng: random.Random) -> list[str]:
    tree, home, fresh = base / "killed", base / "home", base / "fresh-killed"
    for number in range(30):
        path = tree / f"part{number % 3}" / f"task{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source(number, 0))
    faults: list[str] = []
    for number in range(count):
        found = kill_once(home, tree, number, rng)
        if number % 5 == 4 or number == count - 1:
            found += check(home, tree, fresh)
        faults += [f"kill {number}: {fault}" for fault in found]
        print(f"{number + 1} kills {found}", file=sys.stderr)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="mose-watching-") as name:
        base = Path(name)
        if arguments.files:
            result |= idle(base, arguments.files)
        if arguments.edits:
            result |= {"edits": arguments.edits, "difference": edits(base, arguments.edits, rng)}
        if arguments.kills:
            result |= {"kills": arguments.kills, "faults": kills(base, arguments.kills, rng)}
    print(json.dumps(result))
    return 1 if result.get("difference") or result.get("faults") else 0


if __name__ == "__main__":
    sys.exit(main())
