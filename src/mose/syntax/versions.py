"""Versions of installed grammars, found without loading them: every search compares them with the index."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from importlib.machinery import PathFinder

from mose.syntax.grammars import MODULES

BY_LINES = "lines"
_READ_AS_OTHERS = {"c": ("c", "cpp"), "jupyter": ("python",)}  # C headers, and code cells
_DIST_INFO = re.compile(r"([\w.]+)-([^-]+)\.dist-info")


@cache
def parser_of(language: str) -> str:
    """Names and versions of the grammars that split files of a language, "lines" if there are none.

    Example:
        >>> parser_of("python").split()[0], parser_of("markdown")
        ('tree_sitter_python', 'lines')
    """
    core = _version("tree_sitter")
    found = []
    for name in _READ_AS_OTHERS.get(language, (language,)):
        module = MODULES[name][0] if name in MODULES else ""
        version = _version(module) if module else ""
        if version:
            found.append(f"{module} {version}")
    if not found or not core:
        return BY_LINES
    return f"{', '.join(found)} (tree_sitter {'.'.join(core.split('.')[:2])})"


@cache
def _version(module: str) -> str:
    """Version of an installed module, a hash of its files if it has no metadata, "" if it is not installed."""
    spec = PathFinder.find_spec(module)  # as a worker finds it, whatever this process has loaded
    if spec is None or spec.origin is None:
        return ""
    folder = os.path.dirname(spec.origin)
    version = _installed(os.path.dirname(folder)).get(module)
    if version is None:
        files = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(folder) if entry.is_file())
        version = "0+" + hashlib.blake2b(repr(files).encode(), digest_size=6).hexdigest()
    return version


@cache
def _installed(folder: str) -> dict[str, str]:
    """Module -> version of what is installed in a folder, from file names: `importlib.metadata` is slow."""
    matches = map(_DIST_INFO.fullmatch, os.listdir(folder))
    return {match[1].replace("-", "_"): match[2] for match in matches if match}
