"""Reading a file, cutting it into chunks and splitting its words: the work of a worker process.

Imports neither numpy nor the encoder, so that workers start quickly and stay small.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mose.files import TRANSIENT, Skipped, SourceFile, WalkLimits, read_source
from mose.files.content import is_generated_text
from mose.files.disk import FolderReader
from mose.files.notebooks import is_notebook
from mose.files.reading import read_next, source_text
from mose.languages import label_of
from mose.search.chunking.chunk import Chunk, embedding_frame, embedding_key
from mose.search.chunking.chunks import ChunkerConfig, Cut, cut_by_lines, cut_text
from mose.search.chunking.index_words import both_words, symbol_words
from mose.search.chunking.names import format_names
from mose.search.chunking.notebooks import cut_notebook
from mose.syntax import parser_of

DOUBTFUL_NS = 50_000_000
"""A file system with fine time stamps may give two changes within this time the same stamp."""
DOUBTFUL_COARSE_NS = 2_000_000_000
"""The same for a file system whose stamps are whole milliseconds or seconds."""
_COARSE_NS = 1_000_000


class CutChunk(NamedTuple):
    """One chunk ready to be stored, its words already split. A tuple: millions pass between processes."""

    first_line: int
    last_line: int
    kind: str
    symbol: str
    signature: str
    context: str
    defines: str  # as `mose.search.chunking.names` writes them
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
    changed_ns: int
    inode: int
    doubtful: bool  # to be read again next time: changed shortly before it was read, or its fault may pass
    language: str
    cut_by: str  # the parser of the language, from `mose.syntax.parser_of`
    trouble: str = ""  # why it is cut by lines although it has a grammar; empty if it is not
    generated: bool = False  # whether a comment at its head says that a tool wrote it
    skipped: str = ""  # why its content is left out, or why it was not read again; empty if neither
    same: bool = False  # whether the index keeps what it has of the file
    chunks: Sequence[CutChunk] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTask:
    """One file to read, and what the index has of it, so that unchanged content is not cut again."""

    file: SourceFile
    known_hash: bytes | None = None
    known_language: str = ""
    known_skip: str = ""
    trouble: str = ""  # why it must be cut by lines
    tried_before: bool = False  # whether the last run had a fault with it that may have passed


def file_as_known(task: CutTask, reader: FolderReader, limits: WalkLimits) -> CutFile | None:
    """What `cut_file` gives for a file that has the very text that the index knows; None if that is not certain.

    Parses nothing, so that no process of its own is needed for it.
    """
    file = task.file
    if task.known_hash is None or task.known_skip in TRANSIENT:
        return None
    started_ns = time.time_ns()
    data = read_next(reader, file.path, limits.bytes_of(file.path) + 1)
    if isinstance(data, Skipped) or not _is_as_known(task, data, limits):
        return None
    return CutFile(
        path=file.path,
        hash=task.known_hash,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        changed_ns=file.changed_ns,
        inode=file.inode,
        doubtful=is_doubtful(file, started_ns),
        language=task.known_language,
        cut_by=parser_of(task.known_language),
        skipped=task.known_skip,
        same=True,
    )


def _is_as_known(task: CutTask, data: bytes, limits: WalkLimits) -> bool:
    path = task.file.path
    if task.known_skip:
        found = None if is_notebook(path) else source_text(path, data, limits)
        return isinstance(found, Skipped) and found.reason == task.known_skip
    text = data.removeprefix(codecs.BOM_UTF8)
    return _digest(text if is_notebook(path) else text.replace(b"\r\n", b"\n")) == task.known_hash


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def cut_file(task: CutTask, root: Path, limits: WalkLimits, config: ChunkerConfig) -> CutFile:
    """Read and cut one file, ready to be stored."""
    file = task.file
    started_ns = time.time_ns()
    text = read_source(root, file, limits)
    language, skipped, digest = file.language, "", b""
    if isinstance(text, str):
        language = label_of(file.path, text)
        digest = _digest(text.encode("utf-8", "surrogatepass"))
        same = task.known_hash == digest and (task.known_skip == "" or task.known_skip in TRANSIENT)
    else:
        skipped = text.reason
        same = bool(task.known_hash) if skipped in TRANSIENT else task.known_hash == b"" and task.known_skip == skipped
    if same:
        language, digest = task.known_language, task.known_hash or b""
    cut = Cut([], "")
    if isinstance(text, str) and not same:
        cut = _cut(text, language, config, task)
    return CutFile(
        path=file.path,
        hash=digest,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        changed_ns=file.changed_ns,
        inode=file.inode,
        doubtful=is_doubtful(file, started_ns),
        language=language,
        cut_by=parser_of(language),
        trouble=cut.trouble,
        generated=isinstance(text, str) and is_generated_text(text),
        skipped=skipped,
        same=same,
        chunks=[_prepare(chunk, file.path) for chunk in cut.chunks],
    )


def _cut(text: str, language: str, config: ChunkerConfig, task: CutTask) -> Cut:
    notebook = cut_notebook(text, config, task.trouble) if is_notebook(task.file.path) else None
    if notebook is not None:
        return notebook
    if task.trouble:
        return cut_by_lines(text, language, config, task.trouble)
    return cut_text(text, language, config)


def is_doubtful(file: SourceFile, read_ns: int) -> bool:
    """Whether a file may have changed after it was read and keep its time stamp: what git calls racy.

    This depends on the time of the last change as the file system records it, which no program can set back.
    """
    moment = file.changed_ns if os.name == "posix" else file.modified_ns  # elsewhere: when the file was made
    return moment > read_ns - (DOUBTFUL_NS if moment % _COARSE_NS else DOUBTFUL_COARSE_NS)


def _prepare(chunk: Chunk, path: str) -> CutChunk:
    above, below = embedding_frame(chunk, path)
    text_words, whole_words = both_words(chunk.text)
    return CutChunk(
        first_line=chunk.first_line,
        last_line=chunk.last_line,
        kind=chunk.kind,
        symbol=chunk.symbol,
        signature=chunk.signature,
        context=chunk.context,
        defines=format_names(chunk.names),
        text=chunk.text,
        key=embedding_key(chunk.language, f"{above}{chunk.text}{below}"),
        frame_words=both_words(above + below)[0],
        text_words=text_words,
        whole_words=whole_words,
        symbol_words=symbol_words(chunk.symbol, chunk.defines),
    )
