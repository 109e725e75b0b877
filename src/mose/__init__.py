"""Search source code by meaning, offline, with an encoder that can stop at any depth.

Example:
    >>> import mose
    >>> index = mose.CodeIndex.open(".")                             # doctest: +SKIP
    >>> index.search("parse an ISO date", limit=3)                   # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mose.errors import MoseError
    from mose.runtime.encoder import Encoder
    from mose.search.hits import Hit
    from mose.search.query import CodeIndex

__version__ = "0.1.0"
__all__ = ["CodeIndex", "Encoder", "Hit", "MoseError", "__version__"]

_HOME = {
    "CodeIndex": "mose.search.query",
    "Encoder": "mose.runtime.encoder",
    "Hit": "mose.search.hits",
    "MoseError": "mose.errors",
}


def __getattr__(name: str) -> Any:
    """Public names are imported on first use, so that ``import mose`` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'mose' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
