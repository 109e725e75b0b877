"""A task: queries, a corpus, and which rows of the corpus answer which query.

Shapes: Q queries, C rows of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """One side of a task."""

    ids: tuple[str, ...]
    """Unique within the side; ties in a ranking are broken by them."""
    texts: tuple[str, ...]
    languages: tuple[str, ...]
    """Programming language of each text in lower case, or ``text``."""
    kind: Literal["query", "code"]
    """Template that an encoder puts the texts in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalTask:
    """Rank the corpus for each query."""

    name: str
    """Stable and short: ``csn-ruby``, ``mbxp-code-python-java``."""
    family: Literal["text-code", "code-code"]
    dataset: str
    """Folder that the rows came from: ``csn``."""
    protocol: str
    """Candidate pool, what is stripped from code, and what counts as relevant, in a sentence or two."""
    queries: Texts
    corpus: Texts
    relevant: tuple[frozenset[int], ...]
    """Q sets of row numbers in the corpus, none of them empty."""
    clusters: tuple[str, ...] = ()
    """Cluster of each of the Q queries, such as its problem or repository; ``()`` if every query was drawn alone."""
    excluded: tuple[frozenset[int], ...] = ()
    """Q sets of rows left out of the ranking (the query itself), or ``()`` for none."""
    metric: str = "mrr"
    """Headline metric: ``mrr``, ``ndcg@10``, ``map`` or ``map@r``."""


Loaders = dict[str, Callable[[], RetrievalTask]]
"""Name of a task -> function that loads it."""
