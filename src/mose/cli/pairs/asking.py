"""``mose pairs ask`` and ``translate``: a language model writes questions about code, and translations of it."""

from __future__ import annotations

import math
import os
from argparse import Namespace as Arguments
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mose.cli.options import add_json_counts, add_quiet, count, define, seconds
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import say, show, show_json
from mose.errors import ConfigError, require

_NOTES = (
    "Without --endpoint and --answers only the requests are written, as an OpenAI batch file (requests.jsonl.xz); give "
    "its results back with --answers, all at once or as they come. With --endpoint the server is asked. Every answer "
    "is kept in FOLDER (answers.jsonl): a stopped run continues with the same command, and so does one with a larger "
    "--limit or another model; other pairs, or the other command, need a folder of their own. The code of the pairs is "
    "sent to that server, and nowhere else. What is written is checked: accepted.jsonl.xz, and rejected.jsonl.xz with "
    "reasons."
)


def add_ask(command: Parser) -> None:
    """Arguments of ``mose pairs ask``."""
    _add_requests(command, ask)


def add_translate(command: Parser) -> None:
    """Arguments of ``mose pairs translate``."""
    _add_requests(command, translate)


def _add_requests(command: Parser, run: Callable[[Arguments], int]) -> None:
    name = run.__name__
    define(
        command,
        run,
        example=f"mose pairs {name} mined/ --out {name}/ --endpoint http://localhost:8000/v1 --model Qwen2.5-Coder-7B",
        notes=_NOTES,
    )
    command.add_argument(
        "pairs", type=Path, nargs="*", metavar="PAIRS", help="files written by mose pairs mine, or their folder"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of requests and checked answers"
    )
    command.add_argument(
        "--answers",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="check these answers (OpenAI batch results, .jsonl or .jsonl.xz) to the requests of FOLDER",
    )
    command.add_argument(
        "--without", nargs="+", default=[], metavar="SOURCE", help="leave out rows of these sources (pypi:rich)"
    )
    command.add_argument("--limit", type=count, metavar="N", help="requests to write (default: all)")
    command.add_argument(
        "--examples",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="accepted pairs (of translations, with the functions they were made from); those whose code is most like "
        "a row's, by the shipped model, are shown to the model before it",
    )
    command.add_argument(
        "--num-examples", type=count, default=2, metavar="N", help="examples of each request (default: 2)"
    )
    server = command.add_argument_group("server (needs mose[data])")
    server.add_argument(
        "--endpoint", metavar="URL", help="a server that speaks OpenAI's chat completions, up to its version (.../v1)"
    )
    server.add_argument("--model", metavar="NAME", help="model to ask for, as the server calls it")
    server.add_argument(
        "--key-from",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with the server's key, if it needs one (default: OPENAI_API_KEY)",
    )
    server.add_argument("--concurrency", type=count, default=8, metavar="N", help="requests at a time (default: 8)")
    server.add_argument("--per-minute", type=count, metavar="N", help="send at most N requests a minute")
    server.add_argument("--timeout", type=seconds, default=120.0, metavar="TIME", help="for one answer (default: 120s)")
    server.add_argument(
        "--attempts",
        type=count,
        default=6,
        metavar="N",
        help="times a request is sent while the server fails or is busy (default: 6)",
    )
    server.add_argument(
        "--estimate",
        action="store_true",
        help="say how many tokens it would take at most (with --price and --speed also cost and time), and ask nothing",
    )
    server.add_argument(
        "--price",
        type=float,
        nargs=2,
        metavar=("READ", "WRITTEN"),
        help="price of a million tokens that are read and that are written, for --estimate",
    )
    server.add_argument(
        "--speed",
        type=float,
        nargs=2,
        metavar=("READ", "WRITTEN"),
        help="tokens a second that the server reads and that it writes, for --estimate",
    )
    add_quiet(command)
    add_json_counts(command)


def ask(arguments: Arguments) -> int:
    """``mose pairs ask``: questions about the code of pairs."""
    from mose.data.translate.asking import questions

    return _write(arguments, questions)


def translate(arguments: Arguments) -> int:
    """``mose pairs translate``: translations of the code of pairs."""
    from mose.data.translate.asking import translations

    return _write(arguments, translations)


def _write(arguments: Arguments, choose: Any) -> int:
    from mose.data.curate.stage import pair_files
    from mose.data.translate.answers import keep_answers, read_answers
    from mose.data.translate.asking import ACCEPTED, ANSWERS, REJECTED, REQUESTS, write_requests

    if arguments.endpoint and not arguments.model:
        raise ConfigError("--endpoint needs --model", remedy="Name the model as the server calls it.")
    if arguments.answers and (arguments.endpoint or arguments.estimate):
        raise ConfigError("--answers goes without --endpoint and --estimate", remedy="Give one of them.")
    counts: dict[str, Any] = {}
    files = [ACCEPTED, REJECTED]
    if arguments.answers:
        keep_answers(arguments.out, arguments.answers)
    else:
        counts["requests"] = write_requests(
            pair_files(arguments.pairs),
            arguments.out,
            choose,
            without=frozenset(arguments.without),
            most=arguments.limit,
            model=arguments.model or "",
            examples=_examples(arguments),
        )
        files = [REQUESTS]
    if arguments.estimate:
        counts |= _estimate(arguments)
    elif arguments.endpoint:
        counts["unanswered"] = _ask_server(arguments)
        files = [ACCEPTED, REJECTED]
    if arguments.answers or "unanswered" in counts:
        counts |= read_answers(arguments.out, [arguments.out / ANSWERS])
    if arguments.json:
        show_json([counts])
    else:
        for name, value in counts.items():
            told = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
            show(f"{name}: {told}")
        show("written: " + ", ".join(str(arguments.out / name) for name in files))
    if counts.get("unanswered"):
        say("The server failed on some requests again and again; the same command asks for them once more.")
        return 1
    return 0


def _examples(arguments: Arguments) -> Any:
    if not arguments.examples:
        return None
    from mose.data.curate.stage import pair_files, read_pairs
    from mose.data.translate.examples import Examples
    from mose.runtime.encoder import Encoder

    rows = (row for _, row in read_pairs(pair_files(arguments.examples), needs=("query", "code", "language")))
    return Examples(rows, Encoder.load("small", exit=0).encode, count=arguments.num_examples)


def _estimate(arguments: Arguments) -> dict[str, Any]:
    need_packages("pairs --estimate", "httpx", extra="data")
    from mose.data.pairs import read_objects
    from mose.data.translate.asking import ANSWERS, REQUESTS
    from mose.data.translate.endpoint import estimate
    from mose.data.translate.ledger import answered

    known = answered(arguments.out / ANSWERS)
    requests = (request for _, request in read_objects(arguments.out / REQUESTS))
    found = estimate(request for request in requests if request["custom_id"] not in known)
    told: dict[str, Any] = {
        "left": found.requests,
        "tokens read": found.prompt_tokens,
        "tokens written at most": found.written_tokens,
    }
    if arguments.price:
        require(
            all(0 <= price < math.inf for price in arguments.price), "--price", arguments.price, "two numbers from 0"
        )
        told["price at most"] = _round_up(found.cost(tuple(arguments.price)))
    if arguments.speed:
        require(min(arguments.speed) > 0, "--speed", arguments.speed, "two numbers above 0")
        told["hours at most"] = _round_up(found.hours(tuple(arguments.speed), per_minute=arguments.per_minute or 0))
    return told


def _round_up(value: float) -> float:
    return math.ceil(value * 100) / 100


def _ask_server(arguments: Arguments) -> int:
    """Number of requests that the server never answered."""
    need_packages("pairs --endpoint", "httpx", extra="data")
    from mose.data.pairs import read_objects
    from mose.data.translate.asking import ANSWERS, REQUESTS
    from mose.data.translate.endpoint import Endpoint, answer_all

    endpoint = Endpoint(
        url=arguments.endpoint,
        model=arguments.model,
        key=os.environ.get(arguments.key_from, "").strip(),
        concurrency=arguments.concurrency,
        per_minute=arguments.per_minute or 0,
        timeout=arguments.timeout,
        attempts=arguments.attempts,
    )
    requests = [request for _, request in read_objects(arguments.out / REQUESTS)]
    with ProgressBar(quiet=arguments.quiet) as progress:
        return answer_all(requests, arguments.out / ANSWERS, endpoint, progress=progress)
