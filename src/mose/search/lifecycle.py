"""From making an index to removing it: what made it, whether it is outdated, an empty one in its stead, none at all.

A new index may begin as a copy of another tree's, such as another worktree or clone: see `begin_alike`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from mose.database import create_private, open_connection
from mose.errors import CodeIndexError, IndexReplacedError
from mose.runtime.encoder import Encoder
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.index_words import fingerprint
from mose.search.store.exchange import exchanging, remove_index, replace_index
from mose.search.store.exit_vectors import VectorFile, read_entries
from mose.search.store.location import DATABASE_NAME, base_folder, current_index, index_folder
from mose.search.store.lock import writer_lock
from mose.search.store.prune import bases
from mose.search.store.schema import BUSY_TIMEOUT_MS, clear_errors
from mose.search.store.store import Store
from mose.search.store.write import begin_as_copy
from mose.storage import create_file

ALIKE_FILES = 200
"""A tree of fewer files is cut sooner than another like it is looked for."""
ALIKE_INDEXES = 30
"""As many indexes are compared with a new tree at most, the last changed ones."""


def chunker_identity() -> str:
    """What an index says of the chunker that made it: its version, its settings, and how it splits words."""
    chunker = ChunkerConfig()
    settings = hashlib.blake2b(repr(chunker).encode(), digest_size=6).hexdigest()
    return f"{chunker.version}-{settings}-{fingerprint()}"


def check_maker(store: Store, encoder: Encoder) -> None:
    """Raise `CodeIndexError` if another chunker or model has made an index."""
    if store.meta("chunker") not in (None, chunker_identity()):
        raise CodeIndexError(
            f"the index of {store.meta('root')} was made by another version of mose",
            remedy=f"Build it again: mose index {store.meta('root')} --rebuild{_model_option(store)}",
        )
    check_model(store, encoder)


def check_model(store: Store, encoder: Encoder) -> None:
    """Raise `CodeIndexError` if an index has vectors of another model."""
    model = store.meta("model")
    if model is not None and model != encoder.identity:
        made_with = store.meta("model_name") or "the shipped one"
        raise CodeIndexError(
            f"the index of {store.meta('root')} was made with another model, {made_with}",
            remedy=f"Ask with{_model_option(store) or 'out --model'}, or add --model to this and build it again: "
            f"mose index {store.meta('root')} --rebuild",
        )


def _model_option(store: Store) -> str:
    """The option that names the model of an index, after a blank; "" for the shipped one."""
    name = store.meta("model_name")
    return f" --model {name}" if name else ""


def is_outdated(store: Store, encoder: Encoder) -> bool:
    """Whether an index is to be rebuilt: another version of mose made it, with its own chunker and model.

    An index of a model that was asked for by name is kept: its owner may want it again.
    """
    try:
        check_maker(store, encoder)
    except CodeIndexError:
        return not store.meta("model_name")
    return False


def retire(folder: Path, encoder: Encoder) -> None:
    """Replace an outdated index by an empty one, unless another process has done so meanwhile."""
    with suppress(IndexReplacedError), closing(Store.open(folder)) as store, store.writing():
        if is_outdated(store, encoder):
            replace_index(folder)


def rebuild(folder: Path) -> None:
    """Replace whatever index a folder has by an empty one."""
    with exchanging(folder):
        replace_index(folder)


def forget(root: Path | str) -> list[Path]:
    """Remove the index of a tree, wherever it is; the tree itself may be gone already.

    Returns:
        The index folders that were removed.

    Raises:
        CodeIndexError: A file cannot be removed.
    """
    folder = index_folder(root, must_exist=False)
    base = base_folder(folder)
    if not base.exists():
        return []
    with suppress(IndexReplacedError), writer_lock(base, wait=True):
        return [folder] if remove_index(base) else []
    return []  # another process was faster


def begin_alike(store: Store, root: str, sizes: Mapping[str, int], encoder: Encoder) -> None:
    """Replace an empty index by a copy of that of the tree most like its own, if there is one.

    A refresh then reads every file, and cuts and embeds only those whose content differs. The caller holds the write
    lock. Killed at any moment, the index is empty, or a copy that says that it is unfinished.

    Args:
        store: The index.
        root: Its tree, as the index says it.
        sizes: Path -> bytes of every file of its tree.
        encoder: The other index must have been made with the same.
    """
    found = _most_alike(sizes, encoder) if len(sizes) >= ALIKE_FILES else None
    if found is None:
        return
    copy = None
    with suppress(CodeIndexError, OSError), Store.open_to_read(found) as other, other.snapshot():
        copy = replace_index(store.folder.parent, fill=lambda folder: _copy_index(other, folder, root, len(sizes)))
    if copy is not None:
        store.go_on_with(copy)


def _most_alike(sizes: Mapping[str, int], encoder: Encoder) -> Path | None:
    """The index of which more than half has the paths and sizes of more than half of a tree."""
    best, most = None, len(sizes) // 2
    for folder in _newest_indexes():
        with suppress(CodeIndexError), Store.open_to_read(folder) as other:
            check_maker(other, encoder)
            ((num_known,),) = other.rows("SELECT count(*) FROM files")
            if not other.complete or num_known <= most or num_known // 2 >= len(sizes):
                continue
            known = other.rows("SELECT path, size_bytes FROM files")
            num_same = sum(sizes.get(path) == size for path, size in known)
            if num_same > max(most, len(known) // 2):
                best, most = folder, num_same
    return best


def _newest_indexes() -> list[Path]:
    """The indexes that were changed last; none that lies in a tree, where others than the user may have been at it."""
    found = []
    for base in bases():
        folder = current_index(base)
        with suppress(OSError):
            if folder is not None and folder.parent == base:
                found.append(((folder / DATABASE_NAME).stat().st_mtime_ns, folder))
    return [folder for _, folder in sorted(found, reverse=True)[:ALIKE_INDEXES]]


def _copy_index(other: Store, folder: Path, root: str, num_files: int) -> None:
    """Copy an index into a folder that no other process knows yet, so that nothing needs a journal until it is done."""
    for entry in read_entries(other):
        source, target = (VectorFile(place, entry.file, width=entry.width).path for place in (other.folder, folder))
        with source.open("rb") as old, create_file(target) as new:
            shutil.copyfileobj(old, new, 1 << 20)
    path = folder / DATABASE_NAME
    create_private(path)
    with clear_errors(path), closing(open_connection(path, wait_ms=BUSY_TIMEOUT_MS)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        other.connection.backup(copy)
        begin_as_copy(copy, root, num_files)
    with path.open("r+b") as file:
        os.fsync(file.fileno())
