"""One file read, judged, cut into chunks and split into words: all that a worker process does.

Imports neither numpy nor the encoder, so that workers start quickly and stay small.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mose.files import SourceFile, WalkLimits, read_source
from mose.search.chunks import Chunk, ChunkerConfig, Cut, cut_by_lines, cut_text, embedding_frame
from mose.search.wording import both_words, symbol_words

DOUBTFUL_NS = 2_000_000_000
"""File systems may stamp two changes within this time alike."""


class CutChunk(NamedTuple):
    """One chunk ready to be stored, its words already split. A tuple: millions pass between processes."""

    first_line: int
    last_line: int
    kind: str
    symbol: str
    signature: str
    context: str
    defines: str  # names, one a line
    text: str
    key: bytes  # of language and embedding text: equal keys have equal vectors
    frame_words: str  # words of the embedding text around the text itself
    text_words: str  # words of the text, identifiers split
    whole_words: str  # identifiers of more than one part, whole
    symbol_words: str  # both forms of symbol and defines


class CutFile(NamedTuple):
    """One file read and cut."""

    path: str
    hash: bytes
    size_bytes: int
    modified_ns: int
    doubtful: bool  # to be read again next time: modified shortly before reading, or what went wrong may pass
    language: str
    cut_by: str  # as `mose.syntax.parser_of` says
    trouble: str  # why it is cut by lines although there is a grammar; empty if it is not
    skipped: str  # why its content is left out; empty if it is not
    same: bool  # its content is what the index has
    chunks: list[CutChunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTask:
    """One file to read, and what the index knows of it, so that equal content is not cut again."""

    file: SourceFile
    parser: str = ""  # as `mose.syntax.parser_of` says
    known_hash: bytes | None = None
    known_skip: str = ""
    trouble: str = ""  # why it must be cut by lines
    tried_before: bool = False  # the last run had trouble with it that might have passed


def embedding_key(language: str, text: str) -> bytes:
    """The key under which a vector is shared: 16 bytes of language and embedding text."""
    data = f"{language}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


def cut_file(task: CutTask, root: Path, limits: WalkLimits, config: ChunkerConfig) -> CutFile:
    """One file read, judged and cut, ready to be stored."""
    file = task.file
    started_ns = time.time_ns()
    text = read_source(root, file, limits)
    skipped = "" if isinstance(text, str) else text.reason
    digest = b""
    if isinstance(text, str):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    same = task.known_hash == digest and task.known_skip == skipped
    cut = Cut([], "")
    if isinstance(text, str) and not same:
        cut = (
            cut_by_lines(text, file.language, config, task.trouble)
            if task.trouble
            else cut_text(text, file.language, config)
        )
    return CutFile(
        path=file.path,
        hash=digest,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        doubtful=file.modified_ns > started_ns - DOUBTFUL_NS,
        language=file.language,
        cut_by=task.parser,
        trouble=cut.trouble,
        skipped=skipped,
        same=same,
        chunks=[_prepare(chunk, file.path) for chunk in cut.chunks],
    )


def _prepare(chunk: Chunk, path: str) -> CutChunk:
    above, below = embedding_frame(chunk, path)
    defines = "\n".join(chunk.defines)
    text_words, whole_words = both_words(chunk.text)
    return CutChunk(
        first_line=chunk.first_line,
        last_line=chunk.last_line,
        kind=chunk.kind,
        symbol=chunk.symbol,
        signature=chunk.signature,
        context=chunk.context,
        defines=defines,
        text=chunk.text,
        key=embedding_key(chunk.language, f"{above}{chunk.text}{below}"),
        frame_words=both_words(above + below)[0],
        text_words=text_words,
        whole_words=whole_words,
        symbol_words=symbol_words(chunk.symbol, defines),
    )
