"""One conversion for all kinds of source: which reader, what a probe finds out, and what is written beside."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mose.errors import ConfigError, ModelError
from mose.model.checkpoint import load_model, write_model
from mose.model.convert.bert import FAMILIES, convert_bert
from mose.model.convert.decoder import KINDS, convert_decoder
from mose.model.convert.distill_table import fill_table
from mose.model.convert.probe import EXPECTED_ORDER, Probe, documented_functions, probe
from mose.model.convert.recipe import ConvertRecipe, ConvertReport
from mose.model.convert.source import read_settings, source_folder
from mose.model.encoder import MoseModel
from mose.model.settings import ModelSettings
from mose.model.transformers_config import MoseConfig
from mose.progress import ProgressCallback, no_progress
from mose.storage import new_folder
from mose.tokenizer import CodeTokenizer

REPORT_FILE = "conversion.json"


def convert(
    name_or_folder: str | Path,
    out: str | Path,
    recipe: ConvertRecipe,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    progress: ProgressCallback = no_progress,
) -> ConvertReport:
    """Convert a checkpoint of another library to a ladder of exits.

    Reads BERT's family, StarCoder 2's and Llama's kinds, and the released ModularStarEncoders. Settings that these
    leave open are found by a probe, unless the recipe gives them; ``conversion.json`` in the new folder says how.

    Args:
        name_or_folder: Folder, or ``owner/name`` on the hub.
        out: Model folder to write; one that mose wrote is replaced.
        recipe: Exits, and how texts are read.
        pairs: Texts and codes to probe with; documented functions of Python's standard library if None, no probe if
            empty.
        progress: Called as the probe and exit 0 are computed.

    Raises:
        ModelError: The source is incomplete, damaged or of another kind.
        ConfigError: The recipe contradicts the source.
        OutputError: ``out`` is not a folder that mose wrote.
    """
    source = source_folder(name_or_folder)
    kind = read_settings(source / "config.json").get("model_type")
    if kind in FAMILIES:
        return convert_bert(source, out, recipe, progress=progress)
    if kind not in KINDS:
        raise ModelError(f"{source}: model_type", got=kind, allowed=", ".join((*FAMILIES, *KINDS)))
    with new_folder(out) as folder:
        report = convert_decoder(source, folder, recipe)
        found = None
        if report.guessed and (pairs is None or pairs):
            chosen_pairs = documented_functions() if pairs is None else pairs
            found = probe(folder, report.guessed, chosen_pairs, progress=progress)
        if 0 in (recipe.exits or ()):
            _add_table(folder, recipe, progress)
        settings = ModelSettings.read(folder)
        _write_report(folder, name_or_folder, recipe, report, settings, found)
        (folder / "README.md").write_text(_card(source, settings, report, found), encoding="utf-8")
    return replace(report, settings=settings, notes=(*report.notes, *_probe_notes(report, found)))


def read_key_map(file: Path) -> dict[str, str]:
    """Foreign tensor name -> ours, from a TOML file.

    Raises:
        ConfigError: It is missing or damaged, or says something else.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", remedy="Name a TOML file.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not a key map ({error})", allowed='TOML lines "their.tensor" = "our.tensor"',
                          remedy="Names of tensors have dots: put both in quotes.") from error  # fmt: skip
    for name, ours in values.items():
        if not isinstance(ours, str):
            raise ConfigError(f"{name} in {file}", got=ours, allowed='a name in quotes, or "" to leave it out',
                              remedy="Names of tensors have dots: put both in quotes.")  # fmt: skip
    return values


def _add_table(folder: Path, recipe: ConvertRecipe, progress: ProgressCallback) -> None:
    model = load_model(folder)
    settings = replace(model.settings, exits=(0, *model.settings.exits), table_width=recipe.table.width,
                       table_share=recipe.table_share)  # fmt: skip
    ladder = MoseModel(MoseConfig.from_settings(settings))
    ladder.load_state_dict(model.state_dict(), strict=False, assign=True)
    tokenizer = CodeTokenizer.build(folder / "tokenizer.json", settings.tokenizer_settings())
    fill_table(ladder.train(False), tokenizer, recipe.table, progress=progress)
    write_model(ladder, folder)


def _write_report(
    folder: Path,
    source: str | Path,
    recipe: ConvertRecipe,
    report: ConvertReport,
    settings: ModelSettings,
    found: Probe | None,
) -> None:
    values: dict[str, Any] = {
        "source": str(source),
        "given": {**recipe.changes, "exits": recipe.exits, "key_map": dict(recipe.key_map)},
        "guessed": {name: getattr(settings, name) for name in report.guessed if found is None},
        "probed": {name: getattr(settings, name) for name in report.guessed if found is not None},
        "probe": None if found is None else asdict(found),
        "unused_tensors": report.unused_tensors,
    }
    (folder / REPORT_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _card(source: Path, settings: ModelSettings, report: ConvertReport, found: Probe | None) -> str:
    exits = ", ".join(map(str, settings.exits))
    lines = [
        f"# Ladder of exits made from {source.name}",
        "",
        "Converted by `mose convert`, not trained: the weights are the source's, and so is the licence; the source's",
        "own card, where it has one, is NOTICE-source.md.",
        "",
        f"Exits: {exits}. How it was converted: `{REPORT_FILE}`.",
    ]
    for note in (*report.notes, *_probe_notes(report, found)):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _probe_notes(report: ConvertReport, found: Probe | None) -> list[str]:
    if not report.guessed:
        return []
    if found is None:
        return [f"Guessed, for the publications leave it open: {', '.join(report.guessed)}."]
    values = ", ".join(f"{name} = {value}" for name, value in found.chosen.items())
    order = sorted(found.mrr, key=lambda exit_layer: -found.mrr[exit_layer])
    by_exit = ", ".join(f"{found.mrr[exit_layer]:.3f} at exit {exit_layer}" for exit_layer in order)
    notes = [f"Found by a probe of {found.num_pairs} pairs: {values}. MRR: {by_exit}."]
    published = [exit_layer for exit_layer in EXPECTED_ORDER if exit_layer in found.mrr]
    if len(published) > 1 and published != order:
        notes.append(f"The published order of these exits is {', '.join(map(str, published))}: be careful.")
    return notes
