"""What a terminal shows: progress, styles, JSON lines. Data on stdout, talk on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mose.search.query import CodeIndex
    from mose.search.records import Progress


def print_json_lines(rows: Iterable[object]) -> None:
    """One JSON object a line."""
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


def print_warnings(index: CodeIndex) -> None:
    """What the last refresh has to say, on stderr."""
    for warning in index.last_refresh.warnings if index.last_refresh is not None else ():
        print(warning, file=sys.stderr)


class Style:
    """ANSI styles, or nothing where output is not a terminal."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled else text

    def bold(self, text: str) -> str:
        """For what is looked for first."""
        return self._wrap(text, "1")

    def dim(self, text: str) -> str:
        """For what is seldom looked at."""
        return self._wrap(text, "2")

    def mark(self, text: str) -> str:
        """For words of the query."""
        return self._wrap(text, "1;33")


class ProgressBar:
    """Progress of long work on stderr, one bar a stage. Shown after half a second, so that short work is silent."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: object | None = None
        self.stage = ""

    def __enter__(self) -> Callable[[Progress], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()  # type: ignore[attr-defined]
            self.bar = None

    def _tell(self, progress: Progress) -> None:
        if self.quiet:
            return
        if progress.stage == "wait":
            print("Waiting for another process that is writing this index.", file=sys.stderr)
            return
        if progress.stage != self.stage:
            self._close()
            from tqdm import tqdm

            self.stage = progress.stage
            self.bar = tqdm(
                total=progress.total or None,
                desc=self.stage,
                delay=0.5,
                leave=False,
                file=sys.stderr,
                unit="",
                mininterval=0.2,
            )
        bar = self.bar
        bar.total = progress.total or None  # type: ignore[union-attr]
        bar.update(progress.done - bar.n)  # type: ignore[union-attr]


def need_packages(verb: str, *names: str, extra: str = "train") -> None:
    """Nothing if the packages are installed.

    Raises:
        MissingExtraError: One is not; says how to install it.
    """
    from importlib.util import find_spec

    from mose.errors import MissingExtraError

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"`mose {verb}` needs packages that are not installed: {', '.join(missing)}",
            remedy=f"Install them with: pip install 'mose[{extra}]'",
        )
