"""Arguments of ``mose eval``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(verbs: Any, new_verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the verb.

    Args:
        verbs: Where verbs go.
        new_verb: Makes one: verbs, name, function, help, example.
    """
    verb = new_verb(
        verbs,
        "eval",
        "evaluating.evaluate",
        "say what each exit of a model is worth, beside everything a user could take instead (needs mose[eval])",
        "mose eval small --data DATA --out report/ --tasks cosqa,csn-ruby",
    )
    verb.add_argument(
        "model", nargs="?", default="small", metavar="MODEL",
        help='a shipped model, a runtime folder or a checkpoint folder (default: "small")',
    )  # fmt: skip
    verb.add_argument(
        "--data", type=Path, metavar="DATA", help="folder with task data (default: the variable MOSE_DATA)"
    )
    verb.add_argument("--out", type=Path, default=Path("report"), metavar="FOLDER", help="to write (default: report)")
    verb.add_argument("--tasks", type=_names, default=(), metavar="NAME,...", help="tasks to run (default: all)")
    verb.add_argument("--exits", type=_numbers, metavar="K,...", help="exits to score (default: all)")
    verb.add_argument(
        "--widths", type=_numbers, default=(256, 128, 64), metavar="W,...",
        help="leading dimensions to score, besides all of them (default: 256,128,64)",
    )  # fmt: skip
    verb.add_argument(
        "--peers", type=_names, default=("bm25", "minilm", "static", "e5"), metavar="NAME,...",
        help="bm25, minilm, e5, static, a sentence-transformers folder, or none (default: bm25,minilm,static,e5)",
    )  # fmt: skip
    verb.add_argument("--static", type=Path, metavar="FOLDER", help="model2vec folder of the peer static")
    verb.add_argument("--all-tasks", action="store_true", help="run slow peers, too, on every task")
    verb.add_argument(
        "--quick", action="store_true", help="a look at a sample of each task, comparable to nothing else"
    )
    verb.add_argument("--limit", type=int, metavar="N", help="the same, with N queries a task")
    verb.add_argument("--cache", type=Path, metavar="FOLDER", help="of embeddings (default: in the user's cache)")
    verb.add_argument("--threads", type=int, metavar="N", help="to use (default: all cores)")
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print one JSON object for each task, system, exit and width")
    other = verb.add_mutually_exclusive_group()
    other.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A.json", "B.json"), help="compare two result files; run nothing"
    )
    other.add_argument("--report", type=Path, metavar="RESULT.json", help="render a result file again; run nothing")
    other.add_argument("--list", action="store_true", help="list the tasks that DATA holds; run nothing")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers: write 0,3,6") from None
    if any(number < 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} has a number below 0")
    return numbers
