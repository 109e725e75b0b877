"""The card of a fine-tuned model: what it came from and what it saw."""

from __future__ import annotations

from mose.config import FinetuneConfig
from mose.train.loop import RunState


def model_card(config: FinetuneConfig, state: RunState) -> str:
    """Text of ``README.md``: start, data, length, and every exit's value at the latest validation.

    Models are written right after a validation, so the values are those of the weights.
    """
    trained = "exits of weight 0 as they were" if 0.0 in (config.loss.exit_weights or ()) else "every exit at once"
    lines = [
        "# Ladder of exits, fine-tuned for code retrieval",
        "",
        f"By `mose finetune retrieval`: {state.step:,} steps of {config.batch.pairs:,} pairs, {trained}, seed"
        f" {config.run.seed}. All settings: `config.toml` beside this folder.",
        "",
        "| source | file | task | weight |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {source.name} | {source.file} | {source.task} | {source.weight:g} |" for source in config.data.sources
    ]
    values = {name: value for name, value in sorted(state.latest.items()) if name.startswith("exit_")}
    if values:
        lines += ["", "| exit | mean on the validation files |", "|---|---|"]
        lines += [f"| {int(name.removeprefix('exit_'))} | {value:.3f} |" for name, value in values.items()]
    lines += ["", "The licence is that of the model it started from; the data have their own."]
    return "\n".join(lines) + "\n"
