"""Connections to the index of one tree, kept current: other processes may rebuild or remove the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import RLock
from typing import TypeVar

from mose.errors import CodeIndexError, DamagedIndexError, IndexReplacedError, UnwritableIndexError
from mose.progress import ProgressCallback
from mose.search.opening import ATTEMPTS, Opened, Opening, rebuilt_note
from mose.search.refresh import RefreshReport
from mose.search.store.store import Store

T = TypeVar("T")
MAX_IDLE = 8
"""Connections that are kept for later requests."""


class Connections:
    """Lends a connection to each request, so that the requests of several threads do not wait for each other.

    Attributes:
        opened: The index as it was opened last. Its ``store`` is among the connections that are lent.
    """

    def __init__(self, opening: Opening, opened: Opened) -> None:
        self._opening = opening.again()
        self.opened = opened
        self._idle = [opened.store]
        self._lock = RLock()
        self._was_mended = False
        self._is_closed = False

    def close(self) -> None:
        """Close all connections, those in use when they are given back; later requests are refused."""
        with self._lock:
            self._is_closed = True
            while self._idle:
                self._idle.pop().close()

    def read(self, ask: Callable[[Store], T]) -> T:
        """What ``ask`` returns for the current index; it is called again if the index was exchanged meanwhile.

        An index that turns out to be damaged is rebuilt. Once vectors cannot be stored, no more are.
        """
        for _ in range(ATTEMPTS):
            with self._lend() as store:
                try:
                    answer = ask(store)
                except UnwritableIndexError as error:
                    if store.read_only:
                        raise
                    with self._lock:
                        self.opened = replace(self.opened, unwritable=error)
                except DamagedIndexError as error:
                    self._rebuild(store, error)
                except CodeIndexError:
                    if store.is_current():
                        raise
                else:
                    if store.is_current():
                        return answer
        raise self._never_current()

    def write(self, work: Callable[[Store], T]) -> T:
        """What ``work`` returns for a connection of its own that may write."""
        for _ in range(ATTEMPTS):
            with self._lock:
                current = self._current()
            if not self._opening.update:
                what = "this index was opened to be left as it is"
                raise UnwritableIndexError(what, remedy="Open it with update=True.")
            try:
                with closing(Store.open(current.folder, create=False)) as store:
                    return work(store)
            except DamagedIndexError as error:
                self._rebuild(current, error)
            except CodeIndexError:
                if current.is_current():
                    raise
        raise self._never_current()

    def refresh(self, progress: ProgressCallback) -> RefreshReport:
        """Bring the index up to date with the tree; see `mose.search.opening.Opening.refresh`."""
        report = self.write(lambda store: self._opening.refresh(store, progress))
        with self._lock:
            self.opened = replace(self.opened, report=report)
        return report

    @contextmanager
    def _lend(self) -> Iterator[Store]:
        """A connection to the current index that no other thread uses meanwhile."""
        with self._lock:
            store = self._take()
            store.read_only = store.read_only or self.opened.unwritable is not None
        try:
            yield store
        finally:
            with self._lock:
                if not self._is_closed and (store is self.opened.store or len(self._idle) < MAX_IDLE):
                    self._idle.append(store)
                else:
                    store.close()

    def _take(self) -> Store:
        for _ in range(ATTEMPTS):
            first = self._current()
            while self._idle:
                store = self._idle.pop()
                if store is first or store.is_current():
                    return store
                store.close()
            try:
                store = Store.open_to_read(first.folder) if first.read_only else Store.open(first.folder, create=False)
            except CodeIndexError:
                if first.is_current():
                    raise
                continue
            if store.folder == first.folder:
                return store
            store.close()
        raise self._never_current()

    def _current(self) -> Store:
        """The connection that was opened first, opened again if the index has been exchanged since."""
        self._check_open()
        if not self.opened.store.is_current():
            self._keep(self._opening.open())
        return self.opened.store

    def _keep(self, opened: Opened) -> None:
        self.opened = opened
        self._idle.append(opened.store)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CodeIndexError(
                f"the index of {self._opening.root} is closed here",
                remedy="Ask inside the `with` block, or open it again: mose.CodeIndex.open(path).",
            )

    def _never_current(self) -> IndexReplacedError:
        return IndexReplacedError(
            f"the index of {self._opening.root} is removed or rebuilt all the time by another process",
            remedy="Search again when that process has ended.",
        )

    def _rebuild(self, damaged: Store, error: DamagedIndexError) -> None:
        """Rebuild a damaged index, once: damage that comes back has a cause that remains."""
        with self._lock:
            if damaged.folder != self.opened.store.folder:
                return  # another thread was faster
            if self._was_mended or not self._opening.update or damaged.read_only:
                raise error
            self._was_mended = True
            opened = self._opening.open_anew(damaged.folder)
            self._keep(replace(opened, notes=(rebuilt_note(error), *opened.notes)))
