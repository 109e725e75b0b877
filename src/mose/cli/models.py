"""``mose info``, ``mose convert``, ``mose cut`` and ``mose export``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path

from mose.cli.output import need_packages
from mose.cli.terminal import show, show_json


def info(arguments: Arguments) -> int:
    """``mose info``: what each exit costs."""
    from mose.model import info as model_info
    from mose.model.presets import PRESETS, preset
    from mose.model.settings import ModelSettings
    from mose.runtime.manifest import Manifest
    from mose.runtime.model import model_folder

    if arguments.model in PRESETS:
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


def convert(arguments: Arguments) -> int:
    """``mose convert``: a BERT-family folder as a ladder of exits."""
    need_packages("convert", "torch", "transformers")
    from mose.model.convert.bert import convert_bert

    convert_bert(
        arguments.source,
        arguments.out,
        exits=arguments.exits,
        max_tokens=arguments.max_tokens,
        split_identifiers=arguments.split_identifiers,
        table_share=arguments.table_share,
    )
    show(f"Wrote {arguments.out}.")
    return 0


def cut(arguments: Arguments) -> int:
    """``mose cut``: the blocks of a model up to one exit."""
    from mose.model import cut as model_cut

    model_cut.cut(arguments.model, arguments.exit, arguments.out)
    show(f"Wrote {arguments.out}.")
    return 0


def export(arguments: Arguments) -> int:
    """``mose export``: the runtime form of a model."""
    need_packages("export", "onnx")
    from mose.export import export as model_export

    model_export.export(arguments.model, arguments.out, dtype=arguments.dtype)
    show(f"Wrote {arguments.out}.")
    return 0
