"""One ranking over the hits of several trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mose.search.hits import Hit, Hits
from mose.search.options import SearchOptions
from mose.search.ranking.fit_tokens import CHARS_PER_TOKEN, cover

_NUM_COMPARED = 10
"""Trees are compared by so many of their first hits."""


def options_of_each(options: SearchOptions, num_trees: int) -> SearchOptions:
    """How each tree is searched for `fuse`: for an equal share of the budget, and hits enough to compare the trees."""
    if num_trees < 2:
        return options
    return replace(options, budget_s=options.budget_s / num_trees, limit=max(options.limit, _NUM_COMPARED))


def fuse(found: Sequence[Hits], limit: int) -> list[tuple[int, Hit]]:
    """The hits of several trees for one query, best first, each with the number of its tree.

    The scores of one search are relative to its own best candidates: of every tree the first hit scores high. So the
    scores of a tree are multiplied by how its best hit compares with the best one of all trees, by meaning (cosine)
    and by words (BM25). Ties go to the tree that comes first.

    Args:
        found: The hits of each tree.
        limit: At most this many.
    """
    exits = {hit.parts.exit for hits in found for hit in hits[:_NUM_COMPARED] if hit.parts.exit is not None}
    cosines = [_best(hits, "cosine", max(exits, default=0)) for hits in found]
    words = [_best(hits, "bm25", None) for hits in found]
    ranked = []
    for number, hits in enumerate(found):
        shares = [
            mine / max(all_of)
            for mine, all_of in ((cosines[number], cosines), (words[number], words))
            if max(all_of) > 0
        ]
        factor = sum(shares) / len(shares) if shares else 1.0
        ranked += [(number, replace(hit, score=hit.score * factor)) for hit in hits]
    return sorted(ranked, key=lambda item: -item[1].score)[:limit]


def fuse_for_budget(found: Sequence[Hits], max_tokens: int) -> list[tuple[int, Hit]]:
    """As `fuse`, the hits that are chosen to fit into so many tokens (see `SearchOptions.limit_tokens`).

    Args:
        found: The hits of each tree, chosen for as many tokens.
        max_tokens: Of the texts of all hits together.
    """
    ranked = fuse(found, sum(map(len, found)))
    chosen = cover(
        [hit.score for _, hit in ranked],
        [(number, hit.path) for number, hit in ranked],
        [len(hit.text) for _, hit in ranked],
        max_tokens * CHARS_PER_TOKEN,
    )
    return [ranked[position] for position in chosen]


def _best(hits: Hits, name: str, exit_layer: int | None) -> float:
    """The highest value of a part; cosines of different exits cannot be compared."""
    first = hits[:_NUM_COMPARED]
    values = [getattr(hit.parts, name) or 0.0 for hit in first if exit_layer is None or hit.parts.exit == exit_layer]
    return max(0.0, max(values, default=0.0))
