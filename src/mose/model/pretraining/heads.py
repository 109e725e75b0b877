"""The two heads that all exits share in pre-training; a learned embedding identifies the exit.

Shapes: B sequences, M tokens to predict, D width of the encoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mose.errors import ModelError
from mose.model.checkpoint import save_tensors, write_tensors
from mose.model.folder import copy_companions
from mose.model.settings import ModelSettings
from mose.model.shapes import EXIT_WIDTH
from mose.storage import new_folder

HEADS_FILE = "pretraining_heads.safetensors"


class PretrainingHeads(nn.Module):
    """Masked tokens and "same repository?", read from ``[h; e_i]``: a state of exit i and the exit's embedding.

    The decoder is not tied to the token embeddings, as the size of the released file shows. That the transform
    projects its input to the encoder's width, and that the pair head has no pooler before it, are guesses.

    Args:
        settings: The encoder's.
        seed: Fixes the weights: normal with ``init_std``, biases 0, norm 1.

    Raises:
        ModelError: The model has no exit above 0.
    """

    def __init__(self, settings: ModelSettings, *, seed: int = 0) -> None:
        super().__init__()
        self.exits = tuple(exit_layer for exit_layer in settings.exits if exit_layer > 0)
        if not self.exits:
            raise ModelError(
                "the model has no exit above 0, so nothing can be trained", remedy="Start from a deeper model."
            )
        width = settings.hidden_size
        self._approximate = "tanh" if settings.activation == "gelu_tanh" else "none"
        self.exit_embedding = nn.Embedding(len(self.exits), EXIT_WIDTH)
        self.transform = nn.Linear(width + EXIT_WIDTH, width)
        self.norm = nn.LayerNorm(width, eps=settings.norm_eps)
        self.decoder = nn.Linear(width, settings.vocab_size)
        self.pair = nn.Linear(width + EXIT_WIDTH, 2)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=settings.init_std, generator=generator)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def predict_tokens(self, exit_layer: int, hidden_MD: Tensor) -> Tensor:
        """Logits [M,V] of the tokens to predict, from their states at an exit."""
        states_MX = self._with_exit(exit_layer, hidden_MD)
        changed_MD = self.norm(functional.gelu(self.transform(states_MX), approximate=self._approximate))
        logits_MV: Tensor = self.decoder(changed_MD)
        return logits_MV

    def predict_pairs(self, exit_layer: int, pooled_BD: Tensor) -> Tensor:
        """Logits [B,2] of pairs, from their pooled states at an exit."""
        logits_B2: Tensor = self.pair(self._with_exit(exit_layer, pooled_BD))
        return logits_B2

    def _with_exit(self, exit_layer: int, hidden_XD: Tensor) -> Tensor:
        number = self.exits.index(exit_layer)
        embedding_X4 = self.exit_embedding.weight[number].expand(len(hidden_XD), -1)
        return torch.cat([hidden_XD, embedding_X4.to(hidden_XD.dtype)], dim=-1)


def save_pretrained(
    settings: ModelSettings,
    encoder: Mapping[str, Tensor],
    heads: Mapping[str, Tensor],
    out: Path,
    *,
    companions: Path,
    card: str,
) -> None:
    """Write a model folder with the pre-training heads beside the weights; complete or not at all.

    Args:
        settings: The model's.
        encoder: Its tensors.
        heads: Those of the heads.
        out: The folder.
        companions: Folder with the tokenizer and licences.
        card: Text of ``README.md``.

    Raises:
        OutputError: ``out`` is not a folder that mose wrote.
    """
    with new_folder(out) as folder:
        write_tensors(settings, encoder, folder, card=card)
        save_tensors(heads, folder / HEADS_FILE)
        copy_companions(companions, folder)


def read_heads(folder: Path, settings: ModelSettings, *, seed: int, decoder: Tensor | None = None) -> PretrainingHeads:
    """The pre-training heads of a folder; new ones if it has none.

    Args:
        folder: The model folder.
        settings: The model's.
        seed: Fixes new heads.
        decoder: [V,D] weights of a new decoder; random if None.

    Raises:
        ModelError: The heads are damaged, or those of another model.
    """
    heads = PretrainingHeads(settings, seed=seed)
    file = folder / HEADS_FILE
    if decoder is not None:
        heads.decoder.weight.data.copy_(decoder)
    if file.is_file():
        try:
            heads.load_state_dict({name: view.clone() for name, view in load_file(file).items()})
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{file} is damaged, or does not fit the model ({str(error).splitlines()[0]})",
                             remedy="Delete it to start with new heads.") from error  # fmt: skip
    return heads
