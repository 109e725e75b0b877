"""One file of a source as a corpus holds it, or why it is left out. Run in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose import languages
from mose.data.corpus.licences import names_copyleft
from mose.data.corpus.scrub import scrub
from mose.data.corpus.settings import (
    BENCHMARK_FOLDER,
    GENERATED,
    OTHER_LANGUAGE,
    OTHER_LICENCE,
    PROSE,
    VENDORED,
    BuildSettings,
)
from mose.data.corpus.shards import DIGEST_BYTES, Units
from mose.data.corpus.tokens import load_encoder
from mose.data.mine.manifest import held_out_name
from mose.data.near_copies import shingles
from mose.files import Skipped, WalkLimits
from mose.files.content import is_generated_text
from mose.files.reading import source_text

SKETCH = 256
"""Shingles kept of each file: the similarity of two is then known to about 0.03."""

_held_out = lru_cache(maxsize=4096)(held_out_name)


class Prepared(NamedTuple):
    """What a corpus keeps of a file."""

    language: str
    characters: int
    units: Units
    digest: bytes
    sketch: NDArray[np.uint64]
    scrubbed: dict[str, int]  # what was replaced, and how often


def prepare_file(file: tuple[str, bytes | str], settings: BuildSettings, tokenizer: Path | None) -> Prepared | str:
    """Path and content of a file -> what is kept of it, or the reason for which it is left out."""
    path, content = file
    if reason := _fault_of_path(path, settings):
        return reason
    text = source_text(path, content if isinstance(content, bytes) else content.encode("utf8", "replace"), WalkLimits())
    if isinstance(text, Skipped):
        return text.reason
    language = languages.label_of(path, text)
    if reason := unwanted_text(text, language, settings.languages):
        return reason
    if "any" not in settings.licences and names_copyleft(text):
        return OTHER_LICENCE
    scrubbed: dict[str, int] = {}
    if settings.scrub:
        text, scrubbed = scrub(text)
    return Prepared(
        language=language,
        characters=len(text),
        units=load_encoder(tokenizer)(text),
        digest=blake2b(text.encode("utf8", "surrogatepass"), digest_size=DIGEST_BYTES).digest(),
        sketch=shingles(text)[:SKETCH] if settings.near else np.zeros(0, np.uint64),
        scrubbed=scrubbed,
    )


def unwanted_text(text: str, language: str, wanted: Sequence[str]) -> str:
    """Why a text is left out by what it is; empty if it is read.

    What a tool wrote counts as generated in every language, as it does where the name alone says so.

    Args:
        text: Content of a file.
        language: Its language.
        wanted: Languages to keep; if empty, all but plain text and prose.

    Example:
        >>> [unwanted_text(text, "html", ()) for text in ("<!-- @generated -->", "<p>")]
        ['generated', 'not of the languages']
    """
    if is_generated_text(text):
        return GENERATED
    return OTHER_LANGUAGE if (language not in wanted if wanted else language in PROSE) else ""


def _fault_of_path(path: str, settings: BuildSettings) -> str:
    if languages.is_vendored(path):
        return VENDORED
    if languages.is_generated(path):
        return GENERATED
    if settings.skip_benchmarks and any(_held_out(folder) for folder in path.split("/")[:-1]):
        return BENCHMARK_FOLDER
    return ""
