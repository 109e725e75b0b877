"""Peers: what a user could use instead of our model, measured in the same run."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from mose.errors import ConfigError
from mose.evaluate.systems.ladder import RuntimeLadder
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import MANIFEST_NAME

PEERS = ("bm25", "minilm", "minilm-128", "e5", "static")
"""Names of the peers; a folder of `mose export` or of sentence-transformers is one, too."""
E5_TASKS = (
    "conala",
    "csn-java",
    "mbxp-python",
    "mbxp-anon-python",
    "mbxp-anon-code-python-java",
    "rosetta-code-python-java",
    "rosetta-code-c-go",
)
"""Tasks of a slow peer, unless all are asked for: small corpora, one of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer that is ready to run."""

    system: Embedder | Scorer
    tasks: tuple[str, ...] | None = None
    """Tasks that it is run on; all if None."""
    note: str = ""
    """Why it is not run on all tasks."""


def check_peers(names: tuple[str, ...]) -> None:
    """Raise `ConfigError`, which names the nearest peer, unless every name is a known peer or a folder."""
    for name in names:
        if name not in PEERS and not Path(name).expanduser().is_dir():
            near = difflib.get_close_matches(name, PEERS, n=1)
            remedy = f"Did you mean {near[0]}?" if near else None
            raise ConfigError("peer", got=name, allowed=f"{', '.join(PEERS)}, or a folder of a model", remedy=remedy)


def load_peer(
    name: str, *, folder: Path, static_folder: Path | None, threads: int | None, all_tasks: bool = False
) -> Peer:
    """A peer by name, or by its folder: of an exported model, with all its exits, or of sentence-transformers.

    Args:
        name: One of ``PEERS``, or a folder.
        folder: Folder for files that a peer creates once.
        static_folder: The model2vec folder; ``folder / "static"`` if None.
        threads: Threads, where the peer has a setting for them; all cores if None.
        all_tasks: True to run slow peers on all tasks.

    Raises:
        ConfigError: No such peer.
        MissingExtraError: Its package is not installed.
        ModelError: Its folder is missing or of another kind.
    """
    if name == "bm25":
        from mose.evaluate.systems.bm25 import Bm25, require_bm25

        require_bm25()
        return Peer(system=Bm25())
    if name in ("minilm", "minilm-128"):
        from mose.evaluate.systems.minilm import minilm

        return Peer(system=minilm(folder, threads=threads, max_tokens=128 if name == "minilm-128" else 256))
    own = Path(name).expanduser()
    if (own / MANIFEST_NAME).is_file():
        ladder = RuntimeLadder(Encoder.load(own, threads=threads))
        ladder.card = replace(ladder.card, name=own.resolve().name)  # not that of the model it was made from
        return Peer(system=ladder)
    from mose.evaluate.systems import foreign

    if name == "e5":
        system = foreign.e5(threads=threads)
        if all_tasks:
            return Peer(system=system)
        return Peer(
            system=system,
            tasks=E5_TASKS,
            note=f"slow on a CPU: run on {', '.join(E5_TASKS)} alone (--all-tasks runs it on every one)",
        )
    if name == "static":
        return Peer(system=foreign.static(static_folder or folder / "static"))
    return Peer(system=foreign.sentence_transformer(own, threads=threads))
