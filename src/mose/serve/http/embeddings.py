"""``/v1/embeddings`` in OpenAI's format: the exit is part of the model's name, the width is ``dimensions``."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from mose.errors import ConfigError
from mose.runtime.encoder import Encoder
from mose.serve.fields import TEXT, TEXTS, Fields, integer, one_of
from mose.serve.http.calls import Call, run_in
from mose.serve.http.encoding import EncodingQueue
from mose.serve.http.metrics import Metrics
from mose.serve.token_cost import cost
from mose.serve.trees import Trees, stop_if

MOST_TEXTS = 512
MOST_CHARS = 100_000
"""Characters of one text; the encoder reads its beginning."""
_NUM_THREADS = 2


class Embeddings:
    """Answers requests for embeddings.

    Requests for exit 0 take a millisecond and have threads of their own: none waits for texts of a deeper exit, which
    go through one queue.

    Args:
        trees: Whose model is used.
        metrics: Told of the time of each stage.
    """

    def __init__(self, trees: Trees, metrics: Metrics) -> None:
        self._trees = trees
        self._encoder = trees.load()
        self._metrics = metrics
        self._queue = EncodingQueue(metrics)
        self._shallow = ThreadPoolExecutor(_NUM_THREADS, "mose-shallow")
        self._deep = ThreadPoolExecutor(_NUM_THREADS, "mose-deep")
        self.fields = embedding_fields(self._encoder)

    @property
    def num_waiting(self) -> int:
        """Texts that wait for the model."""
        return self._queue.num_waiting

    async def answer(self, call: Call) -> Response:
        """The response to a request.

        Raises:
            MoseError: The request is refused.
            OverloadError: Too much is waiting.
        """
        with self._trees.asking():
            asked = await run_in(self._shallow, lambda: self._begin(call))
            if isinstance(asked, Response):
                return asked
            self._queue.require_room()  # before the texts are tokenised
            ids, num_tokens = await run_in(self._deep, lambda: self._tokenise(asked))
            vectors = await asyncio.wrap_future(self._queue.submit(asked.encoder, asked.texts, ids))
            return await run_in(self._deep, lambda: asked.response(vectors, num_tokens))

    def _begin(self, call: Call) -> Asked | Response:
        """The response at exit 0; the request at other exits."""
        started = time.perf_counter()
        asked = Asked.read(self._encoder, call.values())
        if asked.encoder.exit:
            return asked
        self._metrics.add_time("queue", 0, started - call.arrived)
        with self._metrics.timed("tokenisation", 0):
            num_tokens = asked.num_tokens()
        with self._metrics.timed("encoding", 0):
            vectors = asked.encoder.encode(asked.texts, progress=stop_if(call.cancelled))
        return asked.response(vectors, num_tokens)

    def _tokenise(self, asked: Asked) -> tuple[list[list[int]], int]:
        with self._metrics.timed("tokenisation", asked.encoder.exit):
            return asked.encoder.token_ids(asked.texts, kind=asked.kind), asked.num_tokens()


def embedding_fields(encoder: Encoder) -> Fields:
    """The fields of a request to this model."""
    kinds = {
        "input": _INPUT,
        "model": one_of(*models(encoder)),
        "dimensions": integer(1, max(encoder.manifest.widths.values())),
        "encoding_format": one_of("float", "base64"),
        "kind": one_of("code", "query"),
        "user": TEXT,
    }
    return Fields(kinds=kinds, required=("input", "model"))


def models(encoder: Encoder) -> list[str]:
    """The names that a request may give: the model, and the model at each exit."""
    name = encoder.manifest.name
    return [name, *(f"{name}@{exit_layer}" for exit_layer in encoder.exits)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for embeddings."""

    model: str
    encoder: Encoder
    """At the exit and width of the request."""
    texts: tuple[str, ...]
    kind: Literal["code", "query"]
    as_base64: bool

    @classmethod
    def read(cls, encoder: Encoder, values: Mapping[str, Any]) -> Asked:
        """The request in the fields of a body.

        Raises:
            ConfigError: The request is invalid or too large.
            ModelError: The exit has no such width.
        """
        texts = [values["input"]] if isinstance(values["input"], str) else values["input"]
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise ConfigError("number of texts in input", got=len(texts), allowed=f"1 to {MOST_TEXTS}")
        for position, text in enumerate(texts):
            if not 1 <= len(text) <= MOST_CHARS:
                raise ConfigError(
                    f"length of input {position}", got=len(text), allowed=f"1 to {MOST_CHARS:,} characters"
                )
        _, _, exit_layer = values["model"].partition("@")
        return cls(
            model=values["model"],
            encoder=encoder.at(exit=int(exit_layer) if exit_layer else None, width=values.get("dimensions")),
            texts=tuple(text.encode("utf-8", "replace").decode() for text in texts),
            kind=values.get("kind", "code"),
            as_base64=values.get("encoding_format") == "base64",
        )

    def num_tokens(self) -> int:
        """Tokens of the whole texts, those that the encoder does not read included."""
        return sum(cost(text).words for text in self.texts)

    def response(self, vectors: NDArray[np.float32], num_tokens: int) -> Response:
        """The vectors as a response; written row by row, so that other threads can run in between."""
        rows = (_row(vector, as_base64=self.as_base64) for vector in vectors)
        data = ",".join(f'{{"object":"embedding","index":{index},"embedding":{row}}}' for index, row in enumerate(rows))
        usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
        end = json.dumps({"model": self.model, "usage": usage}, separators=(",", ":"))
        return Response(f'{{"object":"list","data":[{data}],{end[1:]}'.encode(), media_type="application/json")


def _row(vector: NDArray[np.float32], *, as_base64: bool) -> str:
    if as_base64:
        return f'"{base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")}"'
    return json.dumps(vector.tolist(), separators=(",", ":"))


_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MOST_CHARS}
_TEXTS_SCHEMA = {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1, "maxItems": MOST_TEXTS}
_INPUT = TEXTS._replace(schema={"anyOf": [_TEXT_SCHEMA, _TEXTS_SCHEMA]})
