"""Systems to measure, which embed texts or score them directly, and their cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.tasks.values import Texts
from mose.tokenizer import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a reader has to know about a system to compare its numbers."""

    name: str
    """In tables and plots."""
    source: str
    """Package, folder or publication that the weights come from."""
    prompt: str
    """What is put around queries and code."""
    runtime: str
    """What runs it, with the number format of the weights."""
    licence: str = ""
    max_tokens: int | None = None
    """Longer texts are cut; None if there is no limit."""
    training: str = ""
    """What the weights were trained on, as far as it is known."""
    contamination: Mapping[str, str] = field(default_factory=dict)
    """Data set -> how the training may have seen its test rows; no overlap is known for other sets."""


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors, at one exit or several."""

    @property
    def card(self) -> Card:
        """Its card."""

    @property
    def identity(self) -> str:
        """Differs whenever the vectors may differ; cached vectors are kept under it."""

    @property
    def widths(self) -> Mapping[int, int]:
        """Exit -> dimensions, shallowest first. A peer has one exit: its number of layers, 0 for a table."""

    def template(self, kind: Kind, language: str) -> str:
        """What is put around a text; equal texts in equal templates are embedded once."""

    def embed(
        self, texts: Sequence[str], *, kind: Kind, languages: Sequence[str], exits: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Exit -> float32 [N, width of the exit], unit rows, in the order of the texts; nothing deeper is run."""

    def parameters(self, exit_layer: int) -> int | None:
        """Weights that an exit reads; None if unknown."""

    def flops(self, exit_layer: int, *, length: int) -> int | None:
        """FLOPs for one text of ``length`` tokens; None if unknown."""


class TextIndex(Protocol):
    """A corpus, ready to be scored by a system without vectors."""

    @property
    def size_bytes(self) -> int:
        """Of the index in memory."""

    def scores(self, query: str, language: str) -> NDArray[np.float32]:
        """float32 [C], higher is better; ``language`` is "text" for a sentence."""


@runtime_checkable
class Scorer(Protocol):
    """A system without vectors: it scores a query against every row of a corpus."""

    @property
    def card(self) -> Card:
        """Its card."""

    def index(self, corpus: Texts) -> TextIndex:
        """The corpus of a task, indexed."""
