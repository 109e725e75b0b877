"""``/v1/embeddings`` in OpenAI's format: the exit is part of the model's name, the width is ``dimensions``."""

from __future__ import annotations

import base64
import threading
from typing import Any

from mose.errors import ConfigError
from mose.runtime.encoder import Encoder
from mose.serve.fields import TEXT, TEXTS, integer, one_of, read_fields
from mose.serve.token_cost import cost
from mose.serve.trees import stop_if

MOST_TEXTS = 512
MOST_CHARS = 100_000
"""Characters of one text; the encoder reads its beginning."""
KINDS = {
    "input": TEXTS,
    "model": TEXT,
    "dimensions": integer(1, 1_000_000),
    "encoding_format": one_of("float", "base64"),
    "kind": one_of("code", "query"),
    "user": TEXT,
}


def models(encoder: Encoder) -> list[str]:
    """The names that a request may give: the model, and the model at each exit."""
    name = encoder.manifest.name
    return [name, *(f"{name}@{exit_layer}" for exit_layer in encoder.exits)]


def embed(encoder: Encoder, body: bytes, cancelled: threading.Event) -> dict[str, Any]:
    """The answer to a request for embeddings.

    Raises:
        ConfigError: The request is invalid or too large.
        ModelError: The model has no such exit or width.
        StoppedError: The request was cancelled.
    """
    fields = read_fields(body, KINDS, ("input", "model"))
    texts = [fields["input"]] if isinstance(fields["input"], str) else fields["input"]
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise ConfigError("number of texts in input", got=len(texts), allowed=f"1 to {MOST_TEXTS}")
    for position, text in enumerate(texts):
        if not 1 <= len(text) <= MOST_CHARS:
            raise ConfigError(f"length of input {position}", got=len(text), allowed=f"1 to {MOST_CHARS:,} characters")
    name = fields["model"]
    if name not in models(encoder):
        raise ConfigError("model", got=name, allowed=", ".join(models(encoder)))
    _, _, exit_layer = name.partition("@")
    chosen = encoder.at(exit=int(exit_layer) if exit_layer else None, width=fields.get("dimensions"))

    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    vectors = chosen.encode(clean, kind=fields.get("kind", "code"), progress=stop_if(cancelled))
    as_text = fields.get("encoding_format") == "base64"
    rows = [
        base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") if as_text else vector.tolist()
        for vector in vectors
    ]
    num_tokens = sum(cost(text).words for text in clean)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": name,
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
