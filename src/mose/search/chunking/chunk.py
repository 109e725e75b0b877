"""One chunk of a file, and the text that the encoder reads of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mose.framing import frame
from mose.search.chunking.names import DefinedName


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Lines ``first_line..last_line`` (1-based, inclusive) of one file.

    Parts of a line that was too long for one chunk share its number.
    """

    first_line: int
    last_line: int
    language: str
    kind: str  # of the definition it shows most of; "module", "section" or "text" outside definitions
    symbol: str  # "Class.method"; "" if none; the title for a section of a document
    signature: str  # of that definition, on one line
    context: str = ""  # signatures that enclose the text but are not in it, one a line, outermost first
    names: tuple[DefinedName, ...] = ()  # defined in these lines
    text: str

    @property
    def defines(self) -> tuple[str, ...]:
        """The distinct names, unqualified."""
        return tuple(dict.fromkeys(name.name for name in self.names))


def embedding_frame(chunk: Chunk, path: str) -> tuple[str, str]:
    """The lines above and below a chunk's text for the encoder: its path, the enclosing signatures, its names."""
    above, below = frame(path, (chunk.symbol, *chunk.defines))
    return f"{above}{chunk.context}\n" if chunk.context else above, below


def embedding_text(chunk: Chunk, path: str) -> str:
    r"""What the encoder reads: the chunk's text in its frame.

    Example:
        >>> names = (DefinedName("m2", "A", "member", 0),)
        >>> chunk = Chunk(
        ...     first_line=7, last_line=8, language="python", kind="function", symbol="A.m2", signature="def m2(self):",
        ...     context="class A(B):", names=names, text="    def m2(self):\n        return 2",
        ... )
        >>> print(embedding_text(chunk, "src/shop/cart.py"))
        shop/cart
        class A(B):
            def m2(self):
                return 2
        shop/cart A.m2 m2
    """
    above, below = embedding_frame(chunk, path)
    return f"{above}{chunk.text}{below}"


def embedding_key(language: str, text: str) -> bytes:
    """The key under which a vector is shared: 16 bytes of language and embedding text."""
    data = f"{language}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()
