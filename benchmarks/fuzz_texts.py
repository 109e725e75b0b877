"""What the inputs of `fuzz.py` are made of, and one call of the command line that is watched."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
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
    if {"--json", "--format=json"} & set(words) and status == 0:
        for line in printed.split("\n"):
            json.loads(line or "null")
    said = talk.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert not UNSEEN.search((printed + said).replace("\n", "")), "a character that does not show is printed"


def sample_home() -> Path:
    """The user's folder with the index of `sample_tree`."""
    return Path(os.environ["MOSE_FUZZ"]) / "home"


def sample_tree() -> Path:
    """An indexed tree with a file of every language."""
    return Path(os.environ["MOSE_FUZZ"]) / "tree"
