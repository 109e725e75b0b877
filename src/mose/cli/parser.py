"""Arguments as people type them: a misspelt word is answered with the nearest one, clear forms are understood."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from mose.cli.terminal import flush, say, say_lines, show_lines

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


EXIT_STATUS = """exit status:
  0    found, or done
  1    nothing found, or the answer is no: a file is left out (status --why),
       search is worse (eval-repo --check), a row is a copy (pairs check),
       a change was declined (mcp --install), answers lack (pairs ask)
  2    an error, or wrong usage
  130  interrupted; mose serve answers what was asked, and ends with 0"""


_WHAT_IS_READ = ("--hidden", "--no-ignore")
"""What other tools call reading more files."""
_NUMBERS: dict[object, str] = {int: "a whole number", float: "a number"}
"""What an argument of one of Python's types takes, in words."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Texts as they are written, except that what is too long for the screen is wrapped; a command line is not."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for line in text.splitlines():
            hanging = line[: len(line) - len(line.lstrip())]
            is_example = line.startswith("  mose ")
            lines += [line] if is_example or not line else textwrap.wrap(line, width, subsequent_indent=hanging)
        return "\n".join(lines)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # argparse forgets that they are indented
            longest = self._current_indent + self._indent_increment + max(map(len, action.choices))
            self._action_max_length = max(self._action_max_length, longest)


class Parser(argparse.ArgumentParser):
    """argparse that suggests the nearest word, and writes through `mose.cli.terminal`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, **settings)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, and exit."""
        if not message.startswith("argument "):  # the message names the option and what it takes
            say_lines(self.format_usage())
        say(f"{self.prog}: {message}")
        say(f"  `{self.prog} --help` shows an example.")
        raise SystemExit(2)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and "--" in arg_strings:  # argparse takes it away, and a list for the value
            self.error(f"argument {'/'.join(action.option_strings)}: -- is not a value")
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if not arg_string.strip():  # as of a variable of the shell that is not set
            from pathlib import Path

            if action.type is Path:
                raise argparse.ArgumentError(action, f"got {arg_string!r}, allowed: a path; . is the current folder")
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            allowed = _NUMBERS.get(action.type)
            if allowed is None:  # a type of ours, which says what it takes
                raise
            raise argparse.ArgumentError(action, f"got {arg_string!r}, allowed: {allowed}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.refuse_verb(value, list(action.choices))
        raise argparse.ArgumentError(action, f"got {value!r}, allowed: {', '.join(map(str, action.choices))}")

    def refuse_verb(self, asked: str, verbs: Sequence[str]) -> NoReturn:
        """Names the nearest verb, and stops."""
        near = _nearest(asked, verbs)
        say(f"{self.prog}: there is no command {asked!r}." + (f" Did you mean `{self.prog} {near}`?" if near else ""))
        if "search" in verbs and not near:
            say(f"  To search for it: {self.prog} search {quoted(asked)}")
        say(f"  Commands: {', '.join(verbs)}")
        raise SystemExit(2)

    def refuse(self, extra: Sequence[str], given: argparse.Namespace) -> NoReturn:
        """Print what to do about arguments that the verb does not know, and exit."""
        if extra[0].startswith("-"):
            option = extra[0].partition("=")[0]
            if option in _WHAT_IS_READ:
                say(f"{self.prog}: there is no option {option}: a tree has one index, and rules say what is in it.")
                say(
                    "  To read what is hidden or ignored, write for example !.github/ into a .moseignore: docs/files.md"
                )
                raise SystemExit(2)
            near = _nearest(option, self._option_string_actions)
            say(f"{self.prog}: there is no option {option}." + (f" Did you mean {near}?" if near else ""))
            say(f"  `{self.prog} --help` lists all. A query that begins with - goes behind --.")
        elif getattr(given, "path", None) is not None and all(map(os.path.exists, (given.path, *extra))):
            say(f"{self.prog}: there is one PATH, and these are {len(extra) + 1}: {' '.join((given.path, *extra))}")
            say("  Name them one after the other, or a folder that holds all.")
        elif isinstance(getattr(given, "query", None), str):
            words = [given.query, given.path, *extra]
            say(f"{self.prog}: the query is one argument, and these are {len(words)}: {' '.join(words)}")
            tree = f" {quoted(words.pop())}" if os.path.exists(words[-1]) else ""
            say(f"  Put the query in quotes: {self.prog} {quoted(' '.join(words), always=True)}{tree}")
        else:
            say(f"{self.prog}: too many arguments: {' '.join(extra)}")
            say(f"  `{self.prog} --help` shows an example.")
        raise SystemExit(2)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stderr:
            say_lines(message)
        else:
            show_lines(message.rstrip("\n"))
            flush()


def _nearest(word: str, known: Iterable[str]) -> str:
    """What a misspelt word most likely means; empty if nothing is near."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def quoted(text: str, *, always: bool = False) -> str:
    """The text as a shell takes it for one word."""
    import shlex

    return f'"{text}"' if (always or " " in text) and not set(text) & set('"\\$`!') else shlex.quote(text)


def as_meant(argv: Sequence[str], verbs: Collection[str]) -> list[str]:
    """The arguments with ``help VERB`` and a bare quoted query put into their usual form."""
    words = list(argv)
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    if words == ["version"]:
        return ["--version"]
    if words and words[0] not in verbs and not words[0].startswith("-") and len(words[0].split()) > 1:
        return ["search", *words]
    return words


def take_late_path(arguments: argparse.Namespace, extra: Sequence[str]) -> list[str]:
    """Fill in PATH: the first word left over if it stood behind an option, where argparse looks for none, else ``.``.

    Args:
        arguments: Changed in place; verbs without a PATH are left alone.
        extra: What argparse did not take.

    Returns:
        The rest of ``extra``. A command that takes several trees takes it, too, if all of them exist.
    """
    rest = list(extra)
    if getattr(arguments, "path", "") is None:
        arguments.path = rest.pop(0) if rest and not rest[0].startswith("-") else "."
    if rest and hasattr(arguments, "more_paths") and all(map(os.path.exists, (arguments.path, *rest))):
        arguments.more_paths, rest = tuple(rest), []
    return rest
