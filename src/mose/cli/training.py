"""``mose pretrain``, ``mose plan`` and ``mose finetune``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from collections.abc import Callable
from pathlib import Path

from mose.cli.options import add_changes, add_json, add_quiet, define
from mose.cli.output import need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import counted, say, show, show_json


def add_pretrain(command: Parser) -> None:
    """Add the arguments of ``mose pretrain``."""
    define(command, pretrain, example="mose pretrain configs/pretrain-tiny.toml --set data.folder=PACKAGES")
    command.add_argument("config", type=Path, metavar="FILE", help="TOML file with all settings")
    add_changes(command, "file")
    _add_quiet(command)


def pretrain(arguments: Arguments) -> int:
    """``mose pretrain``: masked tokens and in-context classification at every exit; the log goes to stderr."""
    need_packages("pretrain", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.train.pretrain.run import run

    folder = run(arguments.config, overrides=parse_overrides(arguments.changes), say=_say(arguments))
    show(str(folder))
    return 0


def add_plan(command: Parser) -> None:
    """Add the arguments of ``mose plan``."""
    define(command, plan, example="mose plan configs/pretrain-1b.toml --gpus 512")
    command.add_argument("config", type=Path, metavar="FILE", help="TOML file of mose pretrain")
    command.add_argument("--gpus", type=int, default=1, metavar="N", help="GPUs that share the run (default: 1)")
    command.add_argument(
        "--mfu", type=float, default=0.4, metavar="X", help="share of the peak that is reached (default: 0.4)"
    )
    command.add_argument(
        "--tflops",
        type=float,
        default=312.0,
        metavar="X",
        help="peak of one GPU in bfloat16 (default: 312, an A100; an H100 has 989)",
    )
    command.add_argument(
        "--mean-tokens",
        type=float,
        metavar="T",
        help="mean length of a pair (default: 1300/2048 of the longest, as in the paper)",
    )
    add_changes(command, "file")
    add_json(command)


def plan(arguments: Arguments) -> int:
    """``mose plan``: what a pre-training run needs of each GPU, and how long it takes."""
    from dataclasses import asdict

    from mose.config import PretrainConfig, parse_overrides, read_toml
    from mose.train.pretrain.plan import plan as make_plan
    from mose.train.pretrain.plan import planned_settings

    config = read_toml(arguments.config, PretrainConfig, overrides=parse_overrides(arguments.changes))
    found = make_plan(
        config,
        planned_settings(config),
        gpus=arguments.gpus,
        mfu=arguments.mfu,
        peak_flops=arguments.tflops * 1e12,
        mean_tokens=arguments.mean_tokens,
    )
    if arguments.json:
        show_json([asdict(found)])
        return 0
    show(f"{found.encoder_parameters:,} parameters, and {found.head_parameters:,} in the heads of pre-training")
    show(f"{config.run.steps:,} steps of {found.tokens_per_step:,} tokens and {found.flops_per_step:.3g} FLOPs")
    show(
        f"{counted(found.gpus, 'GPU')} of {found.peak_flops / 1e12:g} TFLOPS at {found.mfu:.0%}:"
        f" {found.tokens_per_second:,} tokens a second, {found.days:,.1f} days"
    )
    show("")
    columns = ("weights", "gradients", "moments", "activations", "logits", "total")
    show("GB of each GPU".ljust(28) + " ".join(f"{name:>11}" for name in columns))
    for row in found.memory:
        name = row.parallel + (", activations checkpointed" if row.checkpoint_activations else "")
        show(name.ljust(28) + " ".join(f"{getattr(row, column) / 1e9:>11.2f}" for column in columns))
    show("")
    longest = config.objective.max_tokens
    show(f"A forward pass of {longest:,} tokens through every exit in bfloat16: {found.forward_bytes / 1e9:.2f} GB")
    return 0


def add_finetune(command: Parser) -> None:
    """Add the arguments of ``mose finetune``."""
    define(command, finetune, example="mose finetune retrieval --config configs/small.toml --set data.folder=DATA")
    command.add_argument(
        "task", choices=("retrieval", "clones"), help="retrieval: text to code, code to code; clones: same task or not"
    )
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file with all settings")
    add_changes(command, "file")
    _add_quiet(command)


def finetune(arguments: Arguments) -> int:
    """``mose finetune``: one training run for every exit; its log goes to stderr as JSON lines."""
    need_packages("finetune", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.train.clones import run as clones
    from mose.train.retrieval import run as retrieval

    run: Callable[..., Path] = retrieval.run if arguments.task == "retrieval" else clones.run
    folder = run(arguments.config, overrides=parse_overrides(arguments.changes), say=_say(arguments))
    show(str(folder))
    return 0


def _add_quiet(command: Parser) -> None:
    add_quiet(command, "show nothing of the log, which is in the run's folder, too")


def _say(arguments: Arguments) -> Callable[[str], None]:
    return (lambda text: None) if arguments.quiet else say
