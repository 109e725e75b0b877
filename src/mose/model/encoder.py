"""The multi-exit encoder.

Shapes: B batch, T tokens, D width of the encoder, W width of the embedding, N word tokens of a batch.
Unlike StarCoder 2, Llama and BERT: hidden states leave at several depths, and no block above the deepest exit
asked for is run; unlike the first two, attention looks both ways unless the config says ``causal``. Below the last
exit a model with pre-norm blocks returns its raw residual stream; the final norm acts on the last block alone, as in
the released code (``final_norm`` switches).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mose.errors import ConfigError, ModelError
from mose.model.batch import TextBatch
from mose.model.heads import build_heads, join, normalize, pool
from mose.model.layers import (
    Block,
    Embeddings,
    Mask,
    Rotary,
    Segments,
    attention_mask,
    build_norm,
    positions_of,
    rotary_tables,
)
from mose.model.settings import ModelSettings
from mose.model.token_table import TokenTable
from mose.model.transformers_config import MoseConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Hidden states of sequences between two blocks."""

    depth: int
    """Number of blocks that have run."""
    hidden_BTD: Tensor  # noqa: N815
    keep_BT: Tensor  # noqa: N815
    """False for padding."""
    mask: Mask
    rotary: Rotary | None

    def rows(self, rows_R: Tensor) -> Stage:
        """The sequences with these row numbers; not of a packed row."""
        assert not isinstance(self.mask, Segments)
        return replace(
            self,
            hidden_BTD=self.hidden_BTD[rows_R],
            keep_BT=self.keep_BT[rows_R],
            mask=None if self.mask is None else self.mask[rows_R],
            rotary=None if self.rotary is None else (self.rotary[0][rows_R], self.rotary[1][rows_R]),
        )


class MoseModel(PreTrainedModel):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Embeddings, blocks, heads and token table of one ladder of exits.

    Example:
        >>> model = MoseModel(MoseConfig.preset("tiny")).eval()
        >>> ids = torch.tensor([[5, 6, 7]])
        >>> [(exit, tuple(hidden.shape)) for exit, hidden in model(ids, ids > 0, last_exit=2).items()]
        [(1, (1, 3, 32)), (2, (1, 3, 32))]
    """

    config_class = MoseConfig
    base_model_prefix = "mose"
    main_input_name = "token_ids_BT"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012  # transformers declares it so

    def __init__(self, config: MoseConfig) -> None:
        super().__init__(config)
        settings: ModelSettings = config.settings
        self.settings = settings
        self.embeddings = Embeddings(settings) if settings.num_layers > 0 else None
        self.layers = nn.ModuleList(Block(settings) for _ in range(settings.num_layers))
        self.final_norm = None
        if settings.pre_norm and settings.num_layers > 0:
            self.final_norm = build_norm(settings)
            # A cut model keeps the tensors but does not use them, so that they get no gradient.
            self.final_norm.requires_grad_(any(map(settings.norm_at, settings.exits)))
        self.heads = build_heads(settings)
        self.table = TokenTable(settings) if 0 in settings.exits else None
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call, unused-ignore]

    def forward(
        self,
        token_ids_BT: Tensor,
        keep_BT: Tensor,
        *,
        last_exit: int | None = None,
        exits: Sequence[int] | None = None,
        segments: Segments | None = None,
    ) -> dict[int, Tensor]:
        """Hidden states by exit layer; blocks above the deepest exit asked for are not run.

        Args:
            token_ids_BT: Token ids, int64.
            keep_BT: True for real tokens, False for padding. Padding may be on either side.
            last_exit: Deepest exit wanted; all exits if None.
            exits: The exits wanted; all up to ``last_exit`` if None. Exit 0 has no hidden states: left out.
            segments: The sequences that one row without padding is packed with; None for a sequence in each row.

        Returns:
            Exit layer -> hidden_BTD, shallowest first.

        Raises:
            ModelError: The model has no such exit.
            ConfigError: The sequences are longer than the learned positions.
        """
        wanted = [exit_layer for exit_layer in self.settings.wanted_exits(exits, last_exit) if exit_layer > 0]
        if not wanted or self.embeddings is None:
            return {}
        stage = self.begin(token_ids_BT, keep_BT, segments)
        hidden_by_exit: dict[int, Tensor] = {}
        for exit_layer in wanted:
            stage = self.climb(stage, exit_layer)
            hidden_by_exit[exit_layer] = self.leave(stage)
        return hidden_by_exit

    def begin(self, token_ids_BT: Tensor, keep_BT: Tensor, segments: Segments | None = None) -> Stage:
        """The token and position vectors of a batch, before the first block.

        Raises:
            ModelError: The model has no blocks.
            ConfigError: The sequences are longer than the learned positions.
        """
        settings = self.settings
        if self.embeddings is None:
            raise ModelError("the model has exit 0 alone, no blocks", remedy="Take a deeper model.")
        longest = token_ids_BT.shape[1] if segments is None else max(segments.lengths)
        if not settings.pre_norm and longest > settings.max_positions:
            raise ConfigError("tokens in a sequence", got=longest,
                              allowed=f"at most max_positions {settings.max_positions}")  # fmt: skip
        keep_BT = keep_BT.bool()
        positions_BT = positions_of(keep_BT) if segments is None else segments.positions()
        hidden_BTD = self.embeddings(token_ids_BT, positions_BT)
        # On an accelerator the check would wait for the device, and a mask without holes costs little.
        is_full = keep_BT.device.type == "cpu" and bool(keep_BT.all())
        rotary = None
        if settings.pre_norm:
            rotary = rotary_tables(
                positions_BT, head_size=settings.head_size, theta=settings.rope_theta, dtype=hidden_BTD.dtype
            )
        return Stage(
            depth=0,
            hidden_BTD=hidden_BTD,
            keep_BT=keep_BT,
            mask=segments or (None if is_full else attention_mask(keep_BT, causal=settings.causal)),
            rotary=rotary,
        )

    def climb(self, stage: Stage, depth: int) -> Stage:
        """The stage after ``depth`` blocks; continues from the blocks that have run."""
        hidden_BTD = stage.hidden_BTD
        for block in self.layers[stage.depth : depth]:
            hidden_BTD = self._run(block, hidden_BTD, stage.mask, stage.rotary)
        return replace(stage, depth=depth, hidden_BTD=hidden_BTD)

    def leave(self, stage: Stage) -> Tensor:
        """Hidden states that leave at the stage's depth [B,T,D], normed where the config says so."""
        norm = self.final_norm if self.settings.norm_at(stage.depth) else None
        left_BTD: Tensor = stage.hidden_BTD if norm is None else norm(stage.hidden_BTD)
        return left_BTD

    def embed(
        self,
        batch: TextBatch,
        *,
        last_exit: int | None = None,
        exits: Sequence[int] | None = None,
    ) -> dict[int, Tensor]:
        """Embeddings by exit layer, pooled, projected and normed as the config says.

        Args:
            batch: Token ids of the texts; also those of their words where ``settings.reads_words`` says so.
            last_exit: Deepest exit wanted; all exits if None.
            exits: The exits wanted; all up to ``last_exit`` if None.

        Returns:
            Exit layer -> embedding_BW in float32, shallowest first.

        Raises:
            ModelError: The model has no such exit.
            ConfigError: An exit that reads words is wanted and the batch has none.
        """
        wanted = self.settings.wanted_exits(exits, last_exit)
        share = self.settings.table_share
        embeddings: dict[int, Tensor] = {}
        if self.settings.reads_words(wanted):
            embeddings[0] = self.embed_words(batch)
        hidden_by_exit = self(batch.token_ids_BT, batch.keep_BT, exits=wanted)
        for exit_layer, hidden_BTD in hidden_by_exit.items():
            own_BW = self.project(exit_layer, hidden_BTD, batch.keep_BT)
            # Exit 0 is trained by its own term of the loss alone, so that it stays useful by itself.
            embeddings[exit_layer] = join(own_BW, embeddings[0].detach(), share) if share else own_BW
        return {exit_layer: embeddings[exit_layer] for exit_layer in wanted}

    def project(self, exit_layer: int, hidden_BTD: Tensor, keep_BT: Tensor) -> Tensor:
        """Pool, project and norm the hidden states of one exit, without the share of exit 0 [B,W]."""
        vectors_BW = pool(hidden_BTD, keep_BT.bool(), self.settings.pooling)
        if str(exit_layer) in self.heads:
            vectors_BW = self.heads[str(exit_layer)](vectors_BW)
        return normalize(vectors_BW.float(), self.settings.norm_rule)

    def embed_words(self, batch: TextBatch) -> Tensor:
        """Embedding_BW of exit 0: unit weighted sums of the token table; zeros for a text without words."""
        if self.table is None or batch.word_ids_N is None or batch.word_offsets_B is None:
            self.settings.check_exit(0)
            raise ConfigError("exit 0 needs the batch's words", remedy="Make the batch with words=True.")
        return normalize(self.table(batch.word_ids_N, batch.word_offsets_B, batch.word_factors_N).float())

    def freeze(self, *, layers: int, embeddings: bool = True) -> None:
        """Exclude the lowest blocks from training, so that the hidden states up to there do not change.

        Heads and the token table stay trainable.

        Raises:
            ConfigError: The model has fewer layers.
        """
        if not 0 <= layers <= len(self.layers):
            raise ConfigError("layers to freeze", got=layers, allowed=f"0 to {len(self.layers)}")
        if embeddings and self.embeddings is not None:
            self.embeddings.requires_grad_(False)
        self.layers[:layers].requires_grad_(False)

    def _run(self, block: nn.Module, hidden_BTD: Tensor, *rest: Any) -> Tensor:
        if self.gradient_checkpointing and self.training:
            hidden_BTD = torch.utils.checkpoint.checkpoint(block, hidden_BTD, *rest, use_reentrant=False)
        else:
            hidden_BTD = block(hidden_BTD, *rest)
        return hidden_BTD

    def _init_weights(self, module: nn.Module) -> None:
        """Weights of a fresh model: normal with ``init_std``, biases 0, norms 1, token weights 1."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, TokenTable):
            nn.init.normal_(module.vectors, std=self.config.init_std)
            nn.init.ones_(module.token_weights)
