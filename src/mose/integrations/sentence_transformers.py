"""Model folders in sentence-transformers: any exit of one checkpoint, with the vectors of ``mose.Encoder``.

``SentenceTransformer(folder, trust_remote_code=True)`` finds this module by the folder's ``modules.json``. The flag is
what sentence-transformers asks before it imports a package that is not its own; the folder itself holds no code, and
``load`` does without.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mose.errors import ConfigError, MissingExtraError

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module
    from sentence_transformers.util import load_dir_path
except ImportError as error:
    raise MissingExtraError("sentence-transformers 6 or later is not installed",
                            remedy="Install it with: pip install 'sentence-transformers>=6'") from error  # fmt: skip

import torch
from torch import Tensor

from mose.model.batch import TextBatch, text_batch
from mose.model.checkpoint import load_model, write_model
from mose.model.encoder import MoseModel
from mose.model.folder import copy_companions
from mose.model.heads import normalize
from mose.tokenizer import CodeTokenizer


class MultiExitEncoder(Module):  # type: ignore[misc, unused-ignore]
    """One checkpoint as the only module of a SentenceTransformer.

    ``encode_query`` reads texts in the model's query template, ``encode`` and ``encode_document`` in that of code.
    All take ``exit=`` and ``language=`` (for a template that names the programming language).

    Args:
        model: The encoder.
        tokenizer: Its tokenizer.
        folder: Where tokenizer, card and licences are copied from when the module is saved.
    """

    save_in_root = True
    forward_kwargs = {"exit", "language"}  # noqa: RUF012  # sentence-transformers declares it so

    def __init__(self, model: MoseModel, tokenizer: CodeTokenizer, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.model = model
        self.tokenizer = tokenizer
        self.max_seq_length = tokenizer.max_tokens
        self._folder = folder
        self._width: int | None = None

    def preprocess(
        self,
        inputs: Sequence[str],
        prompt: str | None = None,
        *,
        task: str | None = None,
        exit: int | None = None,
        language: str | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        """Token ids of texts in their template, and their words where the exit reads them."""
        batch = text_batch(
            self.tokenizer,
            [f"{prompt or ''}{text}" for text in inputs],
            kind="query" if task == "query" else "code",
            language=language,
            max_tokens=self.max_seq_length,
            words=self.model.settings.reads_words([self._depth(exit)]),
        )
        features = {"input_ids": batch.token_ids_BT, "attention_mask": batch.keep_BT}
        words = {"word_ids": batch.word_ids_N, "word_factors": batch.word_factors_N,
                 "word_offsets": batch.word_offsets_B}  # fmt: skip
        return features | {name: part for name, part in words.items() if part is not None}

    tokenize = preprocess

    def forward(self, features: dict[str, Any], exit: int | None = None, **_: Any) -> dict[str, Any]:
        """Add ``sentence_embedding`` [B,W], a unit vector of each text, to the features.

        Raises:
            ModelError: The model has no such exit.
        """
        batch = TextBatch(
            token_ids_BT=features["input_ids"],
            keep_BT=features["attention_mask"],
            word_ids_N=features.get("word_ids"),
            word_factors_N=features.get("word_factors"),
            word_offsets_B=features.get("word_offsets"),
        )
        depth = self._depth(exit)
        vectors_BW = self.model.embed(batch, exits=(depth,))[depth]
        if self._width is not None:
            vectors_BW = normalize(vectors_BW[:, : self._width])
        features["sentence_embedding"] = vectors_BW
        return features

    def on_model_ready(self, model: Any) -> None:
        """Called by sentence-transformers once all is loaded: vectors cut to ``truncate_dim`` have length 1, too."""
        self._width = model.truncate_dim

    def get_embedding_dimension(self) -> int:
        """Width of the deepest exit."""
        return self.model.settings.width_of(self.model.settings.exits[-1])

    get_sentence_embedding_dimension = get_embedding_dimension

    def get_config_dict(self) -> dict[str, Any]:
        """What the module's line in a printed SentenceTransformer shows."""
        return {"exits": list(self.model.settings.exits), "max_seq_length": self.max_seq_length}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write config, weights, tokenizer, card and licences."""
        write_model(self.model, Path(output_path))
        copy_companions(self._folder, Path(output_path))

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> MultiExitEncoder:
        """The module of a model folder or of a model on the hub.

        Args:
            model_name_or_path: Folder or ``owner/name``.
            subfolder: Of the repository.
            token: For a private repository.
            cache_folder: Of the hub's files.
            revision: Of the repository.
            local_files_only: True to fetch nothing.
            init_defaults: Not used.
            kwargs: ``model_kwargs`` with ``exit``, the deepest exit, above which no block is read, and ``dtype`` of the
                weights (float32 if missing); ``backend``, which must be "torch".

        Raises:
            ModelError: No such folder, or no model in it.
            ConfigError: An unknown option, or another backend.
        """
        if kwargs.get("backend", "torch") != "torch":
            raise ConfigError("backend", got=kwargs["backend"], allowed="torch",
                              remedy="mose export writes an ONNX model for mose.Encoder.")  # fmt: skip
        options = dict(kwargs.get("model_kwargs") or {})
        last_exit = options.pop("exit", None)
        dtype = options.pop("dtype", options.pop("torch_dtype", torch.float32))
        if options:
            raise ConfigError("model_kwargs", got=", ".join(options), allowed="exit, dtype")
        folder = model_name_or_path if os.path.isdir(model_name_or_path) else load_dir_path(
            model_name_or_path, subfolder=subfolder, token=token, cache_folder=cache_folder, revision=revision,
            local_files_only=local_files_only,
        )  # fmt: skip
        path = Path(folder or model_name_or_path)
        return cls(load_model(path, last_exit=last_exit, dtype=dtype), CodeTokenizer.load(path), path)

    def _depth(self, exit: int | None) -> int:
        depth = self.model.settings.exits[-1] if exit is None else exit
        self.model.settings.check_exit(depth)
        return depth


def load(folder: str | Path, *, exit: int | None = None, **options: Any) -> SentenceTransformer:
    """A SentenceTransformer of a model folder.

    Args:
        folder: Model folder, or ``owner/name`` on the hub.
        exit: Deepest exit, whose vectors ``encode`` gives unless it is told another; the model's deepest if None.
        options: Passed on to ``SentenceTransformer``: ``truncate_dim``, ``device``, ...

    Example:
        >>> load("checkpoints/small", exit=3, truncate_dim=64).encode(["def f(): ..."]).shape     # doctest: +SKIP
        (1, 64)
    """
    module = MultiExitEncoder.load(str(folder), model_kwargs={"exit": exit})
    return SentenceTransformer(modules=[module], **options)
