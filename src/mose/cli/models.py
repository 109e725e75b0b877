"""``mose info``, ``mose new``, ``mose cut`` and ``mose export``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path

from mose.cli.options import add_changes, add_json, define
from mose.cli.output import need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import show, show_json


def add_info(command: Parser) -> None:
    """Add the arguments of ``mose info``."""
    define(command, info, example="mose info small")
    command.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        default="small",
        help="model folder, shipped model or preset (default: small)",
    )
    command.add_argument("--length", type=int, default=128, metavar="T", help="tokens in a text (default: 128)")
    add_json(command)


def info(arguments: Arguments) -> int:
    """``mose info``: what each exit costs."""
    from mose.model import info as model_info
    from mose.model.presets import PRESETS, preset
    from mose.model.settings import ModelSettings
    from mose.runtime.manifest import Manifest
    from mose.runtime.model import model_folder, shipped_models

    if arguments.model in PRESETS and arguments.model not in shipped_models():
        found = model_info.info(preset(arguments.model), length=arguments.length)
    elif (Path(arguments.model) / "config.json").is_file():
        found = model_info.info(arguments.model, length=arguments.length)
    else:  # the form that runs: its manifest knows the model, its weights are packed
        manifest = Manifest.read(model_folder(arguments.model))
        settings = ModelSettings.from_json(manifest.settings, where=f"the manifest of {manifest.name}")
        size = {"int8": 1.0, "float32": 4.0}[manifest.dtype]
        found = model_info.info(settings, length=arguments.length, bytes_per_value=size)
    if arguments.json:
        from dataclasses import asdict

        show_json(asdict(row) for row in found.exits)
        return 0
    show(f"{found.parameters:,} parameters, {found.size_bytes:,} bytes; FLOPs for texts of {found.length} tokens")
    show(f"{'exit':>4} {'layers':>6} {'width':>6} {'parameters':>14} {'bytes':>14} {'MFLOPs/token':>13}")
    for row in found.exits:
        show(
            f"{row.exit_layer:>4} {row.layers:>6} {row.width:>6} {row.parameters:>14,} {row.size_bytes:>14,}"
            f" {row.flops_per_token / 1e6:>13.2f}"
        )
    return 0


def add_new(command: Parser) -> None:
    """Add the arguments of ``mose new``."""
    define(command, new, example="mose new small start/ --tokenizer starcoder2-tokenizer/ --set num_layers=4")
    command.add_argument(
        "settings", metavar="PRESET", help="tiny, small, 1b, or a TOML file with the keys of a model's config.json"
    )
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write; it must not exist")
    command.add_argument(
        "--tokenizer",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder whose tokenizer.json the model reads with",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="fixes the weights (default: 0)")
    add_changes(command, "model")


def new(arguments: Arguments) -> int:
    """``mose new``: a model that has learned nothing yet."""
    need_packages("new", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.model.pretraining.new import new_model

    changes = parse_overrides(arguments.changes)
    settings = new_model(arguments.settings, arguments.out, arguments.tokenizer, changes=changes, seed=arguments.seed)
    exits = ", ".join(map(str, settings.exits))
    show(f"Wrote {arguments.out}: {settings.num_layers} layers of width {settings.hidden_size}, exits {exits}.")
    return 0


def add_cut(command: Parser) -> None:
    """Add the arguments of ``mose cut``."""
    define(command, cut, example="mose cut ladder/ --exit 3 ladder-3/")
    _add_model_folder(command)
    command.add_argument("--exit", type=int, required=True, metavar="K", help="exit to keep")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")


def cut(arguments: Arguments) -> int:
    """``mose cut``: the blocks of a model up to one exit."""
    from mose.model import cut as model_cut

    model_cut.cut(arguments.model, arguments.exit, arguments.out)
    show(f"Wrote {arguments.out}.")
    return 0


def add_export(command: Parser) -> None:
    """Add the arguments of ``mose export``."""
    define(command, export, example="mose export ladder/ runtime/ --dtype int8")
    _add_model_folder(command)
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    command.add_argument(
        "--dtype", choices=("int8", "float32"), default="int8", help="type of the weights (default: int8)"
    )


def _add_model_folder(command: Parser) -> None:
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder")


def export(arguments: Arguments) -> int:
    """``mose export``: the runtime form of a model."""
    need_packages("export", "onnx")
    from mose.export.export import ExportRecipe
    from mose.export.export import export as write_runtime

    write_runtime(arguments.model, arguments.out, ExportRecipe(dtype=arguments.dtype))
    show(f"Wrote {arguments.out}.")
    return 0
