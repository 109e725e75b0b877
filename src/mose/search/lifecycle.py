"""From making an index to removing it: what made it, whether it is outdated, an empty one in its stead, none at all."""

from __future__ import annotations

import hashlib
from contextlib import closing, suppress
from pathlib import Path

from mose.errors import CodeIndexError, IndexReplacedError
from mose.runtime.encoder import Encoder
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.index_words import fingerprint
from mose.search.store.exchange import exchanging, remove_index, replace_index
from mose.search.store.location import base_folder, index_folder
from mose.search.store.lock import writer_lock
from mose.search.store.store import Store


def chunker_identity() -> str:
    """What an index says of the chunker that made it: its version, its settings, and how it splits words."""
    chunker = ChunkerConfig()
    settings = hashlib.blake2b(repr(chunker).encode(), digest_size=6).hexdigest()
    return f"{chunker.version}-{settings}-{fingerprint()}"


def check_maker(store: Store, encoder: Encoder) -> None:
    """Raise `CodeIndexError` if another chunker or model has made an index."""
    made, wanted = store.meta("chunker"), chunker_identity()
    if made is not None and made != wanted:
        raise CodeIndexError(
            f"the index in {store.folder} was cut by another chunker",
            got=made,
            allowed=wanted,
            remedy=f"Run `mose index {store.meta('root') or 'PATH'} --rebuild`.",
        )
    check_model(store, encoder)


def check_model(store: Store, encoder: Encoder) -> None:
    """Raise `CodeIndexError` if an index has vectors of another model."""
    model = store.meta("model")
    if model is not None and model != encoder.identity:
        raise CodeIndexError(
            f"the index in {store.folder} has vectors of another model",
            got=model,
            allowed=encoder.identity,
            remedy=f"Run `mose index {store.meta('root') or 'PATH'} --rebuild`, "
            "or name the model that made it with --model.",
        )


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
