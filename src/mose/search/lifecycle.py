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
