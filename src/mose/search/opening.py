"""Opening the index of a tree to search it, and opening it again when another process has rebuilt it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mose.errors import CodeIndexError, DamagedIndexError, IndexReplacedError, UnwritableIndexError
from mose.files import WalkLimits
from mose.files.watch import Watch
from mose.progress import ProgressCallback, no_progress
from mose.runtime.encoder import Encoder
from mose.search.lifecycle import check_model, is_outdated, rebuild, retire
from mose.search.refresh import RefreshReport, refresh
from mose.search.store.exchange import discard_damaged
from mose.search.store.location import base_folder, current_index, foreign_folder, index_folder
from mose.search.store.store import Store
from mose.search.store.write_vectors import need_repair

ATTEMPTS = 20
"""How often an index is opened again that others keep removing."""
UNFINISHED_NOTE = (
    "The index was not read to its end: this answer lacks what is missing, and may show what has changed. "
    "Search without --no-update to finish it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open index and what there is to say about it."""

    store: Store
    report: RefreshReport | None = None
    """What bringing it up to date did, None if it was not tried."""
    unwritable: UnwritableIndexError | None = None
    """Why the index is answered from as it is, None if it is not."""
    notes: tuple[str, ...] = ()
    """What else a user should know, one sentence or two each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How to open the index of a tree."""

    root: Path
    """The tree, as `mose.search.store.location.source_root` gives it."""
    encoder: Encoder
    inside: bool | None = None
    """See `mose.search.store.location.index_folder`."""
    update: bool = True
    """False to answer from the index as it is."""
    create: bool = True
    """False to fail if there is no index."""
    rebuild: bool = False
    """Rebuild the index, where it is."""
    model_name: str = ""
    """How the model was asked for; empty for the shipped one."""
    max_file_bytes: int | None = None
    """The largest file to read, from now on; None for what the index was last told."""
    watch: Watch | None = None
    """Hears of changes of the tree for as long as the index is open."""
    begins_alike: bool = True
    """False to read all of the tree into a new index: damage may come along with a copy of another one."""

    def open(self, progress: ProgressCallback = no_progress) -> Opened:
        """The index, brought up to date if that is asked for and possible; rebuilt if it was damaged.

        Raises:
            CodeIndexError: There is none, or it is damaged, foreign, of another model, or cannot be written and has
                nothing to answer from.
        """
        opened = self._open(progress)
        ignored = foreign_folder(self.root)
        if ignored is None:
            return opened
        note = f"{ignored} is not used: you did not make it here. `mose index --inside` puts an index of yours there."
        return replace(opened, notes=(*opened.notes, note))

    def again(self) -> Opening:
        """How to open it later on: without rebuilding it again."""
        return replace(self, rebuild=False)

    def _open(self, progress: ProgressCallback) -> Opened:
        folder = index_folder(self.root, inside=self.inside)
        if not self.update:
            store = self._open_to_read(folder)
            return Opened(store=store, notes=() if store.complete else (UNFINISHED_NOTE,))
        if self.rebuild:
            rebuild(folder)
        mended: tuple[str, ...] = ()
        opening = replace(self, begins_alike=self.begins_alike and not self.rebuild)
        for attempt in range(ATTEMPTS):
            seen = current_index(base_folder(folder))
            try:
                opened = opening._open_to_write(folder, progress)
                return replace(opened, notes=(*mended, *opened.notes))
            except IndexReplacedError:
                if attempt == ATTEMPTS - 1 or not self.create:
                    raise
            except DamagedIndexError as error:
                if mended:
                    raise
                mended = (rebuilt_note(error),)
                opening = replace(opening, begins_alike=False)
                discard_damaged(folder, seen)
        raise AssertionError

    def open_anew(self, damaged: Path) -> Opened:
        """As `open`, of an index that is damaged: all of the tree is read again."""
        discard_damaged(index_folder(self.root, inside=self.inside), damaged)
        return replace(self, begins_alike=False).open()

    def _open_to_write(self, folder: Path, progress: ProgressCallback) -> Opened:
        try:
            store = Store.open(folder, create=self.create)
        except UnwritableIndexError as error:
            return self._as_it_is(folder, error)
        try:
            if not self.model_name and is_outdated(store, self.encoder):
                store.close()
                retire(folder, self.encoder)
                store = Store.open(folder)
            return Opened(store=store, report=self.refresh(store, progress))
        except UnwritableIndexError as error:
            if store.generation == 0:
                store.close()
                raise
            store.read_only = True
            return Opened(store=store, unwritable=error)
        except DamagedIndexError:
            store.close()
            discard_damaged(folder, store.folder)  # perhaps a copy that the index began with just now
            raise
        except BaseException:
            store.close()
            raise

    def refresh(self, store: Store, progress: ProgressCallback = no_progress) -> RefreshReport:
        """Bring an open index up to date; while another process writes it, only if there is nothing to answer from."""
        return refresh(
            store,
            self.root,
            self.encoder,
            progress=progress,
            wait=store.generation == 0,
            limits=None if self.max_file_bytes is None else WalkLimits(max_file_bytes=self.max_file_bytes),
            model_name=self.model_name,
            watch=self.watch,
            begins_alike=self.begins_alike,
        )

    def is_fresh(self, store: Store, since: float, *, waits: bool) -> bool:
        """Whether an open index certainly holds the tree as it was at a moment; see `mose.files.watch`."""
        if self.watch is None:
            return False
        is_unchanged = self.watch.will_be_unchanged if waits else self.watch.is_unchanged
        return is_unchanged(store.folder, since) and store.complete and not need_repair(store)

    def _open_to_read(self, folder: Path) -> Store:
        store = Store.open_to_read(folder)
        try:
            check_model(store, self.encoder)
        except BaseException:
            store.close()
            raise
        return store

    def _as_it_is(self, folder: Path, error: UnwritableIndexError) -> Opened:
        """An index that cannot be written can be read, if anything is in it."""
        try:
            store = self._open_to_read(folder)
        except CodeIndexError:
            raise error from None
        if store.generation == 0:
            store.close()
            raise error
        return Opened(store=store, unwritable=error)


def rebuilt_note(error: DamagedIndexError) -> str:
    """What to say about an index that was damaged: nothing is lost, for the tree is there."""
    return f"{error.what.rstrip('.')}: it has been rebuilt."
