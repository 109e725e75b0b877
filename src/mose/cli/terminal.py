"""The only way to a terminal or pipe: answers go to standard output, talk to standard error.

Every text is taken for foreign and escaped here (`mose.escaping`); styles are added afterwards. One call writes
one line.
"""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
import warnings
from collections.abc import Iterable
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, NamedTuple, TextIO

from mose.errors import MoseError, OutputError
from mose.escaping import escape, escape_json

if TYPE_CHECKING:
    from pathlib import PurePath

PIPE_COLUMNS = 119
"""Width of a line where nobody says how wide the screen is."""
MIN_COLUMNS = 20
_USUAL_COLUMNS = 80
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class ReaderGoneError(Exception):
    """The reader of a pipe has closed it, which is not an error."""


class Styled(NamedTuple):
    """A text and how to show it where there are colours; a tuple, for `dataclasses` is slow to import."""

    text: str
    code: str
    file: PurePath | None = None
    """The file that it names, absolute: a link on a terminal."""


def bold(text: str, file: PurePath | None = None) -> Styled:
    """A text to be seen first, and the file that it names."""
    return Styled(text, "1", file)


def dim(text: str) -> Styled:
    """A text in the background."""
    return Styled(text, "2")


def marked(text: str) -> Styled:
    """A word of the query."""
    return Styled(text, "1;33")


def show(*parts: str | Styled, color: bool = False) -> None:
    """Write one line of the answer.

    Args:
        parts: Put together they are the line.
        color: Whether styles are shown.

    Raises:
        OutputError: The line cannot be written.
        ReaderGoneError: Nobody reads it.
    """
    _write_answer("".join(_rendered(part, color) for part in parts) + "\n")


def show_lines(text: str) -> None:
    """Write several lines of the answer."""
    for line in text.split("\n"):
        show(line)


def show_json(rows: Iterable[object]) -> None:
    """Write one JSON object a line."""
    import json

    ascii_only = not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf8")
    for row in rows:
        _write_answer(escape_json(json.dumps(row, ensure_ascii=ascii_only)) + "\n")


def say(text: str = "") -> None:
    """Write one line of talk; a standard error that is closed or full is ignored."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(escape(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _mute(sys.stderr)


def say_lines(text: str) -> None:
    """Write several lines to stderr."""
    for line in text.rstrip("\n").split("\n"):
        say(line)


def say_error(error: MoseError) -> None:
    """Write an error with its kind and remedy."""
    say_lines(f"{type(error).__name__}: {error}")


def prepare() -> None:
    """Let every character through: written as an escape where the encoding lacks it, read as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of libraries, for their developers


def flush() -> None:
    """Write out the answer now, while an error can still be reported.

    Raises:
        OutputError: It cannot be written.
        ReaderGoneError: Nobody reads it.
    """
    if sys.stdout is not None:  # else nothing waits
        _write_answer("")


def takes_color(choice: str) -> bool:
    """Whether styles are shown on standard output.

    Args:
        choice: "always", "never", or "auto": on a terminal that is not dumb, unless ``NO_COLOR`` is set.
    """
    if choice != "auto":
        return choice == "always"
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")


def is_terminal(stream: TextIO | None) -> bool:
    """True for a terminal that can move its cursor and change its colours."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def columns() -> int:
    """Columns of the screen that the answer goes to."""
    if sys.stdout is None or not sys.stdout.isatty():
        return PIPE_COLUMNS
    return _screen_columns(sys.stdout)


def wrapped(text: str, stream: TextIO | None, *, indent: int = 0) -> list[str]:
    """The text in lines that fit the screen behind an indentation; one line if there is no screen."""
    if stream is None or not stream.isatty():
        return [text]
    return textwrap.wrap(text, _screen_columns(stream) - indent)


def _screen_columns(stream: TextIO) -> int:
    """Columns of a terminal; ``shutil`` would ask for those of standard output, which may be a pipe."""
    try:
        found = int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size(stream.fileno()).columns
    except (ValueError, OSError):  # COLUMNS is not a number, or the stream no longer a terminal
        found = 0
    return max(found or _USUAL_COLUMNS, MIN_COLUMNS)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things in words.

    Example:
        >>> counted(1, "file"), counted(2_000, "file"), counted(0, "index", "indexes")
        ('1 file', '2,000 files', '0 indexes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def megabytes(size: int) -> str:
    """A number of bytes in words.

    Example:
        >>> megabytes(1_250_000)
        '1.2 MB'
    """
    return f"{size / 1e6:.1f} MB"


def width_of(text: str) -> int:
    """Columns that a text takes once it is escaped."""
    return sum(_width(character) for character in escape(text))


def clip(text: str, width: int) -> str:
    """The text on one line of at most so many columns, with an ellipsis where it was longer."""
    line = escape(text).expandtabs(4)
    taken = kept = 0  # columns so far, and characters that leave room for the ellipsis
    for position, character in enumerate(line):
        taken += _width(character)
        if taken < width:
            kept = position + 1
        elif taken > width:
            return line[:kept] + ELLIPSIS
    return line


def fitted(text: str) -> str:
    """The text on one line of the screen that the answer goes to; whole if that is none."""
    return clip(text, columns()) if sys.stdout is not None and sys.stdout.isatty() else text


def _width(character: str) -> int:
    if unicodedata.combining(character) or "\ufe00" <= character <= "\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _rendered(part: str | Styled, color: bool) -> str:
    if isinstance(part, str):
        return escape(part)
    text = escape(part.text)
    if not color or not text:
        return text
    text = f"\x1b[{part.code}m{text}\x1b[0m"
    if part.file is not None and _takes_links():
        text = f"\x1b]8;;{_url(part.file)}\x1b\\{text}\x1b]8;;\x1b\\"
    return text


def _takes_links() -> bool:
    """True on a terminal that knows links; ``--color always`` is for pagers, and few of them do."""
    return is_terminal(sys.stdout) and os.environ.get("TERM") != "linux"


def _url(file: PurePath) -> str:
    """The file's address with the name of this machine, by which terminals know whether it is theirs."""
    host = os.uname().nodename if hasattr(os, "uname") else ""
    return file.as_uri().replace("file://", f"file://{host}", 1)


def _write_answer(text: str) -> None:
    if sys.stdout is None:
        raise OutputError(
            "the answer cannot be written: standard output is closed", remedy="Leave it open, or send it to a file."
        )
    try:
        sys.stdout.write(text)
        if not text:
            sys.stdout.flush()
    except BrokenPipeError as error:
        _mute(sys.stdout)
        raise ReaderGoneError from error
    except OSError as error:
        _mute(sys.stdout)
        raise OutputError(
            f"the answer cannot be written: {error.strerror or error}", remedy="Send it to another place."
        ) from error


def _mute(stream: TextIO) -> None:
    """Discard what is still in the buffer of a stream, so that the end of the process does not fail on it again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
