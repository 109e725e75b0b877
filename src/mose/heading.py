"""The line above a piece of code that tells the encoder where it stands.

Search and training write it alike, or a trained model would meet it for the first time in a search.
"""

from __future__ import annotations

from pathlib import PurePosixPath


def headed(path: str, code: str) -> str:
    r"""The code below the names of its file and of the folder around it, without the ending.

    Folders further out say little of a piece of code, and without them a tree that moves keeps its vectors.

    Example:
        >>> headed("src/aiohttp/client_proto.py", "def feed(): ...")
        'aiohttp/client_proto\ndef feed(): ...'
        >>> headed("setup.py", "x = 1"), headed("", "x = 1")
        ('setup\nx = 1', 'x = 1')
    """
    place = "/".join(PurePosixPath(path).with_suffix("").parts[-2:]) if path else ""
    return f"{place}\n{code}" if place else code
