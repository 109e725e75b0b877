"""Read the cells of a Jupyter notebook, with their line numbers in the file; outputs are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from json import JSONDecoder

MAX_BYTES = 20_000_000
"""Larger notebooks are left out; most of a large notebook is outputs."""

_decode = JSONDecoder().raw_decode
_BLANK = " \t\n\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a notebook."""

    number: int  # in the notebook, counted from 1
    kind: str  # "code", "markdown" or "raw"
    lines: list[str]
    file_lines: list[int]  # the line number of each in the file, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """Language and cells of a notebook."""

    language: str  # of its code, in lower case
    cells: list[Cell]


def is_notebook(path: str) -> bool:
    """Whether a name is that of a notebook.

    Example:
        >>> is_notebook("a/Churn.ipynb"), is_notebook("ipynb")
        (True, False)
    """
    return path.lower().endswith(".ipynb")


def read_notebook(text: str) -> Notebook | None:
    r"""The cells of a notebook, None if the text is not one.

    Example:
        >>> book = read_notebook('{"cells": [\n{"cell_type": "code", "source": ["a\\n",\n"b"]}]}')
        >>> book.language, book.cells[0].lines, book.cells[0].file_lines
        ('python', ['a', 'b'], [2, 3])
    """
    reader = _Reader(text)
    try:
        for key in reader.members():
            if key == "cells":
                reader.each(reader.cell)
            elif key == "metadata":
                reader.metadata()
            else:
                reader.value()
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None
    return Notebook(language=reader.language, cells=reader.cells) if reader.cells else None


class _Reader:
    """A position in JSON text. Only the path to the cells is parsed here; `json` parses the rest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.language = "python"
        self.cells: list[Cell] = []
        self._counted = (0, 1)  # a position and its line

    def metadata(self) -> None:
        found = self.value()
        if isinstance(found, dict):
            for part, name in (("kernelspec", "language"), ("language_info", "name")):
                inside = found.get(part)
                if isinstance(inside, dict) and isinstance(inside.get(name), str):
                    self.language = inside[name].lower()

    def cell(self) -> None:
        kind, found = "", []
        for key in self.members():
            if key == "source":
                found = self.source()
            else:
                value = self.value()
                if key == "cell_type":
                    kind = str(value)
        lines = [(line, number) for text, number in found for line in text.split("\n")]
        self.cells.append(
            Cell(
                number=len(self.cells) + 1,
                kind=kind,
                lines=[line for line, _ in lines],
                file_lines=[number for _, number in lines],
            )
        )

    def source(self) -> list[tuple[str, int]]:
        """Texts without their final line end, and their lines; parts of one line are joined."""
        found: list[tuple[str, int]] = []
        is_open = False  # the last text had no line end, so the next one continues its line

        def take() -> None:
            nonlocal is_open
            number = self.line()
            text = self.value()
            if not isinstance(text, str):
                raise ValueError("a source that is not text")
            text = text.replace("\r\n", "\n").replace("\0", "\ufffd").encode("utf-8", "replace").decode()
            if is_open:
                before, number = found.pop()
                text = before + text
            is_open = not text.endswith("\n")
            found.append((text if is_open else text[:-1], number))

        self.blank()
        if self.text[self.at] == "[":
            self.each(take)
        else:
            take()
        return found

    def members(self) -> Iterator[str]:
        """Keys of an object; after each, its value must be read."""
        self.blank()
        self.expect("{")
        while self.blank() != "}":
            key = str(self.value())
            self.blank()
            self.expect(":")
            yield key
            if self.blank() == ",":
                self.at += 1
        self.at += 1

    def each(self, read: Callable[[], None]) -> None:
        """Read every member of a list."""
        self.blank()
        self.expect("[")
        while self.blank() != "]":
            read()
            if self.blank() == ",":
                self.at += 1
        self.at += 1

    def value(self) -> object:
        self.blank()
        found: object
        found, self.at = _decode(self.text, self.at)
        return found

    def blank(self) -> str:
        """Skip white space, and return the next character."""
        while self.text[self.at] in _BLANK:
            self.at += 1
        return self.text[self.at]

    def expect(self, sign: str) -> None:
        if self.text[self.at] != sign:
            raise ValueError(f"no {sign} at {self.at}")
        self.at += 1

    def line(self) -> int:
        self.blank()
        before, number = self._counted
        number += self.text.count("\n", before, self.at)
        self._counted = (self.at, number)
        return number
