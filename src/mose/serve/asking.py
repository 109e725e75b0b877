"""Requests to trees that HTTP and MCP share: search, code like that at a line, lines of a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mose.errors import ConfigError, MoseError, SourceError
from mose.search.hits import Hit, Hits
from mose.search.options import SearchOptions
from mose.search.ranking.several import fuse, fuse_for_budget, options_of_each
from mose.search.snippet import Lines
from mose.serve.trees import Ready, Tree, Trees, stop_if


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much of a tree has been read at the exit of a search."""

    exit: int | None
    """None if only words were compared."""
    num_read: int
    num_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer to a search over trees."""

    hits: tuple[tuple[Tree, Hit], ...]
    depths: dict[Tree, Depth]
    notes: tuple[str, ...]
    """What to know about the answer, one sentence each."""


def search(
    trees: Trees, asked: Sequence[Tree], query: str, options: SearchOptions, cancelled: threading.Event
) -> Found:
    """The best chunks of the trees for a query, in one ranking.

    Args:
        trees: All open trees.
        asked: The trees to search. One that is gone is left out with a note, unless all are.
        query: What to look for.
        options: How to search; the budget is for all trees together.
        cancelled: Set when the answer is no longer wanted.

    Raises:
        StoppedError: The call was cancelled.
        MoseError: No tree can be searched, or the query or an option is refused.
    """
    share = options_of_each(options, len(asked))

    def ask(ready: Ready) -> Hits:
        return ready.index.search(query, share, progress=stop_if(cancelled))

    return _ask_all(trees, asked, ask, options, cancelled)


def similar(
    trees: Trees, tree: Tree, path: str, line: int, options: SearchOptions, cancelled: threading.Event
) -> Found:
    """Code like that at a line of a file, in the same tree.

    Args:
        trees: All open trees.
        tree: The tree of the file.
        path: The file, relative to its tree.
        line: Counted from 1.
        options: How to search.
        cancelled: Set when the answer is no longer wanted.

    Raises:
        StoppedError: The call was cancelled.
        MoseError: The tree cannot be read or has no such line, or an option is refused.
    """

    def ask(ready: Ready) -> Hits:
        return ready.index.like(path, line, options, progress=stop_if(cancelled))

    return _ask_all(trees, [tree], ask, options, cancelled)


def read_lines(
    trees: Trees, tree: Tree, path: str, line: int, last_line: int | None, cancelled: threading.Event
) -> Lines:
    """Lines of an indexed file; of the definition that holds ``line`` if ``last_line`` is None.

    Raises:
        StoppedError: The call was cancelled.
        MoseError: The tree cannot be read, or its index has no such line.
    """
    with trees.asking():
        return tree.ready(cancelled).index.lines(path, line, last_line)


def read_file(trees: Trees, tree: Tree, path: str, line: int, cancelled: threading.Event) -> Lines:
    """The lines of an indexed file around one of them: all, unless the file is very long.

    Raises:
        StoppedError: The call was cancelled.
        MoseError: The tree cannot be read, or its index has no such file.
    """
    with trees.asking():
        return tree.ready(cancelled).index.file(path, around=line)


def tree_named(asked: Sequence[Tree], names: dict[Tree, str], name: str) -> Tree:
    """The tree that a request names, by its short name or its folder.

    Raises:
        ConfigError: There is no such tree.
    """
    for tree in asked:
        if name in (names[tree], str(tree.root)):
            return tree
    raise ConfigError("tree", got=name, allowed=", ".join(names[tree] for tree in asked))


def short_names(asked: Sequence[Tree]) -> dict[Tree, str]:
    """A name for each tree: its folder's, with a number if several have the same."""
    names: dict[Tree, str] = {}
    for tree in asked:
        plain = name = tree.root.name or "root"
        number = 1
        while name in names.values():
            number += 1
            name = f"{plain}-{number}"
        names[tree] = name
    return names


def _ask_all(
    trees: Trees,
    asked: Sequence[Tree],
    ask: Callable[[Ready], Hits],
    options: SearchOptions,
    cancelled: threading.Event,
) -> Found:
    found: list[tuple[Tree, Hits]] = []
    notes: list[str] = []
    refused: MoseError | None = None
    with trees.asking():
        for tree in asked:
            try:
                ready = tree.ready(cancelled)
                hits = ask(ready)
            except (SourceError, ConfigError) as error:  # the tree is gone, or a filter matches none of its files
                refused = refused or error
                if len(asked) > 1:
                    notes.append(f"{tree.root.name}: {error.what}.")
                continue
            found.append((tree, hits))
            notes += ready.notes
            left = hits.stats.num_short - hits.stats.num_deep
            if hits.stats.exit and left:
                notes.append(f"Time was up before {left:,} more candidates were read closely.")
            if hits and not hits.stats.has_words:
                notes.append("No word of the query occurs here: these are the nearest by meaning.")
    if refused is not None and not found:
        raise refused
    for tree, _ in found:
        tree.deepen()
    ranked = _fuse([hits for _, hits in found], options)
    depths = {
        tree: Depth(exit=hits.stats.exit, num_read=hits.stats.num_read, num_chunks=hits.stats.num_chunks)
        for tree, hits in found
    }
    return Found(
        hits=tuple((found[number][0], hit) for number, hit in ranked), depths=depths, notes=tuple(dict.fromkeys(notes))
    )


def _fuse(found: Sequence[Hits], options: SearchOptions) -> list[tuple[int, Hit]]:
    if options.limit_tokens is None:
        return fuse(found, options.limit)
    return fuse_for_budget(found, options.limit_tokens)
