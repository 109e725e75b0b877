"""The frame of a piece of code: the names of its file and folder around it, for the encoder.

Search and training frame code in the same way, so that training sees what search sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def frame(path: str, names: Iterable[str] = ()) -> tuple[str, str]:
    r"""Text above and below a piece of code: the names of its file and folder, and below also the names it defines.

    The blocks of an encoder read the beginning of a text, so the file comes above. Exit 0 counts all words, so the
    repetition below gives these names more weight. Outer folders say little about a piece of code, and without them
    a tree that moves keeps its vectors.

    Args:
        path: Of the file, "/" between folders; empty where it is not known.
        names: Defined by the code; qualified or not.

    Example:
        >>> frame("src/aiohttp/client_proto.py", ["Handler.feed"])
        ('aiohttp/client_proto\n', '\naiohttp/client_proto Handler.feed')
        >>> frame("setup.py"), frame("")
        (('setup\n', '\nsetup'), ('', ''))
    """
    location = "/".join(PurePosixPath(path).with_suffix("").parts[-2:]) if path else ""
    below = " ".join(filter(None, (location, *names)))
    return f"{location}\n" if location else "", f"\n{below}" if below else ""


def add_frame(path: str, code: str) -> str:
    r"""A piece of code in its frame, without the names it defines.

    Example:
        >>> add_frame("src/aiohttp/client_proto.py", "def feed(): ...")
        'aiohttp/client_proto\ndef feed(): ...\naiohttp/client_proto'
    """
    above, below = frame(path)
    return f"{above}{code}{below}"
