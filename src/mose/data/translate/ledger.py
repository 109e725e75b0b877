"""The ledger of a folder: every answer that came, one JSON object a line, in OpenAI's batch format.

Lines are only added. Whoever is killed leaves whole lines and perhaps a piece of one, which the next run cuts off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mose.errors import EndpointError
from mose.json_reading import parse_json

_SUCCESS = 200


def is_failed(answer: Mapping[str, Any]) -> bool:
    """True if an answer is an error, as a server tells it: beside the response or in it."""
    response = answer.get("response")
    status = response.get("status_code", _SUCCESS) if isinstance(response, dict) else _SUCCESS
    return bool(answer.get("error")) or status != _SUCCESS


def answered(ledger: Path) -> set[str]:
    """Requests that a ledger has an answer to; the piece of a line that a killed process left is none."""
    return set(_answered(_whole_lines(ledger), ledger))


@contextmanager
def open_ledger(ledger: Path) -> Iterator[tuple[IO[bytes], dict[str, bool]]]:
    """The file to add lines to, and for each request that it has an answer to whether that is a failed one.

    Raises:
        EndpointError: It is damaged or not a file, or another run is writing it.
    """
    with ledger.open("ab") as file:
        _lock(file, ledger)
        whole = _whole_lines(ledger)
        known = _answered(whole, ledger)
        file.truncate(len(whole))
        yield file, known


def write_answer(file: IO[bytes], answer: Mapping[str, Any]) -> None:
    """Add one answer, so that it stays if this process is killed."""
    file.write((json.dumps(answer, ensure_ascii=False) + "\n").encode("utf8", "replace"))
    file.flush()


def _answered(lines: bytes, ledger: Path) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for number, line in enumerate(lines.splitlines(), start=1):
        try:
            answer = parse_json(line)
            id_ = str(answer["custom_id"])
            found[id_] = found.get(id_, True) and is_failed(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EndpointError(f"{ledger}, line {number} is not an answer", remedy="Remove the line.") from error
    return found


def _whole_lines(ledger: Path) -> bytes:
    if not ledger.exists():
        return b""
    if not ledger.is_file():  # a device may never end
        raise EndpointError(f"{ledger} is not a file of answers", remedy="Move it away.")
    content = ledger.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _lock(file: IO[bytes], ledger: Path) -> None:
    """One run at a time: two would ask for everything twice, and cut off each other's lines."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not POSIX
        pass
    except BlockingIOError as error:
        raise EndpointError(f"another run is writing {ledger}", remedy="Wait for it, or name another --out.") from error
