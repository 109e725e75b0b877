"""Errors that say what went wrong, with which value, what is allowed, and what to do."""

from __future__ import annotations

from mose.escaping import escape


class MoseError(Exception):
    """Anything a user can correct. The command line prints it without a traceback.

    Args:
        what: What went wrong, naming the file, field or flag as the user knows it.
        got: The value that was refused, shown if given.
        allowed: The values that would have been accepted.
        remedy: What to do next: a command, a flag, a file to look at.
    """

    def __init__(self, what: str, *, got: object = None, allowed: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.got = got
        self.allowed = allowed
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        message = escape(self.what) if self.got is None else f"{escape(self.what)}: got {self.got!r}"
        if self.allowed is not None:
            message += f", allowed: {escape(self.allowed)}"
        if not message.endswith((".", "!", "?")):
            message += "."
        if self.remedy is not None:
            message += "".join(f"\n  {escape(line)}" for line in self.remedy.split("\n"))
        return message

    def __reduce__(self) -> tuple[object, ...]:
        """Survives a process pool, which pickles errors."""
        return (_rebuild, (type(self), self.what, self.got, self.allowed, self.remedy))


def _rebuild(kind: type[MoseError], what: str, got: object, allowed: str | None, remedy: str | None) -> MoseError:
    return kind(what, got=got, allowed=allowed, remedy=remedy)


class ConfigError(MoseError, ValueError):
    """A setting that contradicts another or lies outside its range."""


def require(condition: bool, what: str, got: object, allowed: str) -> None:
    """Raise `ConfigError` unless a setting keeps a condition."""
    if not condition:
        raise ConfigError(what, got=got, allowed=allowed)


class ModelError(MoseError):
    """A model folder that is missing, incomplete, damaged or not the one expected."""


class OutputError(MoseError):
    """A file or folder that cannot be written, or that is not ours to replace."""


class SourceError(MoseError):
    """A source tree or file that cannot be read as asked."""


class CodeIndexError(MoseError):
    """An index that is foreign, damaged, locked, or made by another model or chunker."""


class DamagedIndexError(CodeIndexError):
    """An index whose bytes are not those that were written. It holds nothing that its tree cannot give again."""


class IndexReplacedError(CodeIndexError):
    """An index that another process has removed or rebuilt while it was open here."""


class UnwritableIndexError(CodeIndexError):
    """An index that cannot be written, as on a full or read-only disk; what is in it can still be read."""


class DataError(MoseError, ValueError):
    """A data file with a missing, empty or contradictory entry."""


class MissingExtraError(MoseError, ImportError):
    """A command that needs packages which the base install leaves out."""


class EndpointError(MoseError):
    """A server of a language model that cannot be reached, or refuses what it is asked."""
