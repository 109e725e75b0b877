"""``Encoder``: texts in, unit vectors out, at any exit and width of a model, without torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError, ModelError
from mose.runtime.batching import available_cores, batches, run_all
from mose.runtime.manifest import ALL_EXITS_NAME, Manifest, exit_file
from mose.tokenizer import CodeTokenizer, Kind

if TYPE_CHECKING:
    from mose.runtime.session import Session
    from mose.runtime.table import TokenTable

DEFAULT_MODEL = "small"
TOKEN_BUDGET = 1024
"""Tokens that a thread takes at a time; bounds the time to the next progress report or to an interrupt."""
WINDOW_TEXTS = 2048
"""Texts that are tokenised and sorted by length together; bounds the memory of long inputs."""
_SHIPPED = Path(__file__).resolve().parents[1] / "models"


class Encoder:
    """One exit of a model at one width. ``Encoder.load`` makes it, ``at`` gives a sibling that shares the weights.

    Example:
        >>> encoder = Encoder.load("small", exit=0)
        >>> vectors = encoder.encode(["def open_proxy(url): ...", "parse a date"])
        >>> vectors.shape == (2, encoder.width)
        True
    """

    def __init__(self, model: RuntimeModel, *, exit: int, width: int | None) -> None:  # noqa: A002
        if exit not in model.manifest.exits:
            names = ", ".join(map(str, model.manifest.exits))
            raise ModelError(f"exit of model {model.manifest.name!r}", got=exit, allowed=names)
        full = model.manifest.widths[exit]
        if width is not None and not 1 <= width <= full:
            raise ModelError(f"width at exit {exit} of model {model.manifest.name!r}", got=width, allowed=f"1 to {full}")
        self._model = model
        self._asked_width = width
        self.exit = exit
        self.width = full if width is None else width

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = DEFAULT_MODEL,
        *,
        exit: int | None = None,  # noqa: A002
        width: int | None = None,
        threads: int | None = None,
    ) -> Encoder:
        """A model that ships with the package, by name, or a runtime folder.

        Args:
            name_or_folder: "small", or a folder that ``mose export`` wrote.
            exit: Exit to leave at; the deepest if None.
            width: Leading dimensions to keep; all if None.
            threads: Texts to run at the same time, one core each; all cores if None.

        Raises:
            ModelError: The folder is missing, incomplete or of another kind, or has no such exit or width.
        """
        if threads is not None and threads < 1:
            raise ConfigError("threads", got=threads, allowed="1 or more")
        model = RuntimeModel(model_folder(name_or_folder), threads=threads)
        return cls(model, exit=model.manifest.exits[-1] if exit is None else exit, width=width)

    @property
    def identity(self) -> str:
        """Short hash of the model; vectors of two models with different identities cannot be compared."""
        return self._model.manifest.identity

    @property
    def exits(self) -> tuple[int, ...]:
        """Exits of the model, shallowest first."""
        return self._model.manifest.exits

    @property
    def manifest(self) -> Manifest:
        """What the model's folder says of itself."""
        return self._model.manifest

    def at(self, exit: int | None = None, width: int | None = None) -> Encoder:  # noqa: A002
        """The same model at another exit or width; what is None stays as asked for before.

        Raises:
            ModelError: The model has no such exit, or the exit no such width.
        """
        return Encoder(
            self._model,
            exit=self.exit if exit is None else exit,
            width=self._asked_width if width is None else width,
        )

    def verify(self) -> None:
        """Compare every file of the model with the SHA-256 in its manifest.

        Raises:
            ModelError: A file is missing or differs.
        """
        self._model.manifest.verify(self._model.folder)

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: Kind = "code",
        language: str | Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Unit vectors of texts, in their order.

        Args:
            texts: Queries or pieces of code. Longer ones than the model reads lose their end.
            kind: Which of the model's templates to put them in (exit 0 uses none).
            language: One language for all, or one for each text; for templates that name it.
            progress: Called after each batch with the number of texts done so far.

        Returns:
            float32 [N, width]. At exit 0, a text without a known token gives zeros.
        """
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        done = 0
        if self.exit == 0:
            for start in range(0, len(texts), WINDOW_TEXTS):
                window = slice(start, start + WINDOW_TEXTS)
                vectors[window] = _narrow(self._model.table().encode(texts[window]), self.width)
                _report(progress, min(window.stop, len(texts)))
            return vectors
        name = f"exit_{self.exit}"
        for rows, outputs in self._model.run(exit_file(self.exit), texts, kind=kind, language=language):
            vectors[rows] = _narrow(outputs[name], self.width)
            done += len(rows)
            _report(progress, done)
        return vectors

    def encode_words(self, words: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Unit vectors [N, width] of texts already split by ``mose.words.split_words``; exit 0 only.

        Raises:
            ModelError: This is another exit.
        """
        if self.exit != 0:
            raise ModelError("encode_words works at exit 0 only", got=self.exit, remedy="Use encoder.at(exit=0).")
        return _narrow(self._model.table().encode_words(words), self.width)

    def encode_exits(
        self,
        texts: Sequence[str],
        *,
        kind: Kind = "code",
        language: str | Sequence[str] | None = None,
    ) -> dict[int, NDArray[np.float32]]:
        """Exit -> unit vectors [N, width], every exit of the model from one pass."""
        widths = {
            exit_layer: min(full, self._asked_width or full)
            for exit_layer, full in sorted(self._model.manifest.widths.items())
        }
        vectors = {exit_layer: np.empty((len(texts), width), np.float32) for exit_layer, width in widths.items()}
        if 0 in vectors:
            vectors[0] = self.at(exit=0, width=widths[0]).encode(texts)
        deep = [exit_layer for exit_layer in widths if exit_layer > 0]
        if deep:
            for rows, outputs in self._model.run(ALL_EXITS_NAME, texts, kind=kind, language=language):
                for exit_layer in deep:
                    vectors[exit_layer][rows] = _narrow(outputs[f"exit_{exit_layer}"], widths[exit_layer])
        return vectors


class RuntimeModel:
    """What all exits of one loaded folder share: manifest, tokenizer, sessions and table, each opened on first use."""

    def __init__(self, folder: Path, *, threads: int | None) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self._threads = threads or available_cores()
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._tokenizer: CodeTokenizer | None = None
        self._table: TokenTable | None = None

    def run(
        self, graph: str, texts: Sequence[str], *, kind: Kind, language: str | Sequence[str] | None
    ) -> Iterator[tuple[list[int], dict[str, NDArray[np.float32]]]]:
        """Batch by batch, as they are done, the row numbers and the graph's outputs [rows, width] for them."""
        if not isinstance(language, str | None) and len(language) != len(texts):
            raise ConfigError("languages", got=len(language), allowed=f"one, or one for each of {len(texts)} texts")
        session = self.session(graph)
        for start in range(0, len(texts), WINDOW_TEXTS):
            window = slice(start, start + WINDOW_TEXTS)
            spoken = language if isinstance(language, str | None) else language[window]
            ids = self.tokenizer().encode([_unicode(text) for text in texts[window]], kind=kind, language=spoken)
            todo = list(batches([len(row) for row in ids], token_budget=TOKEN_BUDGET))
            for rows, outputs in run_all(session, ids, todo, threads=self._threads):
                yield [start + row for row in rows], outputs

    def session(self, graph: str) -> Session:
        """The session of one graph file."""
        from mose.runtime.session import Session

        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = Session(self.folder / graph)
            return self._sessions[graph]

    def tokenizer(self) -> CodeTokenizer:
        """The model's tokenizer."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = CodeTokenizer.load(self.folder)
            return self._tokenizer

    def table(self) -> TokenTable:
        """The token table of exit 0."""
        from mose.runtime.table import TokenTable

        with self._lock:
            if self._table is None:
                self._table = TokenTable(self.folder / exit_file(0), self.tokenizer())
            return self._table


def model_folder(name_or_folder: str | Path) -> Path:
    """The folder of a shipped model's name, or the folder itself.

    Raises:
        ModelError: Neither a shipped model nor a folder.
    """
    shipped = sorted(path.name for path in _SHIPPED.iterdir() if path.is_dir()) if _SHIPPED.is_dir() else []
    if str(name_or_folder) in shipped:
        return _SHIPPED / str(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        names = ", ".join(shipped) or "none in this installation"
        raise ModelError(
            "No such model", got=str(name_or_folder), allowed=f"a model folder, or a shipped model ({names})"
        )
    return folder


def _narrow(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The leading dimensions, at unit length again."""
    if width == vectors.shape[1]:
        return vectors
    kept = vectors[:, :width]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return np.divide(kept, lengths, out=np.zeros_like(kept), where=lengths > 0)


def _unicode(text: str) -> str:
    """``text`` without the half characters that undecodable file names and arguments bring, which have no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _report(progress: Callable[[int], None] | None, done: int) -> None:
    if progress is not None:
        progress(done)
