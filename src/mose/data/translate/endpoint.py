"""Ask a server that speaks OpenAI's chat completions, such as vLLM or llama.cpp, and keep each answer as it comes.

In: requests of a batch file. Out: a ledger of answers in the batch format, one JSON object a line. Whoever is killed
goes on with what the ledger lacks: a request is identified by its ``custom_id``, sent as ``Idempotency-Key`` too.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from mose.errors import EndpointError, require
from mose.progress import Progress, ProgressCallback, no_progress

_TRIED_AGAIN = frozenset({408, 409, 425, 429})
_REFUSED = frozenset({401, 403, 404, 405})
"""Status of a key, model or address that is wrong for every request."""
_LONGEST_PAUSE = 60.0
_CHARS_PER_TOKEN = 3.5
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server and how it is asked."""

    url: str
    """Up to and including the version: "http://localhost:8000/v1"."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token, never written anywhere."""
    concurrency: int = 8
    """Requests at a time."""
    per_minute: int = 0
    """Requests sent in a minute at most; 0 does not limit."""
    timeout: float = 120.0
    """Seconds for one answer."""
    attempts: int = 6
    """Times a request is sent while the server fails, is busy or cannot be reached."""
    first_pause: float = 0.5
    """Seconds before the second attempt; doubled for each further one, up to a minute."""

    def __post_init__(self) -> None:
        require(urlsplit(self.url).scheme in ("http", "https"), "endpoint", self.url, "http:// or https://")
        for name in ("concurrency", "timeout", "attempts"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        require(self.per_minute >= 0, "per_minute", self.per_minute, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the requests that are left will take, at most."""

    requests: int
    prompt_tokens: int
    """Of 3.5 characters; the server's tokenizer may differ."""
    written_tokens: int
    """If every answer is as long as allowed."""

    def cost(self, per_million: tuple[float, float]) -> float:
        """Price of all tokens, given those of a million prompt tokens and a million written ones."""
        return (self.prompt_tokens * per_million[0] + self.written_tokens * per_million[1]) / 1e6


def estimate(requests: Iterable[Mapping[str, Any]]) -> Estimate:
    """Tokens of requests in the batch format."""
    count = chars = written = 0
    for request in requests:
        count += 1
        chars += sum(len(message["content"]) for message in request["body"]["messages"])
        written += int(request["body"].get("max_tokens", 0))
    return Estimate(requests=count, prompt_tokens=round(chars / _CHARS_PER_TOKEN), written_tokens=written)


def answered(ledger: Path) -> set[str]:
    """Requests that a ledger has an answer to; the piece of a line that a killed process left is cut off."""
    try:
        content = ledger.read_bytes()
    except FileNotFoundError:
        return set()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with ledger.open("r+b") as file:
            file.truncate(len(whole))
    found = set()
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            found.add(str(json.loads(line)["custom_id"]))
        except (ValueError, KeyError, TypeError) as error:
            raise EndpointError(f"{ledger}, line {number} is not an answer", remedy="Remove the line.") from error
    return found


def answer_all(
    requests: Sequence[Mapping[str, Any]],
    ledger: Path,
    endpoint: Endpoint,
    *,
    progress: ProgressCallback = no_progress,
) -> int:
    """Ask for every request that the ledger has no answer to, and add the answers to it.

    A request that the server calls wrong is answered with that error. One that it never answered stays out.

    Args:
        requests: In the batch format, with different ``custom_id``.
        ledger: File of answers; made if it is missing.
        endpoint: The server.
        progress: Called with the number of answers so far.

    Returns:
        Number of requests without an answer: more than 0 only if the server failed on them again and again.

    Raises:
        EndpointError: The server cannot be reached, or refuses the key, the model or the address.
    """
    known = answered(ledger)
    todo = [request for request in requests if request["custom_id"] not in known]
    if not todo:
        return 0
    with ledger.open("ab") as file:
        client = _Client(endpoint, file, len(requests) - len(todo), len(requests), progress)
        asyncio.run(client.run(todo))
    return len(todo) - client.written


class _Client:
    def __init__(
        self, endpoint: Endpoint, ledger: IO[bytes], done: int, total: int, progress: ProgressCallback
    ) -> None:
        self.written = 0
        self._endpoint = endpoint
        self._ledger = ledger
        self._done, self._total, self._progress = done, total, progress
        self._open_from = 0.0  # when the server may be asked again
        self._next_slot = 0.0
        self._failed_in_a_row = 0
        self._last_fault = ""

    async def run(self, requests: Sequence[Mapping[str, Any]]) -> None:
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        waiting = iter(requests)
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(self._endpoint.timeout, connect=min(10.0, self._endpoint.timeout)),
            limits=httpx.Limits(max_connections=self._endpoint.concurrency),
            headers=headers,
            trust_env=urlsplit(self._endpoint.url).hostname not in _LOOPBACK,
        ) as http:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._endpoint.concurrency, len(requests))):
                        group.create_task(self._work(http, waiting))
            except* EndpointError as errors:
                raise errors.exceptions[0] from None

    async def _work(self, http: httpx.AsyncClient, waiting: Iterable[Mapping[str, Any]]) -> None:
        for request in waiting:
            answer = await self._answer(http, request)
            if answer is None:
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= self._endpoint.concurrency:
                    raise EndpointError(
                        f"{self._endpoint.url} does not answer ({self._last_fault})",
                        remedy=f"{self._done:,} of {self._total:,} answers are kept; once the server is back, the same"
                        " command goes on.",
                    )
                continue
            self._failed_in_a_row = 0
            self._ledger.write((json.dumps(answer, ensure_ascii=False) + "\n").encode("utf8", "replace"))
            self._ledger.flush()
            self.written += 1
            self._done += 1
            self._progress(Progress("answers", self._done, self._total))

    async def _answer(self, http: httpx.AsyncClient, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer as a line of the ledger; None if the server failed at every attempt."""
        body = request["body"] | {"model": self._endpoint.model}
        pause = self._endpoint.first_pause
        for attempt in range(self._endpoint.attempts):
            if attempt:
                # Not all at the same moment again.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE)
            await self._wait_for_turn()
            try:
                response = await http.post(
                    f"{self._endpoint.url.rstrip('/')}/chat/completions",
                    json=body,
                    headers={"Idempotency-Key": str(request["custom_id"])},
                )
            except (httpx.TransportError, httpx.DecodingError) as error:
                self._last_fault = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            status = response.status_code
            if status in _REFUSED:
                raise EndpointError(
                    f"{self._endpoint.url} refuses the request with status {status}: {_said(response)}",
                    remedy="Check --endpoint, --model and the key.",
                )
            if status in _TRIED_AGAIN or status >= 500:
                self._last_fault = f"status {status}"
                self._hold_back(response.headers.get("Retry-After"))
                continue
            if status >= 400:
                return {"custom_id": request["custom_id"], "response": None,
                        "error": {"code": status, "message": _said(response)}}  # fmt: skip
            found = _completion(response)
            if found is not None:
                answer = {"status_code": status, "body": found}
                return {"custom_id": request["custom_id"], "response": answer, "error": None}
            self._last_fault = "answers are not chat completions in JSON"
        return None

    async def _wait_for_turn(self) -> None:
        if self._endpoint.per_minute:
            slot = max(self._next_slot, time.monotonic())
            self._next_slot = slot + 60.0 / self._endpoint.per_minute
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
        while (left := self._open_from - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _hold_back(self, retry_after: str | None) -> None:
        """Nobody asks before the time that the server names, in seconds or as a date."""
        if retry_after is None:
            return
        seconds = 0.0
        with suppress(ValueError, TypeError):
            seconds = float(retry_after)
        if not seconds and not retry_after.strip().isdigit():
            with suppress(ValueError, TypeError):
                seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        until = time.monotonic() + min(max(seconds, 0.0), 10 * _LONGEST_PAUSE)
        self._open_from = max(self._open_from, until)


def _completion(response: httpx.Response) -> dict[str, Any] | None:
    """The body if it is a chat completion with a text."""
    try:
        body = response.json()
        return body if isinstance(body["choices"][0]["message"]["content"], str) else None
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _said(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:300] or "no reason"
