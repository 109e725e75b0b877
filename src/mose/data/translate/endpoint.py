"""Ask a server that speaks OpenAI's chat completions, such as vLLM or llama.cpp, and keep each answer as it comes.

In: requests of a batch file. Out: a ledger of answers in the batch format, one JSON object a line. Whoever is killed
goes on with what the ledger lacks: a request is identified by its ``custom_id``, sent as ``Idempotency-Key`` too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

import httpx

from mose.data.translate.ledger import open_ledger, write_answer
from mose.errors import ConfigError, EndpointError, require
from mose.json_reading import parse_json
from mose.progress import Progress, ProgressCallback, no_progress

_TRIED_AGAIN = frozenset({408, 409, 425, 429})
_REFUSED = frozenset({401, 403, 404, 405})
"""Status of a key, model or address that is wrong for every request."""
_LONGEST_PAUSE = 60.0
_CHARS_PER_TOKEN = 3.5
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONGEST_ANSWER = 8_000_000  # bytes


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
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ConfigError(
                "endpoint", got=self.url, allowed="an address such as http://localhost:8000/v1"
            ) from error
        # A password in the address would be seen in messages and in the list of processes.
        allowed = "http:// or https:// and a host, up to the version; the key by --key-from"
        is_plain = not (url.userinfo or url.query or url.fragment)
        require(is_plain, "endpoint with a password, query or fragment", url.host, allowed)
        require(url.scheme in ("http", "https") and bool(url.host), "endpoint", self.url, allowed)
        if not (self.key.isascii() and self.key.isprintable()):
            raise ConfigError(
                "the key has characters that cannot be sent", remedy="Set its environment variable again."
            )
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

    def hours(self, per_second: tuple[float, float], *, per_minute: int = 0) -> float:
        """Time for all of it at so many prompt tokens and written tokens a second, and requests a minute (0: any)."""
        seconds = self.prompt_tokens / per_second[0] + self.written_tokens / per_second[1]
        return max(seconds / 3600, self.requests / per_minute / 60 if per_minute else 0.0)


def estimate(requests: Iterable[Mapping[str, Any]]) -> Estimate:
    """Tokens of requests in the batch format."""
    count = chars = written = 0
    for request in requests:
        count += 1
        chars += sum(len(message["content"]) for message in request["body"]["messages"])
        written += int(request["body"].get("max_tokens", 0))
    return Estimate(requests=count, prompt_tokens=round(chars / _CHARS_PER_TOKEN), written_tokens=written)


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
    with open_ledger(ledger) as (file, known):
        todo = [request for request in requests if request["custom_id"] not in known]
        if not todo:
            return 0
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
        waiting = iter(requests)
        async with self._connected() as http:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._endpoint.concurrency, len(requests))):
                        group.create_task(self._work(http, waiting))
            except* (EndpointError, OSError) as errors:  # the ledger's disk may be full
                raise errors.exceptions[0] from None
        if not self._done:
            raise self._no_answer()

    def _connected(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                timeout=httpx.Timeout(self._endpoint.timeout, connect=min(10.0, self._endpoint.timeout)),
                limits=httpx.Limits(max_connections=self._endpoint.concurrency),
                headers={"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {},
                trust_env=httpx.URL(self._endpoint.url).host not in _LOOPBACK,
            )
        except (ValueError, ImportError) as error:  # of another kind than HTTP, or without its package
            raise ConfigError("the proxy that the environment names cannot be used",
                              remedy="Set HTTPS_PROXY and ALL_PROXY to an http:// address, or the server's host in"
                              " NO_PROXY.") from error  # fmt: skip

    def _no_answer(self) -> EndpointError:
        return EndpointError(
            f"{self._endpoint.url} does not answer ({self._last_fault})",
            remedy=f"{self._done:,} of {self._total:,} answers are kept; once the server is back, the same command"
            " goes on.",
        )

    async def _work(self, http: httpx.AsyncClient, waiting: Iterable[Mapping[str, Any]]) -> None:
        for request in waiting:
            answer = await self._answer(http, request)
            if answer is None:
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= self._endpoint.concurrency:
                    raise self._no_answer()
                continue
            self._failed_in_a_row = 0
            write_answer(self._ledger, answer)
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
                async with asyncio.timeout(self._endpoint.timeout):
                    response, text = await self._post(http, body, str(request["custom_id"]))
            except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
                self._last_fault = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            status = response.status_code
            if response.has_redirect_location:
                raise EndpointError(
                    f"{self._endpoint.url} sends on to {self._masked(response.headers['Location'])}",
                    remedy="Give --endpoint the address that it has now.",
                )
            if status in _REFUSED:
                raise EndpointError(
                    f"{self._endpoint.url} refuses the request with status {status}: {self._masked(text)}",
                    remedy="Check --endpoint, --model and the key.",
                )
            if status in _TRIED_AGAIN or status >= 500:
                self._last_fault = f"status {status}"
                self._hold_back(response.headers.get("Retry-After"))
                continue
            if status >= 400:
                return {"custom_id": request["custom_id"], "response": None,
                        "error": {"code": status, "message": self._masked(text)}}  # fmt: skip
            found = _completion(text)
            if found is not None:
                answer = {"status_code": status, "body": found}
                return {"custom_id": request["custom_id"], "response": answer, "error": None}
            self._last_fault = "answers are not chat completions in JSON"
        return None

    async def _post(self, http: httpx.AsyncClient, body: Mapping[str, Any], id_: str) -> tuple[httpx.Response, str]:
        """The response and its text, as much as an answer may have; what is cut off is no JSON."""
        url = f"{self._endpoint.url.rstrip('/')}/chat/completions"
        content = bytearray()
        async with http.stream("POST", url, json=body, headers={"Idempotency-Key": id_}) as response:
            async for piece in response.aiter_bytes(65_536):
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    break
        return response, content[:_LONGEST_ANSWER].decode("utf8", "replace")

    def _masked(self, text: str) -> str:
        """The beginning of what a server said; some repeat the key."""
        if self._endpoint.key:
            text = text.replace(self._endpoint.key, "(the key)")
        return " ".join(text.split())[:300] or "no reason"

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


def _completion(text: str) -> dict[str, Any] | None:
    """The body if it is a chat completion with a text."""
    try:
        body = parse_json(text)
        return body if isinstance(body["choices"][0]["message"]["content"], str) else None
    except (ValueError, KeyError, IndexError, TypeError):
        return None
