"""``mose serve``: a socket, the trees, and the end at a signal."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from mose.errors import ConfigError, MoseError
from mose.serve.http.api import Api
from mose.serve.http.guards import Access
from mose.serve.signals import handle_signals
from mose.serve.trees import Tree, Trees

MAX_AGE_S = 2.0
"""How old the state of a tree that cannot be watched may be: looking for changes takes longer than a search."""
STOP_S = 15.0
"""Time for requests that are being answered when the server stops."""
_SWITCH_S = 0.001


class _Server(uvicorn.Server):
    """Stops gracefully at the first signal and at once at the second; the process ends cleanly either way."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handle_signals(self.handle_exit)
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: The address is in use, or not one of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1_024)
        # Without it, the body of a response waits 40 ms for the client to acknowledge the head; connections inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # the last: a name that has no encoding
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}",
            remedy="Name another --port (0 takes a free one) or --host.",
        ) from error


def serve(folders: Sequence[Path], listening: socket.socket, access: Access, *, exit: int | None = None) -> None:
    """Answer requests until a signal comes, then end the process.

    Args:
        folders: The trees to answer about.
        listening: The socket, from `listen`.
        access: Who may send requests.
        exit: Exit of requests that do not choose one; the deepest if None.
    """
    sys.setswitchinterval(_SWITCH_S)  # a short request passes through several threads, each of which waits so long
    trees = Trees(exit=exit, max_age_s=MAX_AGE_S)
    served = [trees.get(folder) for folder in dict.fromkeys(folders)]
    api = Api(trees, served)
    config = uvicorn.Config(
        api.app(access),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(STOP_S),
        timeout_keep_alive=30,
    )
    threading.Thread(target=_warm, args=(trees, served), daemon=True).start()
    _Server(config).run(sockets=[listening])
    api.measuring.stop()
    trees.close()
    os._exit(0)  # Python would wait for threads that read a tree; what they have committed is kept


def _warm(trees: Trees, served: Sequence[Tree]) -> None:
    """Open every tree, so that it has been read before the first request, and keep it up to date from then on."""
    for tree in served:
        try:
            tree.ready(threading.Event())
        except MoseError:  # the first request raises the error itself
            continue
    trees.keep_up()
