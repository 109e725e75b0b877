"""Fuzz every entry point with random and hostile input: no crash, no hang, no lost line.

    python benchmarks/fuzz.py --minutes 10                       # every kind in turn
    python benchmarks/fuzz.py --kind contents --seed 123 --inputs 1   # one input again

Each input follows from its kind and seed alone. Inputs run in a child process that is watched from outside. Faults
are: an input that takes longer than --seconds, a process that needs more than --megabytes, an exception that is not a
``MoseError``, a line of an indexed file that is in no chunk, a line of ``--json`` that does not parse. Each is printed
with its seed, and written to --out. The last line of standard output is the result as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "tests" / "golden" / "definitions"
EXTENSIONS = {
    "bash": "sh", "c": "c", "cpp": "cpp", "csharp": "cs", "elixir": "ex", "go": "go", "haskell": "hs", "java": "java",
    "javascript": "js", "kotlin": "kt", "lua": "lua", "php": "php", "python": "py", "ruby": "rb", "rust": "rs",
    "scala": "scala", "swift": "swift", "tsx": "tsx", "typescript": "ts", "zig": "zig",
}  # fmt: skip
OTHERS = (
    "md", "rst", "txt", "h", "ipynb", "toml", "yaml", "json", "html", "css", "tex", "org", "ini", "m", "inc", "sql", "vue",
)  # fmt: skip
PIECES = (
    "(", ")", "{", "}", "[", "]", "<", ">", "\n", "\n\n", "\r", "\r\n", "\t", " " * 4, "    " * 20, '"', "'", "`", '"""',
    "/*", "*/", "//", "#", "{-", "-}", "--", "<!--", "=>", "->", "::", ";", ",", ".", "\\", "@", "$", "%", "case ", "when ",
    "where ", "if ", "else ", "def ", "class ", "fn ", "func ", "template<", "#define ", "#if ", "#endif\n", "<<EOF\n", "EOF\n",
    "<?php ", "?>", "=begin\n", "=end\n", "async ", "lambda: ", "\\begin{x}", "# x" + " " * 50 + "y\n", "===\n", "---\n", "\x00",
    "\x0b", "\x0c", "\x1b[31m", "\x85", "\u2028", "\u202e", "\ufeff", "\ud7ff", "é", "漢字", "😀", "-*- coding: utf-7 -*-",
    "# coding: unicode_escape\n", "@generated", "x" * 300, "a.b.c", "0x", "1e999", "\\u0000",
)  # fmt: skip


def mixture(rng: random.Random, most: int) -> str:
    """A text of at most about ``most`` characters: real code, pieces of syntax, repetition."""
    size = int(10 ** rng.uniform(0, len(str(most)) - 1))
    parts: list[str] = []
    length = 0
    samples = [path.read_text(encoding="utf8") for path in rng.sample(sorted(SAMPLES.glob("sample.*")), 2)]
    while length < size:
        how = rng.random()
        if how < 0.35:
            sample = rng.choice(samples)
            start = rng.randrange(len(sample))
            part = sample[start : start + rng.randrange(1, 400)]
        elif how < 0.7:
            part = rng.choice(PIECES)
        elif how < 0.9:
            part = "".join(rng.choices(PIECES, k=rng.randrange(1, 4))) * int(10 ** rng.uniform(0, 5))
        else:
            part = "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(1, 60)))
        part = part[: max(1, size - length)]
        parts.append(part)
        length += len(part)
    return "".join(parts)


def raw(rng: random.Random, most: int) -> bytes:
    """A mixture as bytes: mostly UTF-8, at times another encoding, damage, or noise."""
    data = mixture(rng, most).encode(rng.choice(["utf-8"] * 6 + ["utf-16", "latin-1"]), "replace")
    if rng.random() < 0.2:
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]
    return data if rng.random() > 0.02 else rng.randbytes(min(most, 5000))


# ---- kinds of input: each takes a generator and a folder of its own


def contents(rng: random.Random, work: Path) -> None:
    """A file of every language, up to a megabyte, cut as a search would."""
    from mose.files import SourceFile, WalkLimits, walk
    from mose.search.chunking.chunks import ChunkerConfig
    from mose.search.chunking.cut_files import cut_files
    from mose.search.chunking.prepare import CutTask

    name = "x." + rng.choice([*EXTENSIONS.values()] * 2 + [*OTHERS])
    (work / name).write_bytes(raw(rng, 1_000_000))
    tasks = [CutTask(file=file) for file in walk(work, WalkLimits()) if isinstance(file, SourceFile)]
    for cut in cut_files(work, tasks, WalkLimits(), ChunkerConfig()):
        if cut.skipped:
            continue
        text = "".join(chunk.text for chunk in cut.chunks)
        text.encode("utf-8")  # no lone surrogates
        covered = {line for chunk in cut.chunks for line in range(chunk.first_line, chunk.last_line + 1)}
        if not name.endswith(".ipynb"):
            from mose.files import read_source

            source = read_source(work, tasks[0].file, WalkLimits())
            assert isinstance(source, str)
            lost = [n for n, line in enumerate(source.split("\n"), 1) if line.strip() and n not in covered]
            assert not lost, f"lines in no chunk: {lost[:5]}"


def names(rng: random.Random, work: Path) -> None:
    """A tree with odd names of files and folders, walked, indexed and listed."""
    for _ in range(rng.randrange(1, 12)):
        parts = []
        for _ in range(rng.randrange(1, 4)):
            text = "".join(rng.choice([*"ab.-_ ", *PIECES]) for _ in range(rng.randrange(1, 6)))
            name = text.encode("utf-8", "replace").replace(b"/", b"|").replace(b"\0", b"0")[: rng.randrange(1, 200)]
            parts.append(name if name not in (b".", b"..", b".git") else b"x")
        path = os.path.join(os.fsencode(work), *parts)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            kind = rng.random()
            if kind < 0.1:
                os.symlink(rng.choice([b"..", b"/etc/passwd", b".", b"x", parts[0]]), path)
            elif kind < 0.13:
                os.mkfifo(path)
            else:
                with open(path + rng.choice([b"", b".py", b".md"]), "wb") as file:
                    file.write(b"def f(): pass\n")
    command(rng, ["search", "f", str(work), "--json", "--lexical"])
    command(rng, ["status", str(work)])


def ignores(rng: random.Random, work: Path) -> None:
    """Ignore rules against paths; with git installed, names at the top of the tree are decided as by git."""
    from mose.files.ignore_file import IgnoreRules

    letters = [
        "*", "**", "/", "?", "[", "]", "!", "^", "-", "\\", "a", "b", ".", "***", "[[:alpha:]]", " ", "\r", "é", "#",
        "\n",
    ]  # fmt: skip
    text = "".join(rng.choices(letters, k=int(10 ** rng.uniform(0, 3.3))))
    rules = IgnoreRules(text)
    for _ in range(5):
        path = "/".join("".join(rng.choices("ab.é-", k=rng.randrange(1, 30))) for _ in range(rng.randrange(1, 12)))
        rules.decide(path, is_directory=rng.random() < 0.3)
    if shutil.which("git") is None or len(text) > 5_000:  # longer ones exceed our limits
        return
    (work / ".gitignore").write_bytes(text.encode())
    git = ["git", "-c", "init.templateDir=", "-c", "core.excludesFile=", "-C", str(work)]
    subprocess.run([*git, "init", "-q"], check=True)
    seen = ["".join(rng.choices("ab.é-", k=rng.randrange(1, 12))) for _ in range(20)]
    seen = [name for name in seen if name.strip(".")]
    asked = subprocess.run(
        [*git, "check-ignore", "--no-index", "-z", "--stdin"], input="\0".join(seen).encode(), capture_output=True
    )
    ignored = set(asked.stdout.decode().split("\0"))
    differ = [name for name in seen if bool(rules.decide(name, is_directory=False)) != (name in ignored)]
    assert not differ, f"git decides otherwise about {differ}: {text!r}"


def queries(rng: random.Random, work: Path) -> None:
    """A query, in text or JSON."""
    query = mixture(rng, rng.choice([30, 30, 30, 3_000, 100_000])).replace("\0", rng.choice(["", "\0"]))
    options = rng.sample(
        [["--json"], ["--explain"], ["--all-places"], [rng.choice(["--lexical", "--dense"])]], k=rng.randrange(3)
    )
    flags = [word for option in options for word in option]
    command(rng, ["search", *flags, "--no-update", "--budget", "0", "--", query, str(_tree())])


def filters(rng: random.Random, work: Path) -> None:
    """Filters by path and language, and a location as the query."""
    odd = [
        "*", "**/", "a", "src/", "!", "[z-a]", "[", "\\", "..", "/", ".", "?", "*.py", "{a,b}", "é", "\n", "~",
        str(_tree()), "-",
    ]  # fmt: skip
    words = ["search", "--no-update", "--json", "--budget", "0"]
    for flag in ("--path", "--language"):
        for _ in range(rng.randrange(3)):
            words += [
                flag + "=" + "".join(rng.choices([*odd, "python", "js", "c++"], k=int(10 ** rng.uniform(0, 1.7))))
            ]
    if rng.random() < 0.3:
        path = rng.choice(["src/dates.py", "nowhere.py", "", ":", str(_tree() / "src/dates.py"), "src/../src/dates.py"])
        line = rng.choice(["1", "0", "-1", "9" * 30, "x", "\uff13", ""])
        words += [f"--like={path}:{line}", str(_tree())]
    else:
        words += ["date", str(_tree())]
    command(rng, words)


def indexes(rng: random.Random, work: Path) -> None:
    """Damage in the files of an index, then a search, a status and another search."""
    home = work / "home"
    shutil.copytree(_home(), home)
    os.environ["MOSE_HOME"] = str(home)
    for _ in range(rng.randrange(1, 4)):
        files = sorted(path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            break
        path = rng.choice(files)
        data = bytearray(path.read_bytes())
        how = rng.random()
        if how < 0.5 and data:
            for _ in range(rng.randrange(1, 30)):
                data[rng.randrange(min(len(data), rng.choice([100, len(data)])))] = rng.randrange(256)
        elif how < 0.7:
            del data[rng.randrange(len(data) + 1) :]
        elif how < 0.8 and data:
            at = rng.randrange(len(data))
            data[at : at + 4096] = bytes(len(data[at : at + 4096]))
        elif how < 0.9:
            data += rng.randbytes(rng.randrange(1, 5000))
        else:
            path.unlink()
            continue
        path.write_bytes(data)
    try:
        for words in (["search", "date", str(_tree()), "--json", "--budget", "1"], ["status", str(_tree())]):
            command(rng, words)
        command(rng, ["search", "date", str(_tree())])
    finally:
        os.environ["MOSE_HOME"] = str(_home())


def models(rng: random.Random, work: Path) -> None:
    """Damage in the small files and headers of a model folder."""
    from mose.errors import MoseError
    from mose.runtime.encoder import Encoder

    shipped = next(path for path in (Path(__import__("mose").__file__).parent).glob("*/small") if path.is_dir())
    folder = work / "model"
    folder.mkdir()
    for path in shipped.iterdir():
        os.symlink(path, folder / path.name) if rng.random() < 0.05 else os.link(path, folder / path.name)
    name = rng.choice(
        ["mose.json"] * 4
        + [path.name for path in folder.iterdir() if path.suffix != ".bin" and "LICENSE" not in path.name]
    )
    data = bytearray((folder / name).read_bytes())
    (folder / name).unlink()
    if name.endswith(".json") and rng.random() < 0.7:
        text = data.decode()
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            odd = [
                "0", "-1", "1e308", "NaN", "null", "[]", "{}", '"../../x"', '"/etc/passwd"', "9" * 400, "[" * 2000,
                "true", '"', ",",
            ]  # fmt: skip
            text = text[:at] + rng.choice(odd) + text[at + rng.randrange(12) :]
        data = bytearray(text.encode())
    else:
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(min(len(data), rng.choice([8, 64, 2000, len(data)])))] = rng.randrange(256)
    (folder / name).write_bytes(data)
    with contextlib.suppress(MoseError):
        encoder = Encoder.load(folder, exit=rng.choice([0, 2, 6]))
        encoder.encode(["def f(): pass"], kind="code")


def archives(rng: random.Random, work: Path) -> None:
    """Archives of packages: odd names, links, sizes, damage."""
    from mose.data.mine.archives import unpack
    from mose.errors import MoseError

    download, files = work / "download", work / "files"
    download.mkdir()
    files.mkdir()
    stream = io.BytesIO()
    entries = [
        "a.py", "../b.py", "/c.py", "-x", "d/" * 50 + "e.py", "a.py/f.py", "é\n.py", "CON", "x" * 300, "\\..\\y",
        "./.", "",
    ]  # fmt: skip
    if rng.random() < 0.5:
        path = download / "p-1.tar.gz"
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for _ in range(rng.randrange(1, 8)):
                info = tarfile.TarInfo(rng.choice(entries))
                info.type = rng.choice(
                    [tarfile.REGTYPE] * 4
                    + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
                )
                info.linkname = rng.choice(["/etc/passwd", "../..", "a.py"])
                data = b"x" * rng.choice([0, 10, 100_000])
                info.size = len(data) if info.type == tarfile.REGTYPE else 0
                archive.addfile(info, io.BytesIO(data) if info.size else None)
    else:
        path = download / "p-1-py3-none-any.whl"
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
            for _ in range(rng.randrange(1, 8)):
                with contextlib.suppress(ValueError):
                    zipped.writestr(rng.choice(entries) or "z", b"x" * rng.choice([0, 10, 1_000_000]))
    data = bytearray(stream.getvalue())
    if rng.random() < 0.4:
        for _ in range(rng.randrange(1, 10)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    before = sorted(work.parent.rglob("*.py"))
    with contextlib.suppress(MoseError):
        unpack(path, files)
    outside = [found for found in work.parent.rglob("*.py") if found not in before and not found.is_relative_to(files)]
    assert not outside, f"written outside: {outside}"
    assert not [found for found in files.rglob("*") if found.is_symlink()]


KINDS: dict[str, tuple[Callable[[random.Random, Path], None], int]] = {
    "contents": (contents, 4), "names": (names, 1), "ignores": (ignores, 60), "queries": (queries, 12),
    "filters": (filters, 12), "indexes": (indexes, 2), "models": (models, 2), "archives": (archives, 12),
}  # fmt: skip
"""Kind -> function, and the number of its inputs in a round."""


def command(rng: random.Random, words: list[str]) -> None:
    """One call of the command line, in this process: its status is one of ours, its JSON parses, and all it prints shows."""
    from mose import cli
    from mose.escaping import UNSEEN

    out, talk = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(talk):
        try:
            status = cli.main(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 2
    out.flush()
    talk.flush()
    assert status in (0, 1, 2), f"exit status {status}"
    printed = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    if "--json" in words and status == 0:
        for line in printed.split("\n"):
            json.loads(line or "null")
    said = talk.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert not UNSEEN.search((printed + said).replace("\n", "")), "a character that does not show is printed"


def _home() -> Path:
    return Path(os.environ["MOSE_FUZZ"]) / "home"


def _tree() -> Path:
    return Path(os.environ["MOSE_FUZZ"]) / "tree"


# ---- the child, and its watch


def serve(kind: str, first: int, count: int, base: str) -> None:
    """Run inputs one after the other; writes the start of each, and faults, to standard output."""
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    function, _ = KINDS[kind]
    for seed in range(first, first + count):
        print(f"begin {seed}", file=say)
        work = Path(tempfile.mkdtemp(prefix="in-", dir=base))
        started = time.monotonic()
        try:
            function(random.Random(f"{kind} {seed}"), work)
        except BaseException:
            print("fault " + json.dumps([seed, traceback.format_exc()[-1500:]]), file=say)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(f"end {time.monotonic() - started:.3f} {peak // 1024}", file=say)
        subprocess.run(["rm", "-rf", str(work)], check=False)


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
        # A loaded machine is not a hang: the child has many times its limit before it is killed.
        ready, _, _ = select.select([child.stdout], [], [], 12 * seconds)
        if not ready:
            faults.append((current, f"hang: no answer in {12 * seconds:.0f} s"))
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
