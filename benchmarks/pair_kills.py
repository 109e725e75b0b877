"""Kill every stage of ``mose pairs`` at random moments, and compare what it writes with what it writes in one go.

    python benchmarks/pair_kills.py --kills 20

Each stage runs on small inputs made here: installed packages, a repository, a server that answers chat completions. It is
killed with SIGKILL (the process, or now and then one of its workers alone), started again with the same command, killed
again; whenever a run comes to its end, its output is compared, removed, and made anew. At no moment may a folder that
appears complete or not at all be anything else. The last line of standard output is the result as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

from kills import children

from mose.storage import is_own_folder

# Imports everything and forks one child for each line that it reads, so that kills fall into the work.
FORKER = """
import json, os, sys
import mose.cli.pairs, mose.data.curate.check, mose.data.curate.dedup, mose.data.curate.parquet, mose.data.mine.build
import mose.data.mine.history, mose.data.translate.answers, mose.data.translate.endpoint, mose.evaluate.consistency
from mose.cli import main
for line in sys.stdin:
    words, out = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        status = main(words)
        sys.stdout.flush()
        os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
LINES = {
    "function": "search: join values that belong together\nwhere: where are values joined\nproblem: values come back twice",
    "file": "search: join values that belong together\nhow: how are values joined\nwhere: where are values joined",
}


class Writer(BaseHTTPRequestHandler):
    """Answers chat completions, the same for the same request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.01)
        id_ = self.headers["Idempotency-Key"]
        steps = "".join(f"    total += values[{step}] * {sum(id_.encode())};\n" for step in range(8))
        text = LINES.get(id_.partition("-")[0], f"```\nint total_of(int *values) {{\n{steps}    return 0;\n}}\n```")
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        content = json.dumps({"model": body["model"], "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # of clients that were killed
        pass


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    words: list[str]
    """The command without ``mose pairs`` and without ``--out``."""
    out: str = "out"
    """Name of what it writes; empty if that is its standard output."""
    whole: bool = False
    """The folder appears complete or not at all."""
    statuses: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Killing:
    """A stage, and the folder in which it is killed."""

    stage: Stage
    folder: Path
    forker: subprocess.Popen[str]
    kills: int = 0
    workers: int = 0
    finished: int = 0
    faults: list[str] = field(default_factory=list)

    def start(self) -> int:
        self.folder.mkdir(exist_ok=True)
        out = ["--out", str(self.folder / self.stage.out)] if self.stage.out else []
        print(
            json.dumps([["pairs", *self.stage.words, *out], str(self.folder / "stdout")]),
            file=self.forker.stdin,
            flush=True,
        )
        return int(self.forker.stdout.readline())

    def end(self) -> int:
        return int(self.forker.stdout.readline())

    def content(self) -> dict[str, object]:
        """What the stage wrote, by name; the pieces of files that killed runs leave are nothing."""
        root = self.folder / self.stage.out if self.stage.out else self.folder / "stdout"
        paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        found: dict[str, object] = {}
        for path in paths:
            data = path.read_bytes()
            if path.name.endswith(".part"):
                continue
            if path.name == "answers.jsonl":  # in the order in which the server answered
                found[path.name] = sorted(data.splitlines())
            else:
                found[str(path.relative_to(root.parent))] = gzip.decompress(data) if path.suffix == ".gz" else data
        return found

    def run(self, expected: dict[str, object], seconds: float, rng: random.Random, kills: int) -> None:
        while self.kills < kills and len(self.faults) < 5:
            child = self.start()
            time.sleep(rng.uniform(0, 1.05 * seconds))
            below = children(child)
            if below and rng.random() < 0.2:
                self.workers += 1
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(below), signal.SIGKILL)
            else:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self.judge(self.end(), expected)
        self.start()
        self.judge(self.end(), expected)

    def judge(self, status: int, expected: dict[str, object]) -> None:
        out = self.folder / self.stage.out
        if status == -signal.SIGKILL:
            self.kills += 1
            if self.stage.whole and out.exists() and not is_own_folder(out):
                self.faults.append(f"after kill {self.kills}, {out} is not whole")
            return
        self.finished += 1
        found = self.content()
        if status not in self.stage.statuses:
            self.faults.append(f"exit status {status} after kill {self.kills}")
        elif found != expected:
            differ = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            self.faults.append(f"after kill {self.kills} differ: {differ}")
        shutil.rmtree(self.folder)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def function(name: str, number: int) -> str:
    steps = "".join(f"    total += {name}_{number} * {step + number}\n" for step in range(6))
    return f"def {name}(total, {name}_{number}):\n{steps}    return total\n\n\n"


def make_clone(folder: Path, commits: int = 60) -> str:
    """A repository whose commits change one function each; the newest commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    names = [
        f"{verb}_{noun}"
        for verb in ("read", "sort", "merge", "count")
        for noun in ("orders", "prices", "users", "dates")
    ]
    versions = dict.fromkeys(names, 0)
    for number in range(commits):
        name = names[number % len(names)]
        versions[name] += 1 if number else 0
        for part in range(4):
            (folder / f"module{part}.py").write_text("".join(function(each, versions[each]) for each in names[part::4]))
        git(folder, "add", "-A")
        verb, noun = name.split("_")
        git(
            folder,
            "commit",
            "-q",
            "-m",
            f"{verb.title()} the {noun} of version {number} with a larger step than before",
        )
    return git(folder, "rev-parse", "HEAD")


def make_inputs(base: Path) -> None:
    packages = "".join(
        f'[[packages]]\nname = "{name}"\nregistry = "site-packages"\nlicense = "MIT"\nlanguages = ["python"]\n'
        f'version = "{version(name).partition("+")[0]}"\nsplit = "{split}"\n'
        for name, split in (("tqdm", "train"), ("filelock", "train"), ("platformdirs", "valid"), ("anyio", "train"))
    )
    (base / "mine.toml").write_text(f"per_package = 300\n{packages}")
    commit = make_clone(base / "clones" / "shop")
    (base / "histories.toml").write_text(f'[[repositories]]\nname = "a/shop"\ncommit = "{commit}"\nlicense = "MIT"\n')


def stages(base: Path, url: str) -> list[Stage]:
    """In the order of the road: each reads what those before it wrote in one go."""
    mined, server = str(base / "mine/out"), ["--endpoint", url, "--model", "tiny", "--quiet"]
    held = str(base / "held.jsonl")
    return [
        Stage("mine", ["mine", f"{base}/mine.toml", "--workers", "1", "--quiet"]),
        Stage("history", ["history", f"{base}/histories.toml", "--clones", f"{base}/clones", "--workers", "1", "--quiet"], whole=True),
        Stage("ask", ["ask", mined, "--limit", "150", *server]),
        Stage("translate", ["translate", mined, "--limit", "150", *server]),
        Stage("filter", ["filter", f"{base}/ask/out", "--among", mined, "--quiet"], whole=True),
        Stage("dedup", ["dedup", mined, "--against", held, "--quiet"], whole=True),
        Stage("check", ["check", mined, "--against", held, "--json", "--quiet"], out="", statuses=(1,)),
        Stage("card", ["card", f"{base}/dedup/out"], out=""),
        Stage("convert to a table", ["convert", mined, f"{base}/translate/out"], out="table.parquet"),
        Stage("convert from a table", ["convert", f"{base}/convert to a table/table.parquet"], out="pairs.jsonl.xz"),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", metavar="NAME", help="kill these alone; the others run once")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    results, faults = {}, []
    with tempfile.TemporaryDirectory(prefix="mose-pair-kills-") as name, Server(("127.0.0.1", 0), Writer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = Path(name)
        make_inputs(base)
        environment = {
            **os.environ,
            "MOSE_HOME": str(base / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        forker = subprocess.Popen(
            [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        for stage in stages(base, f"http://127.0.0.1:{server.server_port}/v1"):
            whole = Killing(stage, base / stage.name, forker)
            started = time.monotonic()
            whole.start()
            status = whole.end()
            seconds = time.monotonic() - started
            assert status in stage.statuses, f"{stage.name}: exit status {status}"
            if stage.name == "mine":
                rows = gzip.decompress(next((base / "mine/out/parts").glob("*tqdm*")).read_bytes())
                some = [{"query": "", "code": row["code"]} for row in json.loads(rows)["rows"][:20]]
                (base / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
            if arguments.stages and stage.name not in arguments.stages:
                continue
            killed = Killing(stage, base / "killed", forker)
            expected = whole.content()
            killed.run(expected, seconds, rng, arguments.kills)
            results[stage.name] = {
                "kills": killed.kills, "workers killed": killed.workers, "finished": killed.finished,
                "seconds in one go": round(seconds, 2), "files": len(expected),
            }  # fmt: skip
            faults += [f"{stage.name}: {fault}" for fault in killed.faults]
            print(f"{stage.name}: {results[stage.name]}, {len(killed.faults)} faults", file=sys.stderr)
        forker.stdin.close()
        forker.wait()
        server.shutdown()
    print(json.dumps({"stages": results, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
