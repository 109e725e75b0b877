"""Search source code by meaning, offline, with an encoder that can stop at any depth.

Example:
    >>> import mose
    >>> index = mose.CodeIndex.open(".")                             # doctest: +SKIP
    >>> index.search("parse an ISO date", mose.SearchOptions(limit=3))     # doctest: +SKIP
"""

# Imports nothing but what every Python process has loaded already, not even `__future__`: this runs before the current
# folder leaves `sys.path`.
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mose.errors import MoseError
    from mose.runtime.encoder import Encoder
    from mose.search.hits import Hit
    from mose.search.index import CodeIndex
    from mose.search.options import SearchOptions

__version__ = "0.1.0"
__all__ = ["CodeIndex", "Encoder", "Hit", "MoseError", "SearchOptions", "__version__"]

_HOME = {
    "CodeIndex": "mose.search.index",
    "Encoder": "mose.runtime.encoder",
    "Hit": "mose.search.hits",
    "MoseError": "mose.errors",
    "SearchOptions": "mose.search.options",
}

# ONNX Runtime 1.29 and later reports its use to its maker, unless it finds this at the moment it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def __getattr__(name: str) -> object:
    """Public names are imported on first use, so that ``import mose`` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'mose' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted({*globals(), *__all__})
