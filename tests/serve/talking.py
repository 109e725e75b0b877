"""Conversations with the real server process, by the client of the official SDK."""

import asyncio
import os
import sys
from pathlib import Path

import mcp_types as types
from mcp import Client, StdioServerParameters

MODES = ("auto", "legacy")
"""The protocol without a handshake, and the one with it."""


class Roots:
    """What the client answers when it is asked for its roots; may be changed while the server runs."""

    def __init__(self, *folders):
        self.folders = list(folders)

    async def __call__(self, _context):
        return types.ListRootsResult(roots=[types.Root(uri=Path(folder).as_uri()) for folder in self.folders])


def talk(work, *words, roots=None, mode="auto", cwd="/", environment=None):
    """What a coroutine function returns that is called with a connected client."""

    async def run():
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "mose", "mcp", *map(str, words)],
            env={
                "MOSE_HOME": os.environ["MOSE_HOME"],
                "PATH": os.environ["PATH"],
                "HOME": os.environ["HOME"],
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry)),
                **(environment or {}),
            },
            cwd=str(cwd),
        )
        async with Client(server, mode=mode, list_roots_callback=roots) as client:
            return await asyncio.wait_for(work(client), 240)

    return asyncio.run(run())


def text_of(result):
    assert len(result.content) == 1
    return result.content[0].text
