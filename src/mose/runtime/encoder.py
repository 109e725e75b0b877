"""``Encoder``: from texts to unit vectors, at any exit and width of a model, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError, ModelError
from mose.progress import Progress, ProgressCallback, no_progress
from mose.runtime import batching
from mose.runtime.manifest import ALL_EXITS_NAME, Manifest, exit_file
from mose.runtime.model import RuntimeModel, model_folder
from mose.runtime.table import unit_rows
from mose.tokenizer import Kind

DEFAULT_MODEL = "small"


class Encoder:
    """One exit of a model at one width.

    Create it with ``Encoder.load``; ``at`` gives another exit or width that shares the weights.

    Example:
        >>> encoder = Encoder.load("small", exit=0)
        >>> vectors = encoder.encode(["def open_proxy(url): ...", "parse a date"])
        >>> vectors.shape == (2, encoder.width)
        True
    """

    def __init__(self, model: RuntimeModel, *, exit: int, width: int | None) -> None:
        if exit not in model.manifest.exits:
            names = ", ".join(map(str, model.manifest.exits))
            raise ModelError(f"exit of model {model.manifest.name!r}", got=exit, allowed=names)
        full = model.manifest.widths[exit]
        if width is not None and not 1 <= width <= full:
            what = f"width at exit {exit} of model {model.manifest.name!r}"
            raise ModelError(what, got=width, allowed=f"1 to {full}")
        self._model = model
        self._asked_width = width
        self.exit = exit
        self.width = full if width is None else width

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = DEFAULT_MODEL,
        *,
        exit: int | None = None,
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
        """The manifest of the model's folder."""
        return self._model.manifest

    def at(self, exit: int | None = None, width: int | None = None) -> Encoder:
        """The same model at another exit or width; None keeps the current one.

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
        texts: str | Sequence[str],
        *,
        kind: Kind = "code",
        language: str | Sequence[str] | None = None,
        progress: ProgressCallback = no_progress,
    ) -> NDArray[np.float32]:
        """Unit vectors of texts, in their order.

        Args:
            texts: Queries or codes, one or many; cut at the model's maximum length.
            kind: Selects the template (exit 0 uses none).
            language: One language for all, or one for each text; for templates that name it.
            progress: Called after each batch.

        Returns:
            float32 [N, width]. At exit 0, a text without a known token gives zeros.

        Raises:
            ConfigError: A text is not a string.
        """
        texts = _as_list(texts)
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        done = 0
        if self.exit == 0:
            for window in batching.windows(len(texts)):
                vectors[window] = _narrow(self._model.table().encode(texts[window]), self.width)
                progress(Progress("encode", min(window.stop, len(texts)), len(texts)))
            return vectors
        name = f"exit_{self.exit}"
        for rows, outputs in self._model.run(exit_file(self.exit), texts, kind=kind, language=language):
            vectors[rows] = _narrow(outputs[name], self.width)
            done += len(rows)
            progress(Progress("encode", done, len(texts)))
        return vectors

    def token_ids(self, texts: Sequence[str], *, kind: Kind = "code") -> list[list[int]]:
        """Token ids of each text, for `encode_tokens`: the tokeniser's half of `encode`, at any exit but 0."""
        return self._model.token_ids(texts, kind=kind)

    def encode_tokens(self, token_ids: list[int], text: str) -> NDArray[np.float32]:
        """The unit vector [1, width] of one text from its `token_ids`, computed in this thread; as by `encode`."""
        outputs = self._model.run_one(exit_file(self.exit), token_ids, text)
        return _narrow(outputs[f"exit_{self.exit}"], self.width)

    def encode_words(self, words: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Unit vectors [N, width] of texts already split by ``mose.words.split_words``; exit 0 only.

        Raises:
            ModelError: This is another exit.
        """
        if self.exit != 0:
            raise ModelError(f"encode_words at exit {self.exit}", allowed="exit 0", remedy="Use encoder.at(exit=0).")
        return _narrow(self._model.table().encode_words(words), self.width)

    def encode_exits(
        self,
        texts: str | Sequence[str],
        *,
        kind: Kind = "code",
        language: str | Sequence[str] | None = None,
    ) -> dict[int, NDArray[np.float32]]:
        """Exit -> unit vectors [N, width], every exit of the model from one pass; arguments as for `encode`."""
        texts = _as_list(texts)
        widths = {
            exit_layer: min(full, self._asked_width or full)
            for exit_layer, full in sorted(self._model.manifest.widths.items())
        }
        vectors = {key: np.empty((len(texts), width), dtype=np.float32) for key, width in widths.items()}
        if 0 in vectors:
            vectors[0] = self.at(exit=0, width=widths[0]).encode(texts)
        deep = [exit_layer for exit_layer in widths if exit_layer > 0]
        if deep:
            for rows, outputs in self._model.run(ALL_EXITS_NAME, texts, kind=kind, language=language):
                for exit_layer in deep:
                    vectors[exit_layer][rows] = _narrow(outputs[f"exit_{exit_layer}"], widths[exit_layer])
        return vectors


def _as_list(texts: str | Sequence[str]) -> Sequence[str]:
    """Texts as a list; a string is one text."""
    if isinstance(texts, str):
        return [texts]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"text {number} to encode", got=type(text).__name__, allowed="a string")
    return texts


def _narrow(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The leading dimensions, scaled to unit length."""
    if width == vectors.shape[1]:
        return vectors
    return unit_rows(vectors[:, :width])
