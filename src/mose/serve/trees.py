"""The trees that a server answers about: one open index for each, watched and completed in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mose.errors import MoseError, SourceError
from mose.files.watch import HEARD_S, Watch
from mose.progress import Progress, ProgressCallback
from mose.runtime.encoder import Encoder
from mose.search.index import CodeIndex
from mose.search.opening import Opening
from mose.search.refresh import RefreshReport
from mose.search.snippet import Lines

FIRST_ANSWER_S = 20.0
"""An answer waits this long for a tree that is being read, then uses what has been read so far."""
_POLL_S = 0.02
_BUSY_TRIES = 20
_TICK_S = 0.1
WATCHED_AGE_S = 0.1
"""How old the state of a watched tree behind an answer may be."""
_STOP_S = 0.3  # what was committed is kept even if the process ends


class StoppedError(Exception):
    """The work is no longer wanted: its caller has cancelled it, or the server stops."""


def stop_if(cancelled: threading.Event) -> ProgressCallback:
    """A progress callback that raises `StoppedError` once the work is cancelled."""

    def check(progress: Progress) -> None:
        if cancelled.is_set():
            raise StoppedError

    return check


class _TimeUpError(Exception):
    """The rest of the work continues in the background."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An index that can be searched now."""

    index: CodeIndex
    note: str = ""
    """What is missing from it, one sentence; "" if nothing is."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about answers from it, one sentence each."""
        return tuple(note for note in (self.note, *self.index.notes) if note)


class Trees:
    """Opens each tree once, for all who ask.

    Args:
        exit: Exit of requests that do not choose one; the deepest if None.
        max_age_s: How old the state of the tree behind an answer may be; at most `WATCHED_AGE_S` if it is watched.
        deepens: Whether to embed each tree at the exit in the background once it has been searched.
        listens: False to look for changes at each request and at intervals alone.
    """

    def __init__(
        self,
        *,
        exit: int | None = None,
        max_age_s: float = 0.0,
        deepens: bool = True,
        listens: bool = True,
    ) -> None:
        self.listens = listens
        self.max_age_s = max_age_s
        self.deepens = deepens
        self.stop = threading.Event()
        self.background = threading.Lock()  # trees are embedded in the background one at a time
        self._exit = exit
        self._encoder: Encoder | None = None
        self._trees: dict[Path, Tree] = {}
        self._lock = threading.Lock()
        self._num_asking = 0

    def load(self) -> Encoder:
        """The model, loaded once."""
        with self._lock:
            if self._encoder is None:
                self._encoder = Encoder.load(exit=self._exit)
            return self._encoder

    def get(self, root: Path | str) -> Tree:
        """The tree with this root; nothing is read yet, and it may be gone."""
        root = Path(root).resolve()
        with self._lock:
            return self._trees.setdefault(root, Tree(root, self))

    def due(self, poll_s: float | None = None) -> Iterator[Tree]:
        """The trees whose index is behind, each once a batch of changes has ended, until the server stops.

        Args:
            poll_s: See `mose.files.watch.Watch.is_due`.
        """
        while not self.stop.wait(_TICK_S):
            for tree in tuple(self._trees.values()):
                if tree.is_due(poll_s):
                    yield tree

    def keep_up(self) -> None:
        """Bring trees up to date as they change, so that no question has to; in a thread of its own."""
        for tree in self.due():
            with suppress(MoseError, StoppedError):  # the next call meets the error itself
                tree.ready(self.stop)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Pause work in the background while a request is answered."""
        with self._lock:
            self._num_asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_asking -= 1

    def rest(self, progress: Progress) -> None:
        """Wait while a request is answered; raise `StoppedError` once the server stops."""
        while self._num_asking and not self.stop.is_set():
            self.stop.wait(_POLL_S)
        if self.stop.is_set():
            raise StoppedError

    def close(self) -> None:
        """Stop the work in the background and close all indexes."""
        self.stop.set()
        for tree in self._trees.values():
            tree.close()


class Tree:
    """One source tree and its index.

    Attributes:
        root: The folder, absolute and without links.
    """

    def __init__(self, root: Path, trees: Trees) -> None:
        self.root = root
        self._trees = trees
        self._turn = threading.Lock()
        self._index: CodeIndex | None = None
        self._partial: CodeIndex | None = None
        self._reader: threading.Thread | None = None
        self._deepener: threading.Thread | None = None
        self._progress = Progress("walk", 0, 0)
        self._checked_at = float("-inf")
        self._check_s = 0.0
        self.watch = Watch(root, listens=trees.listens)

    def ready(self, cancelled: threading.Event) -> Ready:
        """The index, brought up to date; an incomplete one if the tree takes long to read.

        Raises:
            StoppedError: The call was cancelled.
            MoseError: The tree or its index cannot be read.
        """
        arrived = time.monotonic()
        while not self._turn.acquire(timeout=_POLL_S):
            if cancelled.is_set():
                raise StoppedError
        try:
            self._require_folder()
            if self._is_reading():
                return self._so_far()
            if self._index is None or not self._is_fresh(self._index, arrived):
                deadline = arrived + FIRST_ANSWER_S
                try:
                    self._bring_up(self._guard(cancelled.is_set, deadline))
                except _TimeUpError:
                    self._reader = _start(self._read_on)
                    return self._so_far()
            assert self._index is not None
            return Ready(self._index)
        finally:
            self._turn.release()

    @property
    def reading(self) -> Progress | None:
        """How far the tree has been read, while it is read for the first time or after a large change."""
        is_opening = self._index is None and self._turn.locked()
        return self._progress if is_opening or self._is_reading() else None

    def is_due(self, poll_s: float | None) -> bool:
        """Whether the index, once open, is to be brought up to date now."""
        return self._index is not None and not self._is_reading() and self.watch.is_due(poll_s)

    def update(self, progress: ProgressCallback) -> RefreshReport:
        """Bring the index up to date, however long it takes.

        Raises:
            MoseError: The tree or its index cannot be read.
        """
        with self._turn:
            self._require_folder()
            self._bring_up(progress)
            assert self._index is not None
            return self._index.last_refresh or RefreshReport()

    def lines_now(self, path: str, line: int) -> Lines:
        """The definition around a line, from the index as it was last searched."""
        index = self._index or self._partial
        assert index is not None
        return index.lines(path, line)

    def deepen(self) -> None:
        """Embed the rest of the tree at the exit, in the background, unless that is running or done."""
        busy = self._deepener is not None and self._deepener.is_alive()
        if self._trees.deepens and self._index is not None and not busy and not self._is_reading():
            self._deepener = _start(self._deepen)

    def close(self) -> None:
        """Close the index, once the work in the background has stopped."""
        self.watch.close()
        for thread in (self._reader, self._deepener):
            if thread is not None:
                thread.join(_STOP_S)
        for index in (self._index, self._partial):
            if index is not None:
                index.close()

    def _require_folder(self) -> None:
        if not self.root.is_dir():
            raise SourceError(f"the folder {self.root} is gone", remedy="Ask again when it is back.")

    def _is_fresh(self, index: CodeIndex, arrived: float) -> bool:
        """Whether an answer may come from the index as it is; waits for the watcher rather than walk for longer."""
        if self.watch.trouble:
            return self._checked_at >= arrived - self._trees.max_age_s
        since = arrived - min(self._trees.max_age_s, WATCHED_AGE_S)
        return self._checked_at >= since or index.is_fresh(since, waits=self._check_s > HEARD_S)

    def _is_reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive()

    def _so_far(self) -> Ready:
        """The index as far as it has been written; the previous one while a large change is read."""
        done, total = self._progress.done, self._progress.total
        of = f" ({done:,} of {total:,} changed files)" if self._progress.stage == "cut" else ""
        note = f"This tree is still being read{of}: ask again for more."
        if self._index is not None:
            return Ready(self._index, note)
        if self._partial is None:
            opening = Opening(root=self.root, encoder=self._trees.load(), update=False)
            self._partial = CodeIndex(opening, opening.open())
        return Ready(self._partial, note)

    def _bring_up(self, progress: ProgressCallback) -> None:
        started = time.monotonic()
        if self._index is None:
            opening = Opening(root=self.root, encoder=self._trees.load(), watch=self.watch)
            self._index = CodeIndex(opening, opening.open(progress))
        else:
            for _ in range(_BUSY_TRIES):  # this process may be writing vectors
                if not self._index.refresh(progress=progress).busy:
                    break
                time.sleep(_POLL_S)
        self._checked_at = started
        self._check_s = time.monotonic() - started

    def _guard(self, is_cancelled: Callable[[], bool], deadline: float) -> ProgressCallback:
        def check(progress: Progress) -> None:
            self._progress = progress
            if is_cancelled():
                raise StoppedError
            if time.monotonic() > deadline or (deadline < float("inf") and progress.stage == "wait"):
                raise _TimeUpError

        return check

    def _read_on(self) -> None:
        with suppress(MoseError, StoppedError):  # the next call raises the error itself
            self._bring_up(self._guard(self._trees.stop.is_set, float("inf")))

    def _deepen(self) -> None:
        assert self._index is not None
        with suppress(MoseError, StoppedError, OSError), self._trees.background:
            self._trees.rest(self._progress)
            if self._index.encoder.exit:
                self._index.deepen(progress=self._trees.rest)


def _start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
