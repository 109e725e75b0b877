"""Help and documents: every command line that they show is one, and every default is told."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from mose.cli import COMMANDS, build_parser
from mose.cli.parser import as_meant, take_late_path

ROOT = Path(__file__).parents[2]


def parsers(parser=None):
    parser = parser or build_parser(COMMANDS)
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def understand(line):
    """Parse a command line as `mose.cli.main` does, without running it."""
    words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
    assert words[0] == "mose"
    try:
        given, extra = build_parser(words[1:]).parse_known_args(as_meant(words[1:], COMMANDS))
    except SystemExit as stop:  # `mose help search`
        assert stop.code == 0, line
        return
    assert take_late_path(given, extra) == [], line


def examples():
    for parser in parsers():
        example = re.search(r"^example:\n  (.+)$", parser.epilog or "", re.MULTILINE)
        yield parser.prog, example and example[1]


def test_the_example_of_every_command_is_one(capsys):
    for name, example in examples():
        assert example and example.startswith(name), name
        understand(example)
        for file in re.findall(r"\bconfigs/[\w.-]+", example):
            assert (ROOT / file).is_file(), example


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))])
def test_the_command_lines_of_a_page_are_understood(page, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text(encoding="utf8").replace("\\\n", " ")
    for block in re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            for command in re.split(r"\s+#\s|$", line)[0].split("&&"):
                if re.match(r"\s*mose\s", command):
                    understand(command.strip())


def test_every_default_is_told():
    for parser in parsers():
        for action in parser._actions:
            if action.default in (None, False, argparse.SUPPRESS) or action.default in ([], ()) or not action.help:
                continue
            assert "default: " in action.help, f"{parser.prog} {'/'.join(action.option_strings)}"
