"""Find settings that a source leaves open: the combination with which its embeddings find code by its documentation.

Hidden states are computed once for each direction of attention; pooling, heads and norms of all combinations are tried
on them. Shapes: B batch, D width of the encoder, W width of the embedding, N pairs.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mose.errors import ConfigError
from mose.model.batch import text_batch
from mose.model.checkpoint import load_model
from mose.model.convert.distill_table import standard_library
from mose.model.encoder import MoseModel
from mose.model.folder import write_config
from mose.model.heads import build_heads, normalize, pool
from mose.model.settings import ModelSettings
from mose.progress import Progress, ProgressCallback, no_progress
from mose.tokenizer import KINDS, CodeTokenizer, Kind

CANDIDATES: dict[str, tuple[Any, ...]] = {
    "causal": (False, True),
    "pooling": ("cls", "mean", "mask_sum"),
    "head_activation": ("leaky_relu", "gelu"),
    "final_norm": ("last", "none", "every"),
    "norm_rule": ("unit", "unit_ball"),
}
"""Values of the settings that are tried."""
EXPECTED_ORDER = (18, 27, 36, 9, 4)
"""Exits of the released encoders by their published MRR, best first."""
_MARGIN = 0.01
"""A guess stays unless another value is better by this much in MRR, more than a few pairs ranked by chance."""
_TOKENS = 128
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Outcome of a probe."""

    chosen: dict[str, Any]
    """Setting -> value."""
    mrr: dict[int, float]
    """MRR of each exit with the chosen values."""
    tried: tuple[tuple[dict[str, Any], float], ...]
    """Combinations with their mean MRR over exits, best first."""
    num_pairs: int


@torch.no_grad()
def probe(
    folder: Path,
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    progress: ProgressCallback = no_progress,
) -> Probe:
    """Try the values of settings, and write the best into the folder's ``config.json``.

    Args:
        folder: A converted model; its config holds the guesses.
        names: Settings to find, of ``CANDIDATES``.
        pairs: Texts and the code that each describes.
        progress: Called with the number of texts encoded.

    Raises:
        ConfigError: Fewer than two pairs.
    """
    if len(pairs) < 2:
        raise ConfigError("pairs to probe with", got=len(pairs), allowed="2 or more")
    guess = ModelSettings.read(folder)
    options = {name: CANDIDATES[name] if name in names else (getattr(guess, name),) for name in CANDIDATES}
    found: list[tuple[dict[str, Any], dict[int, float]]] = []
    directions, tokenizer = options["causal"], CodeTokenizer.load(folder)
    for number, causal in enumerate(directions):
        write_config(folder, replace(guess, causal=bool(causal)))
        model = load_model(folder, mapped=True)
        total = 2 * len(pairs) * len(directions)
        sides = []
        for side, kind in enumerate(KINDS):
            done = len(pairs) * (2 * number + side)
            texts = [pair[side] for pair in pairs]
            sides.append(_pooled(model, tokenizer, texts, kind, options["pooling"], progress, done, total))
        found += _measure(model, sides[0], sides[1], options, causal=causal)
        del model
    chosen, mrr = _choose(found, guess)
    write_config(folder, replace(guess, **chosen))
    ranked = sorted(((values, _mean(by_exit)) for values, by_exit in found), key=lambda row: -row[1])
    return Probe(chosen={name: chosen[name] for name in names}, mrr=mrr, tried=tuple(ranked), num_pairs=len(pairs))


def _pooled(
    model: MoseModel,
    tokenizer: CodeTokenizer,
    texts: Sequence[str],
    kind: Kind,
    rules: Sequence[Any],
    progress: ProgressCallback,
    done: int,
    total: int,
) -> dict[tuple[int, bool, str], Tensor]:
    """(Exit, normed?, pooling) -> pooled states [N,D] of texts, in batches as they come, padded as the model is."""
    settings = model.settings
    limit = min(_TOKENS, settings.max_tokens)
    rows: dict[tuple[int, bool, str], list[Tensor]] = {}
    for first in range(0, len(texts), _BATCH):
        batch = text_batch(tokenizer, texts[first : first + _BATCH], kind=kind, max_tokens=limit)
        stage = model.begin(batch.token_ids_BT, batch.keep_BT)
        for exit_layer in settings.exits:
            stage = model.climb(stage, exit_layer)
            states = {False: stage.hidden_BTD}
            if model.final_norm is not None:
                states[True] = model.final_norm(stage.hidden_BTD)
            for normed, rule in itertools.product(states, rules):
                pooled_BD = pool(states[normed], batch.keep_BT, rule)
                rows.setdefault((exit_layer, normed, rule), []).append(pooled_BD)
        progress(Progress("probe", done + min(first + _BATCH, len(texts)), total))
    return {key: torch.cat(parts) for key, parts in rows.items()}


def _measure(
    model: MoseModel,
    queries: Mapping[tuple[int, bool, str], Tensor],
    codes: Mapping[tuple[int, bool, str], Tensor],
    options: Mapping[str, tuple[Any, ...]],
    *,
    causal: bool,
) -> Iterator[tuple[dict[str, Any], dict[int, float]]]:
    """Every combination with the MRR of each exit."""
    names = [name for name in options if name != "causal"]
    known: dict[tuple[Any, ...], float] = {}
    for values in itertools.product(*(options[name] for name in names)):
        tried = {"causal": causal, **dict(zip(names, values, strict=True))}
        settings = replace(model.settings, **tried)
        heads = _heads(model, settings)
        by_exit = {}
        for exit_layer in settings.exits:
            state = (exit_layer, settings.norm_at(exit_layer), settings.pooling)
            key = (*state, settings.head_activation, settings.norm_rule)
            if key not in known:
                known[key] = _mrr(*(
                    normalize(heads[str(exit_layer)](side[state]).float() if heads else side[state].float(),
                              settings.norm_rule)
                    for side in (queries, codes)
                ))  # fmt: skip
            by_exit[exit_layer] = known[key]
        yield tried, by_exit


def _heads(model: MoseModel, settings: ModelSettings) -> nn.ModuleDict:
    """The model's heads with another activation."""
    heads = build_heads(settings)
    if heads:
        heads.load_state_dict(model.heads.state_dict(), assign=True)
    return heads


def _mrr(queries_NW: Tensor, codes_NW: Tensor) -> float:
    """Mean reciprocal rank of each query's own code; a tie counts half."""
    scores_NN = queries_NW @ codes_NW.T
    own_N1 = scores_NN.diagonal()[:, None]
    ranks_N = 1 + (scores_NN > own_N1).sum(dim=1) + ((scores_NN == own_N1).sum(dim=1) - 1) / 2
    return float((1 / ranks_N).mean())


def _mean(by_exit: Mapping[int, float]) -> float:
    return sum(by_exit.values()) / len(by_exit)


def _choose(
    found: Sequence[tuple[dict[str, Any], dict[int, float]]], guess: ModelSettings
) -> tuple[dict[str, Any], dict[int, float]]:
    """The combination that changes the fewest guesses among those nearly as good as the best."""
    best = max(_mean(by_exit) for _, by_exit in found)
    near = [row for row in found if _mean(row[1]) >= best - _MARGIN]

    def changes(row: tuple[dict[str, Any], dict[int, float]]) -> tuple[int, float]:
        return sum(getattr(guess, name) != value for name, value in row[0].items()), -_mean(row[1])

    return min(near, key=changes)


def documented_functions(limit: int = 200) -> list[tuple[str, str]]:
    """First paragraphs of documentation, and the functions of Python's standard library that they describe.

    The code comes without its documentation; at most two functions of a file.
    """
    pairs: dict[str, str] = {}
    for source in standard_library():
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        taken = 0
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or taken == 2:
                continue
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if len(text.split()) >= 6 and len(node.body) > 1:
                node.body = node.body[1:]
                code = ast.unparse(node)
                if 3 <= code.count("\n") <= 40 and text not in pairs:
                    pairs[text] = code
                    taken += 1
        if len(pairs) >= limit:
            break
    return list(pairs.items())[:limit]
