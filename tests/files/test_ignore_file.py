"""Ignore rules against git itself, and their cost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mose.files.ignore_file import MAX_PATTERN_BYTES, IgnoreRules

PIECES = [
    r"a",
    r"b",
    r"ab",
    r"foo",
    r"x.py",
    r"A",
    r"1",
    r"*",
    r"**",
    r"***",
    r"?",
    r"/",
    r"/",
    r"**/",
    r"/**",
    r"/**/",
    r"***/",
    r".*",
    r"*.py",
    r".",
    r"!",
    r"#",
    r"-",
    r"é",
    r"ä",
    r"{",
    r"[a-b]",
    r"[!a]",
    r"[^b]",
    r"[]a]",
    r"[!]a]",
    r"[!/]",
    r"[/]",
    r"[é]",
    r"[a-",
    r"[",
    r"[[:alpha:]]",
    r"[[:space:]]",
    r"[[:foo:]]",
    r"[[:alpha:",
    r"[[:]",
    r"[a[:digit:]b]",
    r"[b-a]",
    r"[a\]b]",
    r"[\\]",
    r"[--a]",
    r"[a-c-e]",
    r"[,-.]",
    r"[[:punct:]]",
    r"[[:upper:][:digit:]]",
    r"[[:cntrl:]]",
    r"[\a-\c]",
    r"[a-\c]",
    r"[!-]",
    r"[:alpha:]",
    r"[[:alpha:]-z]",
    r"[a-[:alpha:]]",
    r"\a",
    r"\*",
    r"\/",
    r"\[",
    r"\\",
]
PIECES += [" ", "\\ ", "\t", "\r", "\x0b"]
NAMES = [
    "a",
    "b",
    "ab",
    "abc",
    "ba",
    "aab",
    "x.py",
    "é",
    "ä",
    "-",
    "[a]",
    "*",
    "a*",
    "!a",
    "#a",
    "A",
    "1",
    "a1",
    "foo",
    ",",
    "{",
    "aé",
    "]",
    "[",
    "c",
    "z",
    ":",
    "\\",
    "a\\b",
]
NAMES += ["a b", "a ", " ", "a\tb", "\x0b"]


def random_line(rng: random.Random) -> str:
    line = "".join(rng.choice(PIECES) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 7])))
    before, after = rng.choice(["", "", "", "!", "/", "!/"]), rng.choice(["", "", "", "/"])
    odd_end = rng.choice([" ", "  ", "\\ ", "\\", "\r", "\t", " \r", "\\\r", "\0x"]) if rng.random() < 0.1 else ""
    return before + line + after + odd_end


def random_tree(rng: random.Random, root: Path) -> list[tuple[str, bool]]:
    """Files and folders below ``root``; each with whether it is a folder."""
    for _ in range(300):
        path = root / "/".join(rng.choice(NAMES) for _ in range(rng.choice([1, 1, 2, 2, 3, 4])))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    return [(path.relative_to(root).as_posix(), path.is_dir()) for path in sorted(root.rglob("*"))]


def asked_of_git(root: Path, paths: list[str], environment: dict[str, str]) -> dict[str, tuple[str, int] | None]:
    """The ignore file and the line that decide on each path, as git sees it."""
    given = b"".join(b"./" + path.encode() + b"\0" for path in paths)
    command = ["git", "check-ignore", "-z", "--stdin", "--no-index", "-v", "-n"]
    done = subprocess.run(command, input=given, cwd=root, env=environment, capture_output=True)
    fields = done.stdout.decode().split("\0")[:-1]
    assert len(fields) == 4 * len(paths), done.stderr
    return {
        path[2:]: (source, int(line)) if source else None
        for source, line, _, path in zip(*(fields[part::4] for part in range(4)), strict=True)
    }


def asked_of_us(rules: dict[str, IgnoreRules], path: str, is_directory: bool) -> tuple[str, int] | None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        entry = "/".join(parts[:depth])
        decided = None
        for folder in sorted(rules, key=len, reverse=True):
            if entry.startswith(folder):
                decided = rules[folder].find(
                    entry[len(folder) :], is_directory=is_directory if depth == len(parts) else True
                )
                if decided is not None:
                    break
        if decided is not None and (decided.ignores or depth == len(parts)):
            return f"{folder}.gitignore", decided.line_number
    return None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_every_decision_and_its_line_is_that_of_git(tmp_path):
    rng = random.Random(20_261_126)
    root = tmp_path / "tree"
    root.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q"], cwd=root, env=environment, check=True)
    shutil.move(root / ".git", tmp_path / "kept")
    entries = random_tree(rng, root)
    shutil.move(tmp_path / "kept", root / ".git")
    folders = ["", *(path + "/" for path, is_directory in entries if is_directory)]
    num_pairs = num_decided = 0
    while num_pairs < 20_000:
        texts = {}
        for folder in {"", *(rng.choice(folders) for _ in range(rng.choice([0, 0, 1, 2])))}:
            lines = [random_line(rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 6]))]
            mark, end = "\ufeff" * (rng.random() < 0.05), rng.choice(["\n", "\n", "\r\n", ""])
            texts[folder] = mark + "\n".join(lines) + end
            (root / folder / ".gitignore").write_bytes(texts[folder].encode())
        rules = {folder: IgnoreRules(text) for folder, text in texts.items()}
        expected = asked_of_git(root, [path for path, _ in entries], environment)
        for path, is_directory in entries:
            assert asked_of_us(rules, path, is_directory) == expected[path], (path, texts)
            num_pairs += 1
            num_decided += expected[path] is not None
        for folder in texts:
            (root / folder / ".gitignore").unlink()
    assert num_decided > num_pairs // 20


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("**/" * 20 + "x", "a/" * 2_000 + "a"),
        ("*a" * 3_000 + "b", "a" * 5_000),
        ("**/*a*a*a*a*b/*a*/**/" * 20 + "x", ("a" * 200 + "/") * 20 + "y"),
        ("**/" + "*/" * 2_000 + "b", "a/" * 4_000 + "c"),
        ("**/*?" * 2_000 + "b", "a/" * 2_000 + "a"),
        ("*?" * 4_000 + "b", "a" * 5_000),
        ("[a-z]*" * 1_600 + "!", "a" * 5_000),
        ("x*y\n" * 250_000, "x" * 100),
        ("?" * 1_000_000, "x" * 100),
    ],
)
def test_hostile_rules_cost_little(text, path):
    start = time.process_time()
    assert IgnoreRules(text).decide(path, is_directory=False) is None
    assert time.process_time() - start < 5.0  # a guard against hanging


def test_overlong_lines_with_wildcards_are_passed_over_and_long_names_are_not():
    name = "n" * (2 * MAX_PATTERN_BYTES)
    rules = IgnoreRules(f"{name}\n*{name}?\n")
    assert rules.decide(name, is_directory=False) is True
    assert rules.decide(f"x{name}y", is_directory=False) is None
