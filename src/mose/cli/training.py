"""``mose pretrain`` and ``mose finetune``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from collections.abc import Callable
from pathlib import Path

from mose.cli.options import add_changes, define
from mose.cli.output import need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import say, show


def add_pretrain(command: Parser) -> None:
    """Add the arguments of ``mose pretrain``."""
    define(command, pretrain, example="mose pretrain configs/pretrain-tiny.toml --set data.folder=PACKAGES")
    command.add_argument("config", type=Path, metavar="FILE", help="TOML file with all settings")
    add_changes(command, "file")


def pretrain(arguments: Arguments) -> int:
    """``mose pretrain``: masked tokens and in-context classification at every exit; the log goes to stderr."""
    need_packages("pretrain", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.train.pretrain.run import run

    folder = run(arguments.config, overrides=parse_overrides(arguments.changes), say=say)
    show(str(folder))
    return 0


def add_finetune(command: Parser) -> None:
    """Add the arguments of ``mose finetune``."""
    define(command, finetune, example="mose finetune retrieval --config configs/small.toml --set data.folder=DATA")
    command.add_argument(
        "task", choices=("retrieval", "clones"), help="retrieval: text to code, code to code; clones: same task or not"
    )
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file with all settings")
    add_changes(command, "file")


def finetune(arguments: Arguments) -> int:
    """``mose finetune``: one training run for every exit; its log goes to stderr as JSON lines."""
    need_packages("finetune", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.train.clones import run as clones
    from mose.train.retrieval import run as retrieval

    run: Callable[..., Path] = retrieval.run if arguments.task == "retrieval" else clones.run
    folder = run(arguments.config, overrides=parse_overrides(arguments.changes), say=say)
    show(str(folder))
    return 0
