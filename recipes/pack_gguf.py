"""Repack a Qwen2 GGUF so that torch and safetensors alone can load it, in pieces for a slow connection.

    python recipes/pack_gguf.py model.gguf --out packed/ --piece-mib 60

Quantised blocks are copied. The input embedding is dropped if there is an output layer: Qwen2 ties them, and the
output's copy is the more precise one. Needs the package ``gguf`` for reading, and the tokenizer as
``tokenizer.json`` beside the GGUF file.
"""

from __future__ import annotations

import argparse
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
from gguf import GGUFReader  # type: ignore[import-not-found]
from safetensors.numpy import save_file


def pack(gguf: Path, out: Path, *, piece_bytes: int) -> None:
    reader = GGUFReader(gguf)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "output.weight" in tensors:
        embedding = tensors.pop("output.weight")
        tensors.pop("token_embd.weight")
    else:
        embedding = tensors.pop("token_embd.weight")
    tokenizer_file = gguf.with_name("tokenizer.json")
    packed = {name: np.ascontiguousarray(tensor.data) for name, tensor in tensors.items()}
    packed["embedding"] = np.ascontiguousarray(embedding.data)
    types = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    types["embedding"] = embedding.tensor_type.name

    def field(name: str) -> float:
        return float(reader.fields[f"qwen2.{name}"].contents())

    settings = {
        "layers": int(field("block_count")),
        "heads": int(field("attention.head_count")),
        "kv_heads": int(field("attention.head_count_kv")),
        "norm_epsilon": field("attention.layer_norm_rms_epsilon"),
        "rope_base": field("rope.freq_base"),
        "name": str(reader.fields["general.name"].contents()),
        "gguf_sha256": sha256(gguf.read_bytes()).hexdigest(),
    }
    out.mkdir(parents=True, exist_ok=True)
    model = out / "model.safetensors"
    save_file(packed, model, metadata={"types": json.dumps(types), "settings": json.dumps(settings)})
    (out / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
    content = model.read_bytes()
    (out / "SHA256").write_text(f"{sha256(content).hexdigest()}  model.safetensors\n")
    print(f"{model}: {len(content)} bytes")
    for number, start in enumerate(range(0, len(content), piece_bytes)):
        folder = out / f"{number:02d}"
        folder.mkdir(exist_ok=True)
        piece = content[start : start + piece_bytes]
        (folder / "piece").write_bytes(piece)
        (folder / "SHA256").write_text(f"{sha256(piece).hexdigest()}  piece\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--piece-mib", type=int, default=60)
    given = parser.parse_args()
    pack(given.gguf, given.out, piece_bytes=given.piece_mib << 20)


if __name__ == "__main__":
    main()
