"""Arguments of ``mose pairs``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(verbs: Any, new_verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds ``mose pairs`` and what it can do.

    Args:
        verbs: The command's sub-parsers.
        new_verb: Makes one of them: (verbs, name, function, help, example).
    """
    family = new_verb(
        verbs, "pairs", "pairs.mine", "make pairs to train on", "mose pairs mine configs/mine.toml --out mined/"
    )
    actions = family.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verb = new_verb(
        actions,
        "mine",
        "pairs.mine",
        "mine pairs of text and code from the source of named packages",
        "mose pairs mine configs/mine.toml --out mined/ --exclude-near DATA/csn/test.jsonl.xz",
    )
    verb.add_argument("manifest", type=Path, metavar="MANIFEST", help="TOML file that names the packages")
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write; a stopped run goes on"
    )
    verb.add_argument(
        "--sources", type=Path, metavar="FOLDER", help="folder of unpacked packages (default: the user's cache)"
    )
    verb.add_argument(
        "--exclude-near",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="evaluation files; near copies of their rows are left out",
    )
    verb.add_argument("--skip-missing", action="store_true", help="leave out packages that cannot be fetched")
    verb.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    _add_output(verb)
    verb = new_verb(
        actions,
        "negatives",
        "pairs.negatives",
        "give each row codes near its query that do not answer it (needs mose[train])",
        "mose pairs negatives ladder/ DATA/csn/train.jsonl.xz --out DATA/csn/train-hard.jsonl.xz",
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="model folder that looks for them")
    verb.add_argument("pairs", type=Path, metavar="PAIRS", help="pairs of text and code, as JSON lines")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write: .jsonl or .jsonl.xz")
    verb.add_argument(
        "--first-rank",
        type=int,
        default=5,
        metavar="N",
        help="leave out the N nearest codes, which often answer unmarked (default: 5)",
    )
    verb.add_argument("--last-rank", type=int, default=60, metavar="N", help="look no further (default: 60)")
    verb.add_argument(
        "--margin",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="a negative's cosine is at most this share of the answer's (default: 0.95)",
    )
    verb.add_argument("--count", type=int, default=4, metavar="N", help="negatives of a row, at most (default: 4)")
    verb.add_argument(
        "--exit",
        type=int,
        metavar="K",
        help="exit that looks for them; 0 reads thousands of rows a second (default: the deepest)",
    )
    verb.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    _add_output(verb)
    for name, what in (("ask", "questions about the code of pairs"), ("translate", "translations of their code")):
        verb = new_verb(
            actions,
            name,
            f"pairs.{name}",
            f"let a language model write {what}: write the requests, check the answers",
            f"mose pairs {name} mined/train.jsonl.xz --out {name}/ && ... && "
            f"mose pairs {name} --out {name}/ --answers part-*.jsonl.xz",
        )
        verb.add_argument("pairs", type=Path, nargs="*", metavar="PAIRS", help="files written by mose pairs mine")
        verb.add_argument(
            "--out", type=Path, required=True, metavar="FOLDER", help="folder of requests and checked answers"
        )
        verb.add_argument(
            "--answers",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
            help="check these answers (OpenAI batch results, .jsonl or .jsonl.xz) to the requests of FOLDER",
        )
        verb.add_argument(
            "--without", nargs="+", default=[], metavar="SOURCE", help="leave out rows of these sources (pypi:rich)"
        )
        verb.add_argument("--most", type=int, metavar="N", help="write at most N requests")
        _add_output(verb)


def _add_output(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print the counts as a JSON object")
