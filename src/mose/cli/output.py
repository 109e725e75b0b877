"""Progress of long work, and packages that a verb needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mose.cli.terminal import is_terminal, say
from mose.escaping import escape

if TYPE_CHECKING:
    from mose.progress import Progress
    from mose.search.index import CodeIndex

STAGES = {"walk": "finding files", "cut": "reading files", "words": "sorting words"}


def say_warnings(index: CodeIndex) -> None:
    """Say what the last refresh warned of."""
    for warning in index.last_refresh.warnings if index.last_refresh is not None else ():
        say(warning)


class ProgressBar:
    """Progress of long work on a terminal, one bar a stage, from half a second on."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.draws = not quiet and is_terminal(sys.stderr)
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
        if progress.stage == "wait":
            if not self.quiet:
                say("Waiting for another process that is writing this index.")
            return
        if not self.draws:
            return
        if progress.stage != self.stage:
            self._close()
            from tqdm import tqdm

            self.stage = progress.stage
            self.bar = tqdm(
                total=progress.total or None,
                desc=escape(_name_of(self.stage)),
                delay=0.5,
                leave=False,
                file=sys.stderr,
                unit="",
                mininterval=0.2,
            )
        bar = self.bar
        bar.total = progress.total or None  # type: ignore[union-attr]
        bar.update(progress.done - bar.n)  # type: ignore[union-attr]


def _name_of(stage: str) -> str:
    return "reading closely" if stage.startswith("exit ") else STAGES.get(stage, stage)


def need_packages(verb: str, *names: str, extra: str = "train") -> None:
    """Raise `MissingExtraError` unless the packages are installed.

    Args:
        verb: The command that needs them.
        names: Modules to look for.
        extra: The extra of this package that installs them.
    """
    from importlib.util import find_spec

    from mose.errors import MissingExtraError

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"`mose {verb}` needs packages that are not installed: {', '.join(missing)}",
            remedy=f"Install them with: pip install 'mose[{extra}]'",
        )
