"""Hear from the system whether anything has changed in a tree since it was walked.

`watchfiles` listens. It does not say when the system has lost notes, and hears nothing of a folder that has just been
made. So silence counts only after a walk that began once all the folders it went through were listened to, and that no
note came after: lost notes come with others that are not, and a new folder is found by the walk.

What no system tells is found by the next walk: writing through mapped memory, or by another name of the same file; the
user's own ignore rules for all repositories. `TRUST_S` bounds how long silence counts.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from mose.files.disk import identity_of, inside
from mose.files.mounts import remote_kind
from mose.files.walking import Looked

STEP_MS = 20
"""How often is looked for notes; they are counted after two such steps at most."""
HEARD_S = 0.08
"""As long as it takes to be sure of what happened before a moment, on an idle machine."""
TRUST_S = 30.0
PAUSE_S = 0.2
"""A batch of changes ends when nothing more has changed for this long."""
LONGEST_BATCH_S = 2.0
_RETRY_S = 60.0
_START_S = 10.0
_LARGE_BATCH = 1_000  # far fewer than the system keeps before it loses some
_POLL_SHARE = 20  # looking for changes takes at most one part in so many of the time
_LONGEST_POLL_S = 60.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What had been heard at a moment before a walk."""

    listener: _Listener | None
    num_changes: int
    folder: tuple[int, int] | None
    moment: float


class Watch:
    """Knows whether a tree is as an index holds it.

    Attributes:
        trouble: Why the system is not listened to, a sentence; "" if it is.
    """

    def __init__(self, root: Path, *, listens: bool = True) -> None:
        self.trouble = "" if listens else "Changes are looked for at intervals, as asked for."
        self._root = os.path.realpath(root)
        self._listens = listens
        self._lock = threading.Lock()
        self._listener: _Listener | None = None
        self._covered: tuple[Mark, object] | None = None
        self._asked_at = self._tried_at = self._retry_at = float("-inf")
        self._walk_s = 0.0

    def mark(self) -> Mark:
        """What has been heard so far, to be taken before a walk."""
        with self._lock:
            self._tried_at = time.monotonic()
            listener = self._hearing()
            heard = listener.num_changes if listener is not None else 0
            return Mark(listener, heard, identity_of(self._root), self._tried_at)

    def cover(self, mark: Mark, looked: Looked, holder: object, walk_s: float = 0.0) -> None:
        """Take note that an index is up to date with a walk; listen to the folders that are new.

        Args:
            mark: Taken before the walk began.
            looked: What the walk went through.
            holder: Which index it is.
            walk_s: How long the walk took.
        """
        with self._lock:
            self._walk_s = walk_s
            listener = self._hearing()
            if listener is None or not listener.hears(looked):
                self._listen_to(looked)
            elif mark.listener is listener:
                self._covered = mark, holder
                if listener.num_changes == mark.num_changes:
                    listener.first_at = float("inf")

    def is_unchanged(self, holder: object, since: float) -> bool:
        """Whether an index certainly holds the tree as it was at a moment.

        Args:
            holder: Which index it is.
            since: The moment, by the monotonic clock.
        """
        with self._lock:
            listener = self._hearing()
            if self._covered is None or listener is None:
                return False
            mark, covered = self._covered
            return (
                mark.listener is listener
                and covered == holder
                and listener.has_heard(since)
                and listener.num_changes == mark.num_changes  # after the line before
                and time.monotonic() - mark.moment < TRUST_S
                and identity_of(self._root) == mark.folder
            )

    def will_be_unchanged(self, holder: object, since: float) -> bool:
        """As `is_unchanged`, after waiting for what happened just before the moment."""
        deadline = time.monotonic() + 2 * HEARD_S
        while not self.is_unchanged(holder, since):
            if self.has_changed() or time.monotonic() > deadline:
                return False
            time.sleep(STEP_MS / 4_000)
        return True

    def has_changed(self) -> bool:
        """Whether a walk is needed, whatever is heard next."""
        listener, covered = self._hearing(), self._covered
        if listener is None or covered is None:
            return True
        return covered[0].listener is not listener or listener.num_changes != covered[0].num_changes

    def is_due(self, poll_s: float | None) -> bool:
        """Whether it is time to walk the tree: a batch of changes has ended, or the system is not listened to.

        Args:
            poll_s: Seconds between walks where nothing can be heard; None for never.
        """
        now = time.monotonic()
        last = max(self._asked_at, self._tried_at)
        if self.trouble:
            due = poll_s is not None and now - last >= max(poll_s, min(self._walk_s * _POLL_SHARE, _LONGEST_POLL_S))
        else:
            pause_s = LONGEST_BATCH_S if self._hearing() is None else PAUSE_S
            rest_s = max(pause_s, min(self._walk_s * 4, LONGEST_BATCH_S))
            due = self.has_changed() and now - last >= rest_s and self._has_paused(now)
        if due:
            self._asked_at = now
        return due

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            if self._listener is not None:
                self._listener.stop.set()

    def _has_paused(self, now: float) -> bool:
        listener = self._listener
        return listener is None or now - listener.last_at >= PAUSE_S or now - listener.first_at >= LONGEST_BATCH_S

    def _hearing(self) -> _Listener | None:
        """The listener; None if there is none, or it has ended."""
        listener = self._listener
        return listener if listener is not None and listener.is_alive else None

    def _listen_to(self, looked: Looked) -> None:
        if self._listener is not None:
            self._listener.stop.set()
        self._listener = self._covered = None
        if not self._listens or time.monotonic() < self._retry_at:
            return
        kind = remote_kind(self._root)
        if kind:
            self.trouble = f"{self._root} lies on another machine ({kind}), whose changes are not announced here."
        else:
            listener = _Listener(self._root, looked)
            self.trouble = listener.start()
            if listener.is_alive:
                self._listener = listener
                return
        if self.trouble:
            self._retry_at = time.monotonic() + _RETRY_S


class _Listener:
    """Listens to a fixed set of folders in a thread of its own, until it is stopped or they are gone.

    Attributes:
        num_changes: Batches heard of so far.
        first_at, last_at: When the first change since the last walk, and the last change, was heard of.
    """

    def __init__(self, root: str, looked: Looked) -> None:
        self.stop = threading.Event()
        self.num_changes = 0
        self.first_at, self.last_at = float("inf"), float("-inf")
        self.is_alive = True
        self._root = root
        self._looked = looked
        self._folders = set(looked.folders)  # fewer and fewer: what replaces a folder is not listened to
        self._steps: deque[float] = deque(maxlen=3)
        self._trouble = ""
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> str:
        """Start to listen; why that fails if it is worth telling, "" otherwise."""
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._steps and self.is_alive and time.monotonic() < deadline:
            time.sleep(0.001)
        if not self._steps:
            self.stop.set()
            self.is_alive = False
        return self._trouble

    def is_set(self) -> bool:
        """Called by `watchfiles` at each step, before it looks for notes."""
        self._steps.append(time.monotonic())
        return self.stop.is_set()

    def has_heard(self, since: float) -> bool:
        """Whether everything that the system has told until a moment is counted.

        A note that is there at one step is taken at the next, and counted before the third.
        """
        return len(self._steps) == 3 and self._steps[0] >= since

    def hears(self, looked: Looked) -> bool:
        """Whether all that a walk went through was listened to."""
        return looked.folders <= self._folders and looked.rules <= self._looked.rules

    def _listen(self) -> None:
        try:
            from watchfiles import Change, watch

            changes = watch(
                *self._paths(),
                watch_filter=self._counts,
                debounce=0,
                step=STEP_MS,
                rust_timeout=0,  # with a timeout it drops what comes just then
                stop_event=self,
                raise_interrupt=False,
                force_polling=False,
                recursive=sys.platform != "linux",
                ignore_permission_denied=False,  # else it ignores every folder that it cannot listen to
            )
            for batch in changes:
                gone = {path for change, path in batch if change != Change.modified and path in self._folders}
                if gone:
                    self._folders = {path for path in self._folders if not any(inside(path, top) for top in gone)}
                self.last_at = time.monotonic()
                self.first_at = min(self.first_at, self.last_at)
                self.num_changes += 1
                if len(batch) >= _LARGE_BATCH:
                    break
        except ImportError:
            self._trouble = "Changes are not heard of without the package watchfiles (pip install 'mose[serve]')."
        except FileNotFoundError:
            pass  # a folder has just gone: the next walk knows
        except (OSError, RuntimeError) as error:
            if "limit" in str(error) or "Too many open files" in str(error):
                self._trouble = (
                    f"The system's limit of watched folders is reached; {self._root} has {len(self._looked.folders):,}"
                    " (see fs.inotify.max_user_watches and max_user_instances)."
                )
        finally:
            self.is_alive = False

    def _paths(self) -> list[str]:
        if sys.platform != "linux":  # where one call listens to a whole tree, and many are slow
            return [self._root]
        above = {os.path.dirname(path) for path in self._looked.rules}
        return sorted(self._looked.folders | {folder for folder in above if os.access(folder, os.R_OK)})

    def _counts(self, change: int, path: str) -> bool:
        """Whether a note can mean that the index is behind."""
        looked = self._looked
        if path in looked.rules or path in looked.folders:
            return True
        return os.path.dirname(path) in looked.folders and (change != 2 or path not in looked.named)
