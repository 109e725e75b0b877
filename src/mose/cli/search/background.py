"""``mose search --deepen``: reads the rest of a tree in a process of its own. Imported only for that."""

from __future__ import annotations

import subprocess
from argparse import Namespace as Arguments

from mose import processes
from mose.cli.terminal import say
from mose.runtime.encoder import DEFAULT_MODEL
from mose.runtime.model import model_folder
from mose.search.index import CodeIndex
from mose.search.store.location import unwritable
from mose.storage import create_file, home_environment


def deepen_in_background(index: CodeIndex, arguments: Arguments) -> None:
    """Start a process that embeds the rest of a tree, and say where its log is."""
    log = index.store.folder / "deepen.log"
    is_default = arguments.model == DEFAULT_MODEL
    command = processes.mose_command(
        "index",
        str(index.root),
        "--existing",
        "--quiet",
        "--model",
        DEFAULT_MODEL if is_default else str(model_folder(arguments.model).absolute()),
    )
    if arguments.exit is not None:
        command += ["--exit", str(arguments.exit)]
    if arguments.inside:
        command.append("--inside")
    try:
        output = create_file(log)
    except OSError as error:
        raise unwritable(log, error) from error
    with output:
        process = subprocess.Popen(
            command,
            cwd=processes.ROOT,
            env=home_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if not arguments.quiet:
        say(f"Reading the rest in the background (process {process.pid}, log {log}).")
