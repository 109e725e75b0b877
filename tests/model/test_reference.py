"""Our blocks against transformers' own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, RobertaConfig, RobertaModel, Starcoder2Config
from transformers.models.starcoder2.modeling_starcoder2 import Starcoder2Model

from mose.model.checkpoint import load_model
from mose.model.convert.bert import ConvertRecipe, convert_bert
from mose.model.encoder import MoseModel
from mose.model.layers import Segments
from mose.model.transformers_config import MoseConfig

from .conftest import randomized

KEEP = torch.arange(11)[None] < torch.tensor([11, 7, 1])[:, None]
IDS = torch.randint(5, 90, (3, 11), generator=torch.Generator().manual_seed(3)).where(KEEP, 0)
TOLERANCE = 1e-5


def assert_close_where_real(ours: torch.Tensor, theirs: torch.Tensor, keep: torch.Tensor = KEEP) -> None:
    difference = (ours - theirs).abs()[keep].max().item()
    assert difference < TOLERANCE * max(1.0, theirs.abs()[keep].max().item())


def save_foreign(theirs: torch.nn.Module, folder: Path) -> Path:
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(95))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


def small(kind: type, **changes: object) -> object:
    return kind(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
                max_position_embeddings=24, **changes)  # fmt: skip


def test_converted_bert_equals_bert_model_at_every_exit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = BertModel(small(BertConfig)).eval()
    convert_bert(save_foreign(theirs, tmp_path / "bert"), tmp_path / "ladder", ConvertRecipe(exits=(1, 2, 3)))
    with torch.no_grad():
        ours = load_model(tmp_path / "ladder")(IDS, KEEP)
        expected = theirs(IDS, attention_mask=KEEP.long(), output_hidden_states=True).hidden_states
    assert list(ours) == [1, 2, 3]
    for exit_layer, hidden in ours.items():
        assert_close_where_real(hidden, expected[exit_layer])


def test_converted_roberta_equals_roberta_model_at_every_exit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = RobertaModel(small(RobertaConfig, pad_token_id=1, type_vocab_size=1)).eval()
    convert_bert(save_foreign(theirs, tmp_path / "bert"), tmp_path / "ladder", ConvertRecipe(exits=(1, 2, 3)))
    ids = IDS.where(KEEP, 1)
    with torch.no_grad():
        ours = load_model(tmp_path / "ladder")(ids, KEEP)
        expected = theirs(ids, attention_mask=KEEP.long(), output_hidden_states=True).hidden_states
    for exit_layer, hidden in ours.items():
        assert_close_where_real(hidden, expected[exit_layer])


def starcoder2_twin(ours: MoseModel) -> Starcoder2Model:
    """transformers' model with our weights."""
    settings = ours.settings
    config = Starcoder2Config(
        vocab_size=settings.vocab_size, hidden_size=settings.hidden_size, intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_layers, num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_kv_heads, rope_theta=settings.rope_theta, norm_epsilon=settings.norm_eps,
        sliding_window=None, use_bias=True, attn_implementation="eager",
    )  # fmt: skip
    theirs = Starcoder2Model(config).eval()
    theirs.load_state_dict(renamed(ours, NAMES | {"mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}))
    return theirs


NAMES = {
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj", "mlp.gate": "mlp.gate_proj",
    "attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
    "embeddings.tokens": "embed_tokens", "final_norm": "norm",
}  # fmt: skip


@torch.no_grad()
def starcoder2_states(theirs: Starcoder2Model, ids: torch.Tensor, keep: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states after each block when every token sees every real token; the last one normed."""
    hidden = theirs.embed_tokens(ids)
    positions = (keep.long().cumsum(dim=1) - 1).clamp(min=0)
    mask = torch.zeros(keep.shape).masked_fill(~keep, torch.finfo(torch.float32).min)[:, None, None, :]
    rotary = theirs.rotary_emb(hidden, positions)
    states = [hidden]
    for layer in theirs.layers:
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary, position_ids=positions)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        states.append(hidden)
    return [*states[:-1], theirs.norm(states[-1])]


@pytest.mark.parametrize("padding", ["left", "right"])
def test_starcoder2_equals_bidirectional_starcoder2_layers_at_every_exit(padding: str) -> None:
    ours = randomized(MoseConfig.preset("tiny", exits=(1, 2, 3, 4), rope_theta=999999.4420358813))
    keep = KEEP if padding == "right" else KEEP.flip(1)
    ids = IDS if padding == "right" else IDS.flip(1)
    expected = starcoder2_states(starcoder2_twin(ours), ids, keep)
    with torch.no_grad():
        hidden_by_exit = ours(ids, keep)
    for exit_layer, hidden in hidden_by_exit.items():
        assert_close_where_real(hidden, expected[exit_layer], keep)


def test_final_norm_acts_on_the_last_exit_alone_unless_asked_for() -> None:
    last = randomized(MoseConfig.preset("tiny"))
    every = MoseModel(MoseConfig.preset("tiny", final_norm="every")).eval()
    every.load_state_dict(last.state_dict())
    with torch.no_grad():
        raw, normed = last(IDS, KEEP), every(IDS, KEEP)
        for exit_layer in (1, 2):
            torch.testing.assert_close(last.final_norm(raw[exit_layer]), normed[exit_layer])
            assert not torch.allclose(raw[exit_layer], normed[exit_layer])
    torch.testing.assert_close(raw[4], normed[4])


def renamed(ours: MoseModel, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Our weights by transformers' names."""
    tensors = {}
    for name, tensor in ours.state_dict().items():
        if not name.startswith(("heads.", "table.")):
            for mine, other in names.items():
                name = name.replace(f"{mine}.", f"{other}.") if f".{mine}." in f".{name}" else name
            tensors[name] = tensor
    return tensors


@pytest.mark.parametrize("padding", ["left", "right"])
def test_causal_starcoder2_equals_the_decoder_at_every_exit(padding: str) -> None:
    ours = randomized(MoseConfig.preset("tiny", exits=(1, 2, 3, 4), causal=True))
    theirs = starcoder2_twin(ours)
    keep = KEEP if padding == "right" else KEEP.flip(1)
    ids = IDS if padding == "right" else IDS.flip(1)
    assert_equal_to_decoder(ours, theirs, ids, keep)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_causal_llama_equals_the_decoder_at_every_exit(padding: str, kv_heads: int) -> None:
    changes = {"block": "llama", "activation": "silu", "use_bias": False, "causal": True, "exits": (1, 2, 3, 4)}
    ours = randomized(MoseConfig.preset("tiny", rope_theta=100_000.0, num_kv_heads=kv_heads, **changes))
    settings = ours.settings
    config = LlamaConfig(
        vocab_size=settings.vocab_size, hidden_size=settings.hidden_size, intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_layers, num_attention_heads=settings.num_heads, num_key_value_heads=kv_heads,
        rope_theta=settings.rope_theta, rms_norm_eps=settings.norm_eps, attn_implementation="eager",
    )  # fmt: skip
    theirs = LlamaModel(config).eval()
    theirs.load_state_dict(renamed(ours, NAMES))
    keep = KEEP if padding == "right" else KEEP.flip(1)
    ids = IDS if padding == "right" else IDS.flip(1)
    assert_equal_to_decoder(ours, theirs, ids, keep)


@torch.no_grad()
def assert_equal_to_decoder(ours: MoseModel, theirs: torch.nn.Module, ids: torch.Tensor, keep: torch.Tensor) -> None:
    positions = (keep.long().cumsum(dim=1) - 1).clamp(min=0)
    expected = theirs(
        ids, attention_mask=keep.long(), position_ids=positions, output_hidden_states=True, use_cache=False
    ).hidden_states
    for exit_layer, hidden in ours(ids, keep).items():
        assert_close_where_real(hidden, expected[exit_layer], keep)
        assert not hidden.isnan().any()
    # Without padding there is no mask at all.
    full = ours(ids[:1].where(keep[:1], 7), torch.ones_like(keep[:1]))
    expected = theirs(ids[:1].where(keep[:1], 7), output_hidden_states=True, use_cache=False).hidden_states
    for exit_layer, hidden in full.items():
        assert_close_where_real(hidden, expected[exit_layer], torch.ones_like(keep[:1]))


def test_a_causal_model_does_not_see_what_follows() -> None:
    for causal in (True, False):
        ours = randomized(MoseConfig.preset("tiny", block="llama", activation="silu", causal=causal))
        changed = IDS[:1].clone()
        changed[0, -1] += 1
        with torch.no_grad():
            first, second = ours(IDS[:1], KEEP[:1])[4], ours(changed, KEEP[:1])[4]
        assert torch.equal(first[:, :-1], second[:, :-1]) == causal


def test_packed_sequences_of_a_causal_model_equal_padded_ones() -> None:
    ours = randomized(MoseConfig.preset("tiny", block="llama", activation="silu", causal=True))
    segments = Segments.of(KEEP.sum(dim=1).tolist())
    packed = IDS[KEEP][None]
    with torch.no_grad():
        expected = ours(IDS, KEEP)
        found = ours(packed, torch.ones_like(packed), segments=segments)
    for exit_layer, hidden in found.items():
        torch.testing.assert_close(hidden[0], expected[exit_layer][KEEP], atol=1e-5, rtol=0)
