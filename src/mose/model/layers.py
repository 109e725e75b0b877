"""The blocks of StarCoder 2, BERT and Llama; attention is bidirectional or causal.

Shapes: B batch, T tokens, D width, H query heads, G key/value heads, C width of one head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from mose.model.settings import ModelSettings

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine, each [B,1,T,C]."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Sequences packed into one row: no padding, and no attention from one to another."""

    lengths: tuple[int, ...]
    """Tokens of each of N sequences."""
    bounds_N1: Tensor  # noqa: N815
    """First token of each sequence, then the number of tokens; int32."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Segments:
        """Sequences of these lengths, one after the other."""
        bounds_N1 = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
        return cls(tuple(lengths), bounds_N1)

    def to(self, device: torch.device) -> Segments:
        """The same on another device."""
        return Segments(self.lengths, self.bounds_N1.to(device, non_blocking=True))

    def positions(self) -> Tensor:
        """Position of each token in its own sequence [1,T]."""
        starts_N = self.bounds_N1[:-1].long()
        lengths_N = self.bounds_N1.diff()
        total = sum(self.lengths)
        starts_T = starts_N.repeat_interleave(lengths_N, output_size=total)
        return (torch.arange(total, device=starts_T.device) - starts_T)[None]


Mask = Tensor | Segments | None
"""Where attention may look: True in a tensor that broadcasts to [B,H,T,T], inside each segment, or everywhere. A causal
model looks at no later token in any case."""


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu": functional.gelu,
    "silu": functional.silu,
}


def build_norm(settings: ModelSettings) -> nn.Module:
    """A norm over the width of the encoder."""
    kind = nn.RMSNorm if settings.block == "llama" else nn.LayerNorm
    return kind(settings.hidden_size, eps=settings.norm_eps)


class Attention(nn.Module):
    """Attention of real tokens to real tokens, all or those before; a key/value head serves several query heads."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        width, head_size = settings.hidden_size, settings.head_size
        self.num_heads, self.num_kv_heads = settings.num_heads, settings.num_kv_heads
        self.head_size = head_size
        self.dropout = settings.attention_dropout
        self.causal = settings.causal
        self.query = nn.Linear(width, settings.num_heads * head_size, bias=settings.use_bias)
        self.key = nn.Linear(width, settings.num_kv_heads * head_size, bias=settings.use_bias)
        self.value = nn.Linear(width, settings.num_kv_heads * head_size, bias=settings.use_bias)
        self.output = nn.Linear(settings.num_heads * head_size, width, bias=settings.use_bias)

    def forward(self, hidden_BTD: Tensor, mask: Mask, rotary: Rotary | None) -> Tensor:
        """Mixed tokens [B,T,D]."""
        query_BHTC = self._split(self.query(hidden_BTD), self.num_heads)
        key_BGTC = self._split(self.key(hidden_BTD), self.num_kv_heads)
        value_BGTC = self._split(self.value(hidden_BTD), self.num_kv_heads)
        if rotary is not None:
            query_BHTC, key_BGTC = rotate(query_BHTC, *rotary), rotate(key_BGTC, *rotary)
        if isinstance(mask, Segments):
            mixed_BHTC = attend_within(query_BHTC, key_BGTC, value_BGTC, mask, causal=self.causal)
        else:
            shared_by = self.num_heads // self.num_kv_heads
            mixed_BHTC = functional.scaled_dot_product_attention(
                query_BHTC,
                key_BGTC.repeat_interleave(shared_by, dim=1) if shared_by > 1 else key_BGTC,
                value_BGTC.repeat_interleave(shared_by, dim=1) if shared_by > 1 else value_BGTC,
                attn_mask=mask,
                is_causal=self.causal and mask is None,
                dropout_p=self.dropout if self.training else 0.0,
            )
        output: Tensor = self.output(mixed_BHTC.transpose(1, 2).flatten(2))
        return output

    def _split(self, tokens_BTX: Tensor, num_heads: int) -> Tensor:
        num_rows, num_tokens, _ = tokens_BTX.shape
        return tokens_BTX.view(num_rows, num_tokens, num_heads, self.head_size).transpose(1, 2)


class MLP(nn.Module):
    """Linear, activation, Linear; with a gate, the activation is the gate's."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        width, inner = settings.hidden_size, settings.intermediate_size
        self.gate = nn.Linear(width, inner, bias=settings.use_bias) if settings.block == "llama" else None
        self.up = nn.Linear(width, inner, bias=settings.use_bias)
        self.down = nn.Linear(inner, width, bias=settings.use_bias)
        self.activation = ACTIVATIONS[settings.activation]

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Transformed tokens [B,T,D]."""
        if self.gate is None:
            inner_BTX = self.activation(self.up(hidden_BTD))
        else:
            inner_BTX = self.activation(self.gate(hidden_BTD)) * self.up(hidden_BTD)
        output: Tensor = self.down(inner_BTX)
        return output


class Block(nn.Module):
    """One layer: attention and MLP, each with a residual; normed before, or after (bert)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.norm_first = settings.pre_norm
        self.dropout = settings.residual_dropout
        self.attention_norm = build_norm(settings)
        self.attention = Attention(settings)
        self.mlp_norm = build_norm(settings)
        self.mlp = MLP(settings)

    def forward(self, hidden_BTD: Tensor, mask: Mask = None, rotary: Rotary | None = None) -> Tensor:
        """Hidden states after this layer [B,T,D]."""
        if self.norm_first:
            update_BTD = self.attention(self.attention_norm(hidden_BTD), mask, rotary)
            hidden_BTD = hidden_BTD + self._drop(update_BTD)
            return hidden_BTD + self._drop(self.mlp(self.mlp_norm(hidden_BTD)))
        hidden_BTD = self.attention_norm(hidden_BTD + self._drop(self.attention(hidden_BTD, mask, rotary)))
        normed_BTD: Tensor = self.mlp_norm(hidden_BTD + self._drop(self.mlp(hidden_BTD)))
        return normed_BTD

    def _drop(self, update_BTD: Tensor) -> Tensor:
        return functional.dropout(update_BTD, p=self.dropout, training=self.training)


class Embeddings(nn.Module):
    """Token vectors; with learned positions (bert) also their sum with the position's vector, normed."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.dropout = settings.embedding_dropout
        self.tokens = nn.Embedding(settings.vocab_size, settings.hidden_size)
        learned = not settings.pre_norm
        self.positions = nn.Embedding(settings.max_positions, settings.hidden_size) if learned else None
        self.norm = build_norm(settings) if learned else None

    def forward(self, token_ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
        """Input of the first block [B,T,D]."""
        hidden_BTD: Tensor = self.tokens(token_ids_BT)
        if self.positions is not None and self.norm is not None:
            hidden_BTD = self.norm(hidden_BTD + self.positions(positions_BT))
        return functional.dropout(hidden_BTD, p=self.dropout, training=self.training)


@torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
def attend_within(
    query_1HTC: Tensor, key_1GTC: Tensor, value_1GTC: Tensor, segments: Segments, *, causal: bool = False
) -> Tensor:
    """Attention of every token to the tokens of its own segment [1,H,T,C]; without dropout, as the kernel has none.

    One kernel in half precision on a GPU. Elsewhere one product for each sequence, which costs less than one product
    with a block mask over all of them.
    """
    if value_1GTC.is_cuda and value_1GTC.dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention.varlen import varlen_attn

        half, bounds_N1, longest = value_1GTC.dtype, segments.bounds_N1, max(segments.lengths)
        query_THC, key_TGC, value_TGC = (
            heads[0].transpose(0, 1).to(half) for heads in (query_1HTC, key_1GTC, value_1GTC)
        )
        shared_by = query_THC.shape[1] // key_TGC.shape[1]
        if shared_by > 1:  # torch before 2.12 has no enable_gqa here
            key_TGC, value_TGC = (heads.repeat_interleave(shared_by, dim=1) for heads in (key_TGC, value_TGC))
        window = (-1, 0) if causal else (-1, -1)
        mixed_THC = varlen_attn(
            query_THC, key_TGC, value_TGC, bounds_N1, bounds_N1, longest, longest, window_size=window
        )
        assert isinstance(mixed_THC, Tensor)
        return mixed_THC.transpose(0, 1)[None]
    parts = (torch.split(heads, list(segments.lengths), dim=2) for heads in (query_1HTC, key_1GTC, value_1GTC))
    mixed = [
        functional.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True)
        for query, key, value in zip(*parts, strict=True)
    ]
    return torch.cat(mixed, dim=2)


def attention_mask(keep_BT: Tensor, *, causal: bool) -> Tensor:
    """True where attention may look: real tokens, [B,1,1,T], or for a causal model those before, [B,1,T,T]."""
    keys_B11T = keep_BT[:, None, None, :]
    if not causal:
        return keys_B11T
    num_tokens = keep_BT.shape[1]
    return keys_B11T & torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=keep_BT.device).tril()


def positions_of(keep_BT: Tensor) -> Tensor:
    """Positions counted over real tokens alone, so that padding has no effect on either side."""
    return (keep_BT.long().cumsum(dim=1) - 1).clamp(min=0)


def rotary_tables(positions_BT: Tensor, *, head_size: int, theta: float, dtype: torch.dtype) -> Rotary:
    """Cosine and sine of each position's angles, the same for both halves of a head (GPT-NeoX layout)."""
    steps = torch.arange(0, head_size, 2, device=positions_BT.device, dtype=torch.float32) / head_size
    angles_BTC = positions_BT[..., None].float() * (1.0 / theta**steps)
    angles_BTC = torch.cat((angles_BTC, angles_BTC), dim=-1)[:, None]
    return angles_BTC.cos().to(dtype), angles_BTC.sin().to(dtype)


def rotate(heads_BHTC: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate heads by the angles of their positions (RoFormer, equation 34)."""
    first, second = heads_BHTC.chunk(2, dim=-1)
    return heads_BHTC * cosine + torch.cat((-second, first), dim=-1) * sine
