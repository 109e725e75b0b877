"""Arguments of ``mose eval-repo``."""

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
        "eval-repo",
        "eval_repo.eval_repo",
        "measure search on a source tree of yours, by what its documentation, history and tests say",
        "mose eval-repo path/to/tree --save baseline.json",
    )
    verb.add_argument("path", nargs="?", metavar="PATH", help="source tree (default: this folder)")
    verb.add_argument("--model", default="small", help='a shipped model or a runtime folder (default: "small")')
    depth = verb.add_mutually_exclusive_group()
    depth.add_argument(
        "--exit",
        type=int,
        action="append",
        default=[],
        metavar="K",
        help="depth to measure, several times for several (default: the shallowest and the deepest)",
    )
    depth.add_argument("--all-exits", action="store_true", help="measure every depth of the model")
    verb.add_argument(
        "--queries", type=int, default=100, metavar="N", help="at most this many of each kind (default: 100)"
    )
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="which queries, if there are more (default: 0)")
    verb.add_argument(
        "--budget-tokens",
        type=int,
        metavar="N",
        help="size of an answer for the third metric, 4 characters a token (default: 4000)",
    )
    baseline = verb.add_mutually_exclusive_group()
    baseline.add_argument("--save", type=Path, metavar="FILE", help="keep the values, to check against later")
    baseline.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="ask the queries of a saved run again; exit code 1 if NDCG@10 fell beyond noise",
    )
    verb.add_argument("--list", action="store_true", help="print the queries and their answers, and measure nothing")
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print one JSON object (with --list, one a query)")
