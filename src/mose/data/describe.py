"""Comments for code whose documentation has become the query.

Other code still has its documentation, and a model that never sees any embeds it badly, so some of the query's words
are returned to some codes.
"""

from __future__ import annotations

from numpy.random import Generator

_HASH = frozenset({"python", "ruby", "shell", "perl", "r", "elixir", "julia"})
_SHARE = 0.5


def add_description(code: str, text: str, language: str, rng: Generator) -> str:
    r"""Prepend a comment made of half of the text's words, chosen by ``rng``, in their order.

    Example:
        >>> import numpy as np
        >>> add_description("f(x)", "parse an ISO date", "python", np.random.default_rng(0))
        '# an ISO date\nf(x)'
    """
    words = [word for word in text.split() if rng.random() < _SHARE]
    if not words:
        return code
    return f"{'#' if language in _HASH else '//'} {' '.join(words)}\n{code}"
