"""A loaded runtime folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError, ModelError
from mose.runtime import batching
from mose.runtime.integrity import require_intact
from mose.runtime.manifest import MANIFEST_NAME, TOKENIZER_NAME, WEIGHTS_NAME, Manifest, exit_file
from mose.runtime.table import TokenTable, join
from mose.tokenizer import CodeTokenizer, Kind

if TYPE_CHECKING:
    from mose.runtime.session import Session

_SHIPPED = Path(__file__).resolve().parents[1] / "shipped"


class RuntimeModel:
    """Tokenizer, sessions and table of one folder, opened on first use and shared by its exits.

    Args:
        folder: A runtime folder.
        threads: Texts to run at the same time; all cores if None.

    Raises:
        ModelError: The folder is missing, incomplete, or of another kind.
    """

    def __init__(self, folder: Path, *, threads: int | None) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self._threads = threads or batching.available_cores()
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._tokenizer: CodeTokenizer | None = None
        self._table: TokenTable | None = None

    def run(
        self, graph: str, texts: Sequence[str], *, kind: Kind, language: str | Sequence[str] | None
    ) -> Iterator[tuple[list[int], dict[str, NDArray[np.float32]]]]:
        """Row numbers and the vectors [rows, width] of the graph's exits, by batch, in order of completion.

        The vectors include the share of exit 0, if it has one.
        """
        if not isinstance(language, str | None) and len(language) != len(texts):
            allowed = f"one, or one for each of {len(texts)} texts"
            raise ConfigError("languages", got=len(language), allowed=allowed)
        session = self.session(graph)
        for window in batching.windows(len(texts)):
            languages = language if isinstance(language, str | None) else language[window]
            ids = self.token_ids(texts[window], kind=kind, language=languages)
            for rows, outputs in batching.run_all(session, ids, threads=self._threads):
                numbers = [window.start + row for row in rows]
                yield numbers, self._with_table(outputs, [texts[number] for number in numbers])

    def token_ids(
        self, texts: Sequence[str], *, kind: Kind, language: str | Sequence[str] | None = None
    ) -> list[list[int]]:
        """Token ids of each text, as `run_one` takes them."""
        return self.tokenizer().encode([_valid_unicode(text) for text in texts], kind=kind, language=language)

    def run_one(self, graph: str, token_ids: list[int], text: str) -> batching.Outputs:
        """The vectors [1, width] of one text, computed in this thread, equal to those of `run`."""
        return self._with_table(batching.run_batch(self.session(graph), [token_ids], [0]), [text])

    def _with_table(self, outputs: batching.Outputs, texts: Sequence[str]) -> batching.Outputs:
        share = self.manifest.table_share
        if not share:
            return outputs
        table = self.table().encode(texts)
        return {name: join(own, table, share) for name, own in outputs.items()}

    def session(self, graph: str) -> Session:
        """The session of one graph file."""
        from mose.runtime.session import Session

        with self._lock:
            if graph not in self._sessions:
                self._require_intact(graph, WEIGHTS_NAME)
                self._sessions[graph] = Session(self.folder / graph)
            return self._sessions[graph]

    def tokenizer(self) -> CodeTokenizer:
        """The model's tokenizer."""
        with self._lock:
            if self._tokenizer is None:
                self._require_intact(TOKENIZER_NAME)
                self._tokenizer = CodeTokenizer.load(self.folder)
            return self._tokenizer

    def table(self) -> TokenTable:
        """The token table of exit 0."""
        with self._lock:
            if self._table is None:
                self._require_intact(exit_file(0))
                self._table = TokenTable(self.folder / exit_file(0), self.tokenizer())
            return self._table

    def _require_intact(self, *names: str) -> None:
        require_intact(self.folder, names, self.manifest.files)


def shipped_models() -> list[str]:
    """Names of the models that come with the installation."""
    return sorted(path.parent.name for path in _SHIPPED.glob(f"[!.]*/{MANIFEST_NAME}"))


def model_folder(name_or_folder: str | Path) -> Path:
    """The folder of a shipped model's name, or the folder itself.

    Raises:
        ModelError: Neither a shipped model nor a folder.
    """
    shipped = shipped_models()
    if str(name_or_folder) in shipped:
        return _SHIPPED / str(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        names = ", ".join(shipped) or "none in this installation"
        raise ModelError(
            "No such model", got=str(name_or_folder), allowed=f"a model folder, or a shipped model ({names})"
        )
    return folder


def _valid_unicode(text: str) -> str:
    """``text`` without lone surrogates, which stand for undecodable bytes and have no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
