"""Adapters for ``mteb`` (2.x): the encoder at an exit and width, and the whole search engine.

``mteb.evaluate(MoseMteb("small", exit=3), tasks)`` scores the vectors, ``mteb.evaluate(MoseSearch("small"), tasks)``
the engine: words, vectors and ranking together. mteb is imported by ``mteb_model_meta`` alone.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError, MissingExtraError
from mose.runtime.encoder import DEFAULT_MODEL, Encoder
from mose.runtime.table import unit_rows
from mose.search.index import CodeIndex
from mose.search.lifecycle import forget
from mose.search.options import SearchOptions
from mose.tokenizer import Kind

_SUFFIXES = {"python": ".py", "javascript": ".js", "typescript": ".ts", "java": ".java", "go": ".go", "ruby": ".rb",
             "php": ".php", "c": ".c", "c++": ".cpp", "c#": ".cs", "rust": ".rs", "kotlin": ".kt", "swift": ".swift",
             "scala": ".scala", "shell": ".sh", "lua": ".lua"}  # fmt: skip
"""mteb's name of a programming language -> extension of the indexed files."""


class MoseMteb:
    """The encoder as mteb's ``EncoderProtocol``.

    Args:
        model_name: A shipped model or a runtime folder.
        revision: Ignored; the model's own identity is reported.
        device: Ignored; the runtime runs on the CPU.
        exit: Exit to leave at; the deepest if None.
        width: Leading dimensions to keep; all if None.
        prompts: ``query`` or ``document`` -> text to prepend, inside the model's own templates.

    Raises:
        ConfigError: ``prompts`` has another key.
        ModelError: No such model, exit or width.
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        device: str | None = None,
        exit: int | None = None,
        width: int | None = None,
        prompts: Mapping[str, str] | None = None,
        **_: Any,
    ) -> None:
        unknown = sorted(set(prompts or ()) - {"query", "document"})
        if unknown:
            raise ConfigError("prompts", got=unknown[0], allowed="query, document")
        self.encoder = Encoder.load(model_name, exit=exit, width=width)
        self.prompts = dict(prompts or {})

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> NDArray[np.float32]:
        """Unit vectors [N, width] of all texts of mteb's batches, in their order.

        Queries are read in the query template; documents, and texts of tasks without the two, in the code template.
        """
        side = getattr(prompt_type, "value", prompt_type)
        kind: Kind = "query" if side == "query" else "code"
        prompt = self.prompts.get("query" if side == "query" else "document", "")
        return self.encoder.encode([prompt + text for batch in inputs for text in batch["text"]], kind=kind)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines [N, M] as a torch tensor."""
        return _tensor(_rows(embeddings1) @ _rows(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines [N] of corresponding rows, as a torch tensor."""
        return _tensor((_rows(embeddings1) * _rows(embeddings2)).sum(axis=1))

    @property
    def mteb_model_meta(self) -> Any:
        """Metadata for mteb's reports: name with exit and width, identity, sizes."""
        encoder = self.encoder
        name = f"mose/{encoder.manifest.name}-exit{encoder.exit}-width{encoder.width}"
        return _meta(name, encoder)


class MoseSearch:
    """The engine as mteb's ``SearchProtocol``: each document is a file of a source tree that is indexed and searched.

    Args:
        model_name: A shipped model or a runtime folder.
        exit: Exit of the short list; the deepest if None.
        budget_s: Seconds for deep vectors of the short list of a query.
        deepen: Embed every document at the exit before searching; otherwise the cascade embeds what each query needs.
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        *,
        exit: int | None = None,
        budget_s: float = 10.0,
        deepen: bool = True,
    ) -> None:
        self._model_name = model_name
        self._exit = exit
        self._budget_s = budget_s
        self._deepen = deepen
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._index: CodeIndex | None = None
        self._ids: dict[str, str] = {}

    def index(
        self,
        corpus: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Any = None,
        num_proc: int | None = None,
        **_: Any,
    ) -> None:
        """Write the documents as files and index them; drops an earlier corpus."""
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="mose-mteb-")
        root = Path(self._folder.name)
        suffix = _suffix(task_metadata, hf_subset)
        for number, document in enumerate(corpus):
            path = f"{number // 1000:04}/{number:07}{suffix}"
            self._ids[path] = str(document["id"])
            title = document.get("title") or ""
            (root / path).parent.mkdir(exist_ok=True)
            text = f"{title}\n{document['text']}" if title else document["text"]
            (root / path).write_text(text, encoding="utf-8", errors="replace")
        self._index = CodeIndex.open(root, model=self._model_name, exit=self._exit, inside=True)
        if self._deepen:
            self._index.deepen()

    def search(
        self,
        queries: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Any = None,
        top_ranked: Mapping[str, list[str]] | None = None,
        num_proc: int | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Query id -> document id -> score of the document's best chunk.

        Raises:
            ConfigError: ``index`` was not called before.
        """
        if self._index is None:
            raise ConfigError("nothing is indexed", remedy="Call index(corpus, ...) before search.")
        found: dict[str, dict[str, float]] = {}
        for query in queries:
            own = str(query["id"])
            allowed = None if top_ranked is None else set(top_ranked[own])
            limit = top_k if allowed is None else len(self._ids)
            options = SearchOptions(limit=limit, budget_s=self._budget_s)
            hits = self._index.search(query["text"], options) if query["text"].strip() else []
            scores = {self._ids[hit.path]: float(hit.score) for hit in hits}
            found[own] = {name: score for name, score in scores.items() if allowed is None or name in allowed}
        return found

    def close(self) -> None:
        """Drop the index and its files."""
        if self._index is not None:
            self._index.close()
        if self._folder is not None:
            forget(self._folder.name)
            self._folder.cleanup()
        self._index, self._folder, self._ids = None, None, {}

    @property
    def mteb_model_meta(self) -> Any:
        """Metadata for mteb's reports."""
        encoder = Encoder.load(self._model_name, exit=self._exit)
        return _meta(f"mose/search-{encoder.manifest.name}-exit{encoder.exit}", encoder)


def _meta(name: str, encoder: Encoder) -> Any:
    try:
        from mteb.models import ModelMeta
    except ImportError as error:
        raise MissingExtraError("mteb is not installed", remedy="Install it with: pip install 'mose[mteb]'") from error
    manifest = encoder.manifest
    return ModelMeta.create_empty(
        {
            "name": name,
            "revision": hashlib.sha256(encoder.identity.encode()).hexdigest()[:40],
            "embed_dim": encoder.width,
            "max_tokens": manifest.tokenizer.max_tokens,
            "license": manifest.licence.lower() or None,
            "open_weights": True,
            "framework": ["ONNX"],
            "similarity_fn_name": "cosine",
        }
    )


def _suffix(task_metadata: Any, subset: str) -> str:
    """Extension of the files: that of the programming language of the task or subset, or ``.txt``."""
    languages = task_metadata.eval_langs
    names = languages.get(subset, []) if isinstance(languages, Mapping) else languages
    for name in (subset, *(str(name).split("-")[0] for name in names)):
        if name.lower() in _SUFFIXES:
            return _SUFFIXES[name.lower()]
    return ".txt"


def _rows(vectors: Any) -> NDArray[np.float32]:
    rows = np.asarray(vectors, dtype=np.float32)
    return unit_rows(rows if rows.ndim == 2 else rows[None, :])


def _tensor(values: NDArray[np.float32]) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
