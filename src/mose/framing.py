"""The lines around a piece of code that tell the encoder where it stands and what it defines.

Search and training write them alike, or a trained model would meet them for the first time in a search.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def frame(path: str, names: Iterable[str] = ()) -> tuple[str, str]:
    r"""What stands above and below a piece of code: names of its file and folder, and once more with its names.

    The blocks of an encoder read the beginning of a text, so that the place stands above. Exit 0 counts all words,
    so that what is said once more below weighs more than a word of the code. Folders further out say little of a
    piece of code, and without them a tree that moves keeps its vectors.

    Args:
        path: Of the file, "/" between folders; empty where it is not known.
        names: Defined by the code; qualified or not.

    Example:
        >>> frame("src/aiohttp/client_proto.py", ["Handler.feed"])
        ('aiohttp/client_proto\n', '\naiohttp/client_proto Handler.feed')
        >>> frame("setup.py"), frame("")
        (('setup\n', '\nsetup'), ('', ''))
    """
    place = "/".join(PurePosixPath(path).with_suffix("").parts[-2:]) if path else ""
    below = " ".join(filter(None, (place, *names)))
    return f"{place}\n" if place else "", f"\n{below}" if below else ""


def framed(path: str, code: str) -> str:
    r"""A piece of code in its frame, its names not told.

    Example:
        >>> framed("src/aiohttp/client_proto.py", "def feed(): ...")
        'aiohttp/client_proto\ndef feed(): ...\naiohttp/client_proto'
    """
    above, below = frame(path)
    return f"{above}{code}{below}"
