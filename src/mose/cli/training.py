"""``mose finetune``."""

from __future__ import annotations

from argparse import Namespace as Arguments

from mose.cli.output import need_packages
from mose.cli.terminal import say, show


def finetune(arguments: Arguments) -> int:
    """``mose finetune``: one training run for every exit; its log goes to stderr as JSON lines."""
    need_packages("finetune", "torch", "transformers")
    from mose.train.clones import run as clones
    from mose.train.retrieval import run as retrieval

    run = {"retrieval": retrieval.run, "clones": clones.run}[arguments.task]
    folder = run(
        arguments.config,
        overrides=retrieval.parse_overrides(arguments.changes),
        tell=say,
    )
    show(str(folder))
    return 0
