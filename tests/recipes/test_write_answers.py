"""The GPU writer, on the CPU: the same tokens as transformers' own, whatever the other slots hold."""

import json
import lzma
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformers import Qwen2Config, Qwen2ForCausalLM

RECIPES = Path(__file__).parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))

import write_answers  # noqa: E402
from write_answers import AnswerFiles, Model, Request, Writer, answered, dequantised  # noqa: E402

torch.set_num_threads(1)
NUM_TOKENS = 80
END = 7


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=NUM_TOKENS,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.3,
        rope_theta=10_000.0,
        eos_token_id=END,
        pad_token_id=0,
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    names = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    state = reference.state_dict()
    packed = {
        "embedding": state["model.embed_tokens.weight"].clone(),
        "output_norm.weight": state["model.norm.weight"].clone(),
    }
    for name, tensor in state.items():
        if name.startswith("model.layers."):
            _, _, number, rest = name.split(".", 3)
            stem, kind = rest.rsplit(".", 1)
            packed[f"blk.{number}.{names[stem]}.{kind}"] = tensor.clone()
    types = {name: "F32" for name in packed}
    settings = {"layers": 3, "heads": 6, "kv_heads": 2, "norm_epsilon": 1e-6, "rope_base": 10_000.0, "name": "tiny"}
    about = {"types": json.dumps(types), "settings": json.dumps(settings)}
    save_file(packed, folder / "model.safetensors", metadata=about)
    return folder


def expected(reference, prompt, limit):
    written = []
    for _ in range(limit):
        with torch.inference_mode():
            logits = reference(torch.tensor([prompt + written])).logits[0, -1]
        written.append(int(logits.argmax()))
        if written[-1] == END:
            break
    return written


def run(writer, requests, prompts, **changes):
    settings = {"deadline": time.monotonic() + 120, "window": 8, "refill": 2, "read_tokens": 60, "steps_a_look": 3}
    answers = write_answers.write_answers(writer, requests, prompts.__getitem__, **(settings | changes))
    return {request.id: tokens for request, tokens, _, _ in answers}


@pytest.mark.parametrize("slots", [1, 4, 32])
def test_greedy_answers_equal_transformers(reference, folder, slots):
    generator = np.random.default_rng(5)
    prompts = [generator.integers(8, NUM_TOKENS, size=size).tolist() for size in generator.integers(2, 40, size=18)]
    limits = [int(limit) for limit in generator.integers(1, 25, size=18)]
    requests = [
        Request(id=str(number), messages=[], max_tokens=limit, temperature=0.0) for number, limit in enumerate(limits)
    ]
    writer = Writer(Model(folder, "cpu", torch.float32), slots=slots, length=64, most_new=32, ends=[END])
    found = run(writer, requests, prompts)
    wanted = {
        str(number): expected(reference, prompt, limit)
        for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
    }
    assert found == wanted
    assert any(tokens[-1] == END and len(tokens) > 1 for tokens in wanted.values())  # both ways to finish occur
    assert any(tokens[-1] != END for tokens in wanted.values())


def test_a_slot_that_is_done_waits_however_long_the_others_write(reference, folder):
    prompts = [list(range(8, 48)), list(range(30, 35))]
    requests = [
        Request(id=str(number), messages=[], max_tokens=limit, temperature=0.0) for number, limit in enumerate((1, 30))
    ]
    writer = Writer(Model(folder, "cpu", torch.float32), slots=2, length=48, most_new=32, ends=[NUM_TOKENS])
    assert len(run(writer, requests, prompts)["1"]) == 30


def test_answers_at_a_temperature_follow_the_softmax(reference, folder):
    prompt = list(range(20, 30))
    requests = [Request(id=str(number), messages=[], max_tokens=1, temperature=0.7) for number in range(3000)]
    writer = Writer(Model(folder, "cpu", torch.float32), slots=500, length=64, most_new=32, ends=[END])
    found = run(writer, requests, [prompt] * 3000, window=3000, read_tokens=10_000)
    shares = np.bincount([tokens[0] for tokens in found.values()], minlength=NUM_TOKENS) / 3000
    with torch.inference_mode():
        wanted = (reference(torch.tensor([prompt])).logits[0, -1] / 0.7).softmax(0).numpy()
    assert np.abs(shares - wanted).max() < 0.04
    assert (shares > 0).sum() > 1


def test_nothing_is_written_after_the_deadline(folder):
    requests = [Request(id="a", messages=[], max_tokens=5, temperature=0.0)]
    writer = Writer(Model(folder, "cpu", torch.float32), slots=2, length=64, most_new=32, ends=[END])
    assert run(writer, requests, [[9, 9]], deadline=time.monotonic() - 1) == {}


def scalar_weight(block, kind, index):
    """One weight as llama.cpp's C code computes it, independent of the vector code."""
    raw = bytes(block)
    if kind == "Q4_K":
        scale, least = np.frombuffer(raw[:4], np.float16).astype(np.float64)
        scales, nibbles = raw[4:16], raw[16:]
        group = index // 32
        if group < 4:
            factor, minimum = scales[group] & 63, scales[group + 4] & 63
        else:
            factor = (scales[group + 4] & 0xF) | ((scales[group - 4] >> 6) << 4)
            minimum = (scales[group + 4] >> 4) | ((scales[group] >> 6) << 4)
        byte = nibbles[32 * (index // 64) + index % 32]
        return scale * factor * (byte >> 4 if index % 64 >= 32 else byte & 15) - least * minimum
    low, high, scales = raw[:128], raw[128:192], np.frombuffer(raw[192:208], np.int8)
    scale = float(np.frombuffer(raw[208:210], np.float16)[0])
    half, rest = divmod(index, 128)
    quarter, place = divmod(rest, 32)
    byte = low[64 * half + 32 * (quarter % 2) + place]
    nibble = byte >> 4 if quarter >= 2 else byte & 15
    top = (high[32 * half + place] >> (2 * quarter)) & 3
    return scale * scales[8 * half + rest // 16] * ((nibble | top << 4) - 32)


@pytest.mark.parametrize(("kind", "size", "halves"), [("Q4_K", 144, (0, 2)), ("Q6_K", 210, (208,))])
def test_quantised_blocks_give_the_weights_of_the_scalar_formula(kind, size, halves):
    generator = np.random.default_rng(1)
    blocks = generator.integers(0, 256, size=(3, 2, size), dtype=np.uint8)
    for at in halves:
        blocks[..., at : at + 2] = generator.normal(size=(3, 2, 1)).astype(np.float16).view(np.uint8)
    found = dequantised(torch.from_numpy(blocks.reshape(3, 2 * size)), kind)
    wanted = [[scalar_weight(block, kind, index) for block in row for index in range(256)] for row in blocks]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-4)


def test_command_answers_each_request_once_over_two_runs(folder, tmp_path, monkeypatch, capsys):
    vocabulary = {chr(33 + token): token for token in range(NUM_TOKENS - 2)}
    vocabulary |= {"<|im_end|>": NUM_TOKENS - 2, "<|endoftext|>": NUM_TOKENS - 1}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.save(str(folder / "tokenizer.json"))
    with lzma.open(tmp_path / "asked.jsonl.xz", "wt") as file:
        for number in range(7):
            body = {"messages": [{"role": "user", "content": "A" * number}], "max_tokens": 6, "temperature": 0}
            file.write(json.dumps({"custom_id": f"q{number}", "body": body}) + "\n")
    command = ["write", str(folder), str(tmp_path / "asked.jsonl.xz"), "--out", str(tmp_path / "out"), "--slots", "3"]
    command += ["--length", "400", "--dtype", "float32", "--device", "cpu"]
    for more in (["--most", "4"], []):
        monkeypatch.setattr(sys, "argv", command + more)
        write_answers.main()
    lines = []
    for path in sorted((tmp_path / "out").glob("part-*.jsonl.xz")):
        with lzma.open(path, "rt") as file:
            lines += [json.loads(line) for line in file]
    assert sorted(line["custom_id"] for line in lines) == [f"q{number}" for number in range(7)]
    assert all(line["response"]["body"]["choices"][0]["message"]["content"] for line in lines)
    assert answered([tmp_path / "out"]) == {f"q{number}" for number in range(7)}
    assert "3 requests, 4 answered before" in capsys.readouterr().out


def test_answer_files_leave_no_half_written_part(tmp_path):
    files = AnswerFiles(tmp_path, seconds_a_part=1000, name="tiny")
    request = Request(id="a", messages=[], max_tokens=5, temperature=0.0)
    files.add(request, "text", num_read=1, num_written=1, finish="stop")
    files.write()
    assert list(tmp_path.iterdir()) == []
    files.write(now=True)
    assert [path.name for path in tmp_path.iterdir()] == ["part-000.jsonl.xz"]
