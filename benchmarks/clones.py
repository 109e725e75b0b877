"""Clone detection: a classifier at every exit against cosine and word overlap, and adaptive exits.

    python benchmarks/clones.py configs/clones.toml --set data.folder=DATA --model runs/clones/model

Temperatures, thresholds, the kind of word overlap and the confidence at which a pair may leave are chosen on the
validation pairs of the config; every number reported is of its test pairs, which nothing else reads. Words are read
of whole codes, the classifier and the embedder cut them at their own lengths.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from results import write_result
from torch import Tensor

from mose.config import CloneFiles, ClonesConfig, ClonesDataConfig, parse_overrides, read_toml
from mose.data.clones import ClonePairs, read_clone_pairs
from mose.data.pairs import read_objects
from mose.evaluate.report.plots import INK, as_png, as_svg
from mose.metrics.adaptive import Point, lowest_confidence
from mose.metrics.decisions import average_precision_of_pairs, best_f1_threshold, f1
from mose.metrics.significance import Interval
from mose.model.clones.detector import CloneDetector, load_classifier, pair_margins
from mose.model.clones.pair_batch import PairInputs
from mose.runtime.encoder import Encoder
from mose.train.clones.run import calibrate, curve
from mose.train.device import autocast
from mose.words import split_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
ALLOWED_SHARE = 0.6
"""Share of the layers that the adaptive exit may run on average."""


@dataclass(frozen=True, slots=True)
class Split:
    """The pairs of one split. N pairs."""

    pairs: ClonePairs
    clones_N: Flags  # noqa: N815
    same_language_N: Flags  # noqa: N815


@dataclass(frozen=True, slots=True)
class Decided:
    """One way to detect clones: its scores on test, and the answers at the threshold found on validation."""

    valid_f1: float
    threshold: float
    scores_N: Scores  # noqa: N815
    called_N: Flags  # noqa: N815

    def row(self, test: Split, layers: int | None) -> dict[str, float | int | None]:
        def within(chosen_N: Flags) -> float:
            return f1(self.called_N[chosen_N], test.clones_N[chosen_N])

        return {
            "layers": layers,
            "f1": within(np.ones_like(test.clones_N)),
            "average_precision": average_precision_of_pairs(self.scores_N, test.clones_N),
            "f1_same_language": within(test.same_language_N),
            "f1_cross_language": within(~test.same_language_N),
            "f1_valid": self.valid_f1,
            "threshold": self.threshold,
        }


def main(words: Sequence[str] | None = None) -> None:
    given = parse_arguments(words)
    config = read_toml(given.config, ClonesConfig, overrides=parse_overrides(given.set))
    if config.data.test is None:
        raise SystemExit(f"{given.config} names no test pairs (data.test)")
    valid, test = (read_split(files, config.data) for files in (config.data.valid, config.data.test))
    detector = load_classifier(given.model)
    margins = [classifier_margins(detector, split, config.run.precision) for split in (valid, test)]
    settings = dataclasses.replace(detector.settings, calibration=calibrate(margins[0], valid.clones_N))
    detector = CloneDetector(detector.classifier, detector.tokenizer, settings)
    decided = {layer: decide(margins[0][layer], margins[1][layer], valid) for layer in detector.exits}
    encoder = Encoder.load(given.embedder, threads=1)
    baselines = {
        **by_cosine(encoder, valid, test),
        **by_words(read_clone_pairs(config.data.train, config.data).codes, valid, test),
    }
    rivals = {name: f1(found.called_N, test.clones_N) for name, found in baselines.items()}
    best = max(rivals, key=rivals.__getitem__)
    deepest = decided[detector.exits[-1]].called_N
    gains = {name: f1_difference(deepest, found.called_N, test.clones_N) for name, found in baselines.items()}
    adaptive = measure_adaptive(detector, margins, valid, test, config)
    rows = {f"classifier, exit {layer}": found.row(test, layer) for layer, found in decided.items()}
    rows.update((name, found.row(test, None)) for name, found in baselines.items())
    result: dict[str, object] = {
        "pairs": {"valid": len(valid.pairs), "test": len(test.pairs), "same_language": int(test.same_language_N.sum())},
        "classifier": {"max_tokens": detector.settings.max_tokens, "features": detector.settings.features},
        "precision": config.run.precision,
        "embedder": {"name": encoder.manifest.name, "identity": encoder.identity},
        "rows": rows,
        "best_baseline": best,
        "deepest_minus": {name: dataclasses.asdict(gain) for name, gain in gains.items()},
        "adaptive": adaptive,
    }
    write_result("clones", result)
    figure = draw(result)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "clones.png").write_bytes(as_png(figure))
    (out / "clones.svg").write_text(as_svg(figure), encoding="utf8")


def parse_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--model", required=True, help="folder that `mose finetune clones` wrote")
    parser.add_argument("--embedder", default="small", help="runtime model whose cosine is the baseline")
    parser.add_argument("--out", default="docs/plots", help="folder of the plot")
    return parser.parse_args(words)


def read_split(files: CloneFiles, data: ClonesDataConfig) -> Split:
    pairs = read_clone_pairs(files, data)
    folder = Path(data.folder)
    # In the order of ``pairs.codes``.
    languages = [value.get("language") for name in files.codes for _, value in read_objects(folder / name)]
    same = [languages[a] == languages[b] for a, b in zip(pairs.first_P, pairs.second_P, strict=True)]
    return Split(pairs, pairs.labels_P == 1, np.array(same))


# --- what tells clones from others ---------------------------------------------------------------------------


def decide(valid_N: Scores, test_N: Scores, valid: Split) -> Decided:
    threshold = best_f1_threshold(valid_N, valid.clones_N)
    return Decided(f1(valid_N >= threshold, valid.clones_N), threshold, test_N, test_N >= threshold)


def classifier_margins(detector: CloneDetector, split: Split, precision: Any) -> dict[int, Scores]:
    def run(batch: PairInputs) -> dict[int, Tensor]:
        with autocast(precision, torch.device("cpu")):
            found: dict[int, Tensor] = detector.classifier(batch)
        return found

    return pair_margins(run, detector.tokenizer, *split.pairs.texts(), detector.settings)


def by_cosine(encoder: Encoder, valid: Split, test: Split) -> dict[str, Decided]:
    """Cosine of the two codes' vectors, at every exit of an encoder."""
    vectors = [used_vectors(encoder, split.pairs) for split in (valid, test)]
    found = {}
    for layer in encoder.exits:
        scores = [
            np.einsum("nd,nd->n", at[layer][split.pairs.first_P], at[layer][split.pairs.second_P]).astype(np.float64)
            for at, split in zip(vectors, (valid, test), strict=True)
        ]
        found[f"cosine, exit {layer}"] = decide(scores[0], scores[1], valid)
    return found


def used_vectors(encoder: Encoder, pairs: ClonePairs) -> dict[int, NDArray[np.float32]]:
    """Exit -> vector of every code; codes in no pair stay zero."""
    used = np.unique(np.concatenate([pairs.first_P, pairs.second_P]))
    found = {}
    for layer, vectors in encoder.encode_exits([pairs.codes[row] for row in used]).items():
        found[layer] = np.zeros((len(pairs.codes), vectors.shape[1]), dtype=np.float32)
        found[layer][used] = vectors
    return found


def by_words(train_codes: Sequence[str], valid: Split, test: Split) -> dict[str, Decided]:
    """Overlap of words, identifiers split: of the two kinds the one with the better F1 on validation."""
    documents = Counter(word for code in train_codes for word in set(split_words(code)))
    rarity = {word: math.log(1 + len(train_codes) / (1 + count)) for word, count in documents.items()}
    unseen = math.log(1 + len(train_codes))

    def weights(code: str, *, plain: bool) -> dict[str, float]:
        counts = Counter(split_words(code))
        if plain:
            return dict.fromkeys(counts, 1.0)
        return {word: (1 + math.log(count)) * rarity.get(word, unseen) for word, count in counts.items()}

    found = {}
    for name, plain, overlap in (("Jaccard", True, jaccard), ("tf-idf cosine", False, cosine)):
        scores = []
        for pairs in (valid.pairs, test.pairs):
            bags = [weights(code, plain=plain) for code in pairs.codes]
            rows = zip(pairs.first_P, pairs.second_P, strict=True)
            scores.append(np.array([overlap(bags[a], bags[b]) for a, b in rows]))
        found[f"words, {name}"] = decide(scores[0], scores[1], valid)
    best = max(found, key=lambda name: found[name].valid_f1)
    return {best: found[best]}


def jaccard(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    shared = len(first.keys() & second.keys())
    return shared / max(1, len(first) + len(second) - shared)


def cosine(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    lengths = [math.sqrt(sum(weight * weight for weight in bag.values())) for bag in (first, second)]
    dot = sum(first[word] * second[word] for word in first.keys() & second.keys())
    return dot / max(lengths[0] * lengths[1], 1e-12)


def f1_difference(
    called_N: Flags, rival_N: Flags, clones_N: Flags, *, rounds: int = 10_000, level: float = 0.95, seed: int = 0
) -> Interval:
    """F1 of one side minus that of the other, with the percentile interval of resampled pairs.

    F1 depends on a pair only by its label and the two answers, so that resampling N pairs is drawing the number of
    pairs of each of the eight kinds.
    """
    kinds = np.array([(a, b, label) for a in (0, 1) for b in (0, 1) for label in (0, 1)])
    counts_8 = np.bincount(called_N * 4 + rival_N * 2 + clones_N, minlength=8)
    drawn = np.random.default_rng(seed).multinomial(len(clones_N), counts_8 / len(clones_N), size=rounds)

    def of(counts: NDArray[np.int64]) -> Scores:
        positives = counts @ kinds[:, 2]
        ours, theirs = (
            2 * (counts @ (kinds[:, side] * kinds[:, 2])) / np.maximum(1, counts @ kinds[:, side] + positives)
            for side in (0, 1)
        )
        difference: Scores = ours - theirs
        return difference

    low, high = np.quantile(of(drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(of(counts_8[None])[0]), low=float(low), high=float(high))


# --- leaving early -------------------------------------------------------------------------------------------


def measure_adaptive(
    detector: CloneDetector, margins: Sequence[Mapping[int, Scores]], valid: Split, test: Split, config: ClonesConfig
) -> dict[str, Any]:
    """The curve on test, and the confidence that keeps enough of the full F1 on validation."""
    calibration, keep = detector.settings.calibration, config.validation.keep
    points, alone = curve(margins[0], valid.clones_N, calibration)
    confidence = lowest_confidence(points, full_f1=alone[detector.exits[-1]], keep=keep)
    on_valid = next(point for point in points if point.confidence == confidence)
    points, alone = curve(margins[1], test.clones_N, calibration)
    chosen = next(point for point in points if point.confidence == confidence)
    full = alone[detector.exits[-1]]
    return {
        "keep": keep,
        "confidence": confidence,
        "valid": {"f1": on_valid.f1, "layers": on_valid.layers, "share": on_valid.share},
        "full_f1": full,
        "f1": chosen.f1,
        "share_of_f1": chosen.f1 / full,
        "layers": chosen.layers,
        "share_of_layers": chosen.share,
        "left": dict(zip(map(str, detector.exits), chosen.left, strict=True)),
        "processor_seconds": processor_seconds(detector, test, confidence, config.run.precision),
        "curve": [dataclasses.asdict(point) for point in thinned(points)],
    }


def thinned(points: Sequence[Point]) -> list[Point]:
    """The points without those that repeat the one before."""
    kept = [points[0]]
    kept.extend(b for a, b in itertools.pairwise(points) if (a.f1, a.layers) != (b.f1, b.layers))
    return kept


def processor_seconds(detector: CloneDetector, test: Split, confidence: float, precision: Any) -> dict[str, float]:
    """Of all test pairs, at the deepest exit and leaving early; blocks above are then not run."""
    found = {}
    for name, sure in (("deepest", None), ("adaptive", confidence)):
        start = time.process_time()
        with autocast(precision, torch.device("cpu")):
            detector.predict(*test.pairs.texts(), confidence=sure)
        found[name] = time.process_time() - start
    return found


# --- the plot ------------------------------------------------------------------------------------------------

_CURVE, _EXITS, _RIVAL = "#2f6fde", "#d9480f", "#6b7280"


def draw(result: Mapping[str, Any]) -> Figure:
    """F1 over the layers run: exits alone as points, pairs that leave early as a curve."""
    import matplotlib
    from matplotlib.figure import Figure

    rows, adaptive, rival = result["rows"], result["adaptive"], result["best_baseline"]
    exits = [(row["layers"], row["f1"]) for row in rows.values() if row["layers"] is not None]
    deepest = exits[-1][0]
    points = [(point["layers"], point["f1"]) for point in adaptive["curve"]]
    colours: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    sides: dict[Any, Any] = dict.fromkeys(("axes.spines.top", "axes.spines.right"), False)
    with matplotlib.rc_context({**colours, **sides, "font.size": 10.5}):
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(exits[0][0], ALLOWED_SHARE * deepest, color=_CURVE, alpha=0.06, linewidth=0)
        kept = adaptive["keep"] * adaptive["full_f1"]
        for height, text in (
            (kept, f"{adaptive['keep']:.0%} of exit {deepest}'s F1"),
            (rows[rival]["f1"], f"best baseline: {rival}"),
        ):
            axes.axhline(height, color=_RIVAL, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.annotate(
                text, (deepest, height), xytext=(0, -5), textcoords="offset points", color=_RIVAL, fontsize=9,
                ha="right", va="top",
            )  # fmt: skip
        axes.plot(*zip(*points, strict=True), color=_CURVE, linewidth=2, zorder=3, label="leaving at a confidence")
        depths, heights = zip(*exits, strict=True)
        axes.scatter(depths, heights, color=_EXITS, s=48, zorder=4, label="all pairs at one exit")
        for layers, height in exits:
            axes.annotate(
                f"exit {layers}", (layers, height), xytext=(0, -9), textcoords="offset points", color=_EXITS,
                fontsize=9.5, fontweight="bold", ha="center", va="top", zorder=5,
            )  # fmt: skip
        chosen = (adaptive["layers"], adaptive["f1"])
        axes.scatter(chosen[0], chosen[1], color=_CURVE, edgecolor="white", marker="*", s=230, zorder=6)
        axes.annotate(
            f"confidence {adaptive['confidence']:g} (validation):\n{adaptive['share_of_f1']:.1%} of F1, "
            f"{adaptive['share_of_layers']:.0%} of layers",
            chosen, xytext=(-8, 6), textcoords="offset points", color=_CURVE, fontsize=9.5, fontweight="bold",
            ha="right", va="bottom", zorder=6,
        )  # fmt: skip
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.margins(x=0.06, y=0.2)
        axes.set_xlabel(f"layers run, mean over pairs (shaded: at most {ALLOWED_SHARE:.0%} of {deepest})")
        axes.set_ylabel(f"F1 on {result['pairs']['test']:,} test pairs")
        axes.set_title("Clone detection: F1 over layers run", loc="left", fontweight="bold")
        axes.grid(True, color=INK, alpha=0.15)
        axes.legend(loc="lower right", frameon=False, fontsize=9.5)
    return figure


if __name__ == "__main__":
    main()
