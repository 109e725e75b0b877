"""Arguments that several commands take, and the types of their values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mose.cli.output import need_packages
from mose.cli.parser import Parser

if TYPE_CHECKING:
    from mose.parallel import RunEach


def define(command: Parser, run: Callable[..., int], *, example: str, notes: str = "") -> None:
    """Set what a command runs, and end its help with an example.

    Args:
        command: Changed in place.
        run: Takes the arguments, gives the exit status.
        example: A whole command line.
        notes: Text below the example.
    """
    command.epilog = f"example:\n  {example}" + (f"\n\n{notes}" if notes else "")
    command.set_defaults(run=run, parser=command)


def add_workers(command: Parser) -> None:
    """Add ``--workers`` and ``--executor``."""
    command.add_argument("--workers", type=count, default=2, metavar="N", help="processes (default: 2)")
    command.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="run them on this machine, or as tasks of a Ray cluster, that of RAY_ADDRESS or one started here (needs "
        "mose[scale]; default: local)",
    )


def executor_of(arguments: argparse.Namespace) -> RunEach:
    """The executor that ``--executor`` names."""
    if arguments.executor == "local":
        from mose.parallel import run_each

        return run_each
    need_packages(f"{arguments.parser.prog.removeprefix('mose ')} --executor ray", "ray", extra="scale")
    from mose.scale import cluster

    return cluster.run_each


def add_path(command: Parser, help: str = "source tree (default: this folder)") -> None:
    """Add PATH; `mose.cli.parser.take_late_path` gives its default."""
    command.add_argument("path", nargs="?", metavar="PATH", help=help)


def add_inside(command: Parser) -> None:
    """Add ``--inside``."""
    command.add_argument(
        "--inside",
        action="store_true",
        default=None,
        help="keep the index in PATH/.mose, not in the user's cache",
    )


def add_max_file_size(command: Parser) -> None:
    """Add ``--max-file-size``."""
    command.add_argument(
        "--max-file-size",
        type=size,
        metavar="SIZE",
        help="read files up to this size, from now on, e.g. 5MB (default: as before, at first 1MB)",
    )


def add_model(command: Parser) -> None:
    """Add ``--model``."""
    command.add_argument("--model", default="small", help='a shipped model or a runtime folder (default: "small")')


def add_exit(command: Parser) -> None:
    """Add ``--exit``."""
    command.add_argument(
        "--exit", type=int, metavar="K", help="depth of the model, 0 the fastest (default: the deepest)"
    )


def add_quiet(command: Parser, help: str = "show no progress") -> None:
    """Add ``--quiet``."""
    command.add_argument("--quiet", action="store_true", help=help)


def add_json(command: Parser, help: str = "print one JSON object a line") -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help=help)


def add_json_counts(command: Parser) -> None:
    """Add ``--json`` of a command that answers with counts."""
    add_json(command, "print the counts as a JSON object")


def add_files(command: Parser, option: str, help: str, *, metavar: str, required: bool = False) -> None:
    """Add an option that takes one path or several, and may be repeated; an empty list without it."""
    command.add_argument(
        option, type=Path, nargs="+", action="extend", default=[], required=required, metavar=metavar, help=help
    )


def add_changes(command: Parser, of: str) -> None:
    """Add ``--set``."""
    command.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"override a setting of the {of}; may be repeated",
    )


def seconds(text: str) -> float:
    """A time such as ``3s``, ``500ms`` or ``2m``."""
    for unit, size in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(unit):
            try:
                value = float(text[: len(text) - len(unit)]) * size
            except ValueError:
                break
            if value >= 0 and math.isfinite(value):
                return value
            break
    raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 3s, 500ms or 2m")


def count(text: str) -> int:
    """A number from 1 up."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return value


def numbers(text: str) -> tuple[int, ...]:
    """Numbers from 0 up with commas between, each once, in their order.

    Example:
        >>> numbers("6,0,3,0")
        (6, 0, 3)
    """
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        found = (-1,)
    if min(found) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 0 up: write 0,3,6")
    return found


def names(text: str) -> tuple[str, ...]:
    """Names with commas between; "none" gives no name."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if found == ("none",) else found


def size(text: str) -> int:
    """Bytes of a text such as 5MB.

    Example:
        >>> size("500KB"), size("2mb"), size("100")
        (500000, 2000000, 100)
    """
    for unit, factor in (("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1)):
        number = text.upper().removesuffix(unit).strip()
        if (
            text.upper().endswith(unit)
            and number.isascii()
            and number.isdigit()
            and 0 < len(number) < 13
            and int(number)
        ):
            return int(number) * factor
    raise argparse.ArgumentTypeError(f"{text!r} is not a size: write 5MB, 500KB or 2000000")
