"""Cut notebooks: code cells along their definitions, prose by its headings; outputs are left out."""

from __future__ import annotations

from dataclasses import replace

from mose.files.notebooks import Cell, read_notebook
from mose.languages import TEXT
from mose.search.chunking.chunk import Chunk
from mose.search.chunking.chunks import ChunkerConfig, Cut, cut_by_lines, cut_text

_ALIASES = {"r": "r", "c++": "cpp", "c#": "csharp", "ipython": "python", "python3": "python"}


def cut_notebook(text: str, config: ChunkerConfig, trouble: str = "") -> Cut | None:
    """Chunks of every cell, None if the text is not a notebook.

    Line numbers are those of the file; the number of the cell is in the context, and is the symbol of a chunk without
    one.

    Args:
        text: The notebook.
        config: Sizes.
        trouble: Why its code must not be parsed; empty if it may.
    """
    notebook = read_notebook(text)
    if notebook is None:
        return None
    code = _ALIASES.get(notebook.language, notebook.language)
    chunks: list[Chunk] = []
    first_trouble = trouble
    for cell in notebook.cells:
        content = "\n".join(cell.lines)
        if not content.strip():
            continue
        language = {"code": code, "markdown": "markdown"}.get(cell.kind, TEXT)
        cut = cut_by_lines(content, language, config, trouble) if trouble else cut_text(content, language, config)
        first_trouble = first_trouble or cut.trouble
        chunks.extend(_move_to_file(chunk, cell) for chunk in cut.chunks)
    return Cut(chunks, first_trouble)


def _move_to_file(chunk: Chunk, cell: Cell) -> Chunk:
    """A chunk of a cell's text as one of the file."""
    name = f"cell {cell.number}"
    return replace(
        chunk,
        first_line=cell.file_lines[chunk.first_line - 1],
        last_line=cell.file_lines[chunk.last_line - 1],
        symbol=chunk.symbol or name,
        context=f"{name}\n{chunk.context}" if chunk.context else name,
    )
