"""Inputs of `fuzz.py`: what lies in a tree, what is asked about it, and its index."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

from fuzz_texts import EXTENSIONS, OTHERS, PIECES, command, mixture, raw, sample_home, sample_tree


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
    command(rng, ["search", *flags, "--no-update", "--budget", "0", "--", query, str(sample_tree())])


def filters(rng: random.Random, work: Path) -> None:
    """Filters by path and language, and a location as the query."""
    odd = [
        "*", "**/", "a", "src/", "!", "[z-a]", "[", "\\", "..", "/", ".", "?", "*.py", "{a,b}", "é", "\n", "~",
        str(sample_tree()), "-",
    ]  # fmt: skip
    words = ["search", "--no-update", "--budget", "0", f"--format={rng.choice(['text', 'rg', 'json', 'json'])}"]
    for flag in ("--path", "--language", "--exclude"):
        for _ in range(rng.choice([0, 0, 1, 2])):
            words += [
                flag + "=" + "".join(rng.choices([*odd, "python", "js", "c++"], k=int(10 ** rng.uniform(0, 1.7))))
            ]
    if rng.random() < 0.3:
        path = rng.choice(
            ["src/dates.py", "nowhere.py", "", ":", str(sample_tree() / "src/dates.py"), "src/../src/dates.py"]
        )
        line = rng.choice(["1", "0", "-1", "9" * 30, "x", "\uff13", ""])
        words += [f"--like={path}:{line}", str(sample_tree())]
    else:
        words += ["date", str(sample_tree())]
    command(rng, words)


def lines(rng: random.Random, work: Path) -> None:
    """A regular expression, or a text, that a line must match."""
    odd = [
        "(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "^", "$", ".", "\\", "\\b", "(?i)", "(?P<a>", "(?=", "(?<!", "\\1",
        "a", "def", "=", " ", "(a+)+$", "(.*)*x", "(\\w+\\s?)*:", ".{1,999}" * 3, "{999999999}", "é", "\n", "\0", "x" * 900,
    ]  # fmt: skip
    text = "".join(rng.choices(odd, k=int(10 ** rng.uniform(0, 1.5))))
    flag = rng.choice(["--regex", "--regex", "--text"])
    command(
        rng, ["search", "--no-update", "--budget", "0", "--format", "rg", f"{flag}={text}", "date", str(sample_tree())]
    )


def notebooks(rng: random.Random, work: Path) -> None:
    """A notebook, whole or damaged: every line of a cell is in a chunk."""
    from mose.files import SourceFile, WalkLimits, walk
    from mose.search.chunking.chunks import ChunkerConfig
    from mose.search.chunking.cut_files import cut_files
    from mose.search.chunking.prepare import CutTask

    def source() -> object:
        text = mixture(rng, rng.choice([100, 3_000]))
        return text if rng.random() < 0.5 else text.splitlines(keepends=True)

    cells: list[object] = [
        {"cell_type": rng.choice(["code", "markdown", "raw", "é\x1b"]), "source": source(), "outputs": [source()]}
        for _ in range(int(10 ** rng.uniform(0, 2)))
    ]
    odd: list[object] = [None, 1, [], {}, "x", {"source": 3}, {"source": ["a", 3]}, {"source": [["a"]]}]
    if is_odd := rng.random() < 0.3:
        cells.insert(rng.randrange(len(cells) + 1), rng.choice(odd))
    book = {"cells": cells, "metadata": {"language_info": {"name": rng.choice(["python", "c++", "../x", 7])}}}
    text = json.dumps(book, indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5)
    if is_damaged := rng.random() < 0.3:
        at = rng.randrange(len(text))
        text = (
            text[:at]
            + rng.choice(["", "[" * 100_000, '"', "{", "\\u0000", "\\ud800", ","])
            + text[at + rng.randrange(20) :]
        )
    (work / "x.ipynb").write_bytes(text.encode("utf-8", "surrogatepass"))
    for cut in cut_files(
        work, [CutTask(file=file) for file in walk(work) if isinstance(file, SourceFile)], WalkLimits(), ChunkerConfig()
    ):
        kept = "".join(chunk.text for chunk in cut.chunks)
        kept.encode("utf-8")
        if cut.skipped or is_odd or is_damaged:
            continue
        for cell in cells:
            whole = "".join(cell["source"])  # type: ignore[index]
            lost = [
                line for line in whole.replace("\0", "\ufffd").split("\n") if line.strip() and line.strip() not in kept
            ]
            assert not lost, f"lines of a cell in no chunk: {lost[:3]}"


def colours(rng: random.Random, work: Path) -> None:
    """Code of any language, coloured for the page: the same lines come out."""
    from mose.escaping import escape
    from mose.languages.tables import _EXTENSIONS
    from mose.serve.page.highlight import highlight

    piece = "".join(rng.choices([*PIECES, *"ab01_"], k=rng.randrange(1, 5)))
    text = piece * (50_000 // len(piece)) if rng.random() < 0.7 else mixture(rng, 100_000)
    text = "\n".join(line[at : at + 900] for line in text.split("\n") for at in range(0, len(line) or 1, 900))
    (shown,) = highlight([(text, rng.choice(list(_EXTENSIONS)))], rng.choice(["", "a b"]))
    assert ["".join(piece for piece, _ in line) for line in shown] == [
        escape(line.removesuffix("\r")) for line in text.split("\n")
    ]


def alike(rng: random.Random, work: Path) -> None:
    """A new index that begins with a damaged one of a tree like its own: what it answers is what the tree has."""
    from mose import CodeIndex
    from mose.search import lifecycle

    lifecycle.ALIKE_FILES = 1
    tree, home = work / "tree", work / "home"
    shutil.copytree(sample_tree(), tree)
    shutil.copytree(sample_home(), home)
    (tree / "src" / "dates.py").write_text((tree / "src" / "dates.py").read_text().replace("ISO", "ANY"))
    for _ in range(rng.randrange(1, 4)):
        path = rng.choice(sorted(path for path in (home / "trees").rglob("*") if path.suffix in (".db", ".vec")))
        data = bytearray(path.read_bytes())
        for _ in range(rng.randrange(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data if rng.random() < 0.8 else data[: rng.randrange(len(data))])
    os.environ["MOSE_HOME"] = str(home)
    try:
        with CodeIndex.open(tree, exit=0) as index:
            for query in ("parse an ANY date", "class", rng.choice(["open", "value", "return", "x"])):
                for hit in index.search(query):
                    lines = (tree / hit.path).read_text().split("\n")[hit.start_line - 1 : hit.end_line]
                    assert hit.text.strip("\n") in "\n".join(lines) + "\n", (
                        f"{hit.path}:{hit.start_line} shows what is not there"
                    )
            assert index.search("parse_date")[0].path == "src/dates.py"
    finally:
        os.environ["MOSE_HOME"] = str(sample_home())


def indexes(rng: random.Random, work: Path) -> None:
    """Damage in the files of an index, then a search, a status and another search."""
    home = work / "home"
    shutil.copytree(sample_home(), home)
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
        for words in (
            ["search", "date", str(sample_tree()), "--json", "--budget", "1"],
            ["status", str(sample_tree())],
        ):
            command(rng, words)
        command(rng, ["search", "date", str(sample_tree())])
    finally:
        os.environ["MOSE_HOME"] = str(sample_home())
