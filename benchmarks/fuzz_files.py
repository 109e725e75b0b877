"""Inputs of `fuzz.py`: models, archives, pairs and checkpoints of others."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

from fuzz_texts import command, mixture


def models(rng: random.Random, work: Path) -> None:
    """Damage in the small files and headers of a model folder."""
    from mose.errors import MoseError
    from mose.runtime.encoder import Encoder

    shipped = next(path for path in (Path(__import__("mose").__file__).parent).glob("*/small") if path.is_dir())
    folder = work / "model"
    folder.mkdir()
    for path in shipped.iterdir():
        os.symlink(path, folder / path.name) if rng.random() < 0.05 else os.link(path, folder / path.name)
    name = rng.choice(
        ["mose.json"] * 4
        + [path.name for path in folder.iterdir() if path.suffix != ".bin" and "LICENSE" not in path.name]
    )
    data = bytearray((folder / name).read_bytes())
    (folder / name).unlink()
    if name.endswith(".json") and rng.random() < 0.7:
        text = data.decode()
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            odd = [
                "0", "-1", "1e308", "NaN", "null", "[]", "{}", '"../../x"', '"/etc/passwd"', "9" * 400, "[" * 2000,
                "true", '"', ",",
            ]  # fmt: skip
            text = text[:at] + rng.choice(odd) + text[at + rng.randrange(12) :]
        data = bytearray(text.encode())
    else:
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(min(len(data), rng.choice([8, 64, 2000, len(data)])))] = rng.randrange(256)
    (folder / name).write_bytes(data)
    with contextlib.suppress(MoseError):
        encoder = Encoder.load(folder, exit=rng.choice([0, 2, 6]))
        encoder.encode(["def f(): pass"], kind="code")


def archives(rng: random.Random, work: Path) -> None:
    """Archives of packages: odd names, links, sizes, damage."""
    from mose.data.mine.archives import unpack
    from mose.errors import MoseError

    download, files = work / "download", work / "files"
    download.mkdir()
    files.mkdir()
    stream = io.BytesIO()
    entries = [
        "a.py", "../b.py", "/c.py", "-x", "d/" * 50 + "e.py", "a.py/f.py", "é\n.py", "CON", "x" * 300, "\\..\\y",
        "./.", "",
    ]  # fmt: skip
    if rng.random() < 0.5:
        path = download / "p-1.tar.gz"
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for _ in range(rng.randrange(1, 8)):
                info = tarfile.TarInfo(rng.choice(entries))
                info.type = rng.choice(
                    [tarfile.REGTYPE] * 4
                    + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
                )
                info.linkname = rng.choice(["/etc/passwd", "../..", "a.py"])
                data = b"x" * rng.choice([0, 10, 100_000])
                info.size = len(data) if info.type == tarfile.REGTYPE else 0
                archive.addfile(info, io.BytesIO(data) if info.size else None)
    else:
        path = download / "p-1-py3-none-any.whl"
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
            for _ in range(rng.randrange(1, 8)):
                with contextlib.suppress(ValueError):
                    zipped.writestr(rng.choice(entries) or "z", b"x" * rng.choice([0, 10, 1_000_000]))
    data = bytearray(stream.getvalue())
    if rng.random() < 0.4:
        for _ in range(rng.randrange(1, 10)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    before = sorted(work.parent.rglob("*.py"))
    with contextlib.suppress(MoseError):
        unpack(path, files, remedy="")
    outside = [found for found in work.parent.rglob("*.py") if found not in before and not found.is_relative_to(files)]
    assert not outside, f"written outside: {outside}"
    assert not [found for found in files.rglob("*") if found.is_symlink()]


def pairs(rng: random.Random, work: Path) -> None:
    """Files of pairs, with odd values and damage, through the stages that curate them."""
    words = ["read", "a", "date", "def f(x): return x", "é", "\x1b[31m", "x" * 3_000, mixture(rng, 300)]
    odd: list[object] = [
        None,
        1,
        1.5,
        True,
        [],
        {},
        ["a"],
        "",
        " ",
        "\ud800",
        "\0",
        -1,
        float("nan"),
        10**400,
        "../../x",
        "/etc",
    ]
    rows: list[dict[str, object]] = []
    for _ in range(rng.randrange(0, 12)):
        row: dict[str, object] = {
            name: " ".join(rng.choices(words, k=rng.randrange(1, 9)))
            for name in ("query", "code", "func", "path", "source")
        }
        row |= {
            "language": rng.choice(["python", "go", "C++"]),
            "kind": rng.choice(["doc", "translation"]),
            "group": "g",
        }
        if rng.random() < 0.3:
            row[rng.choice([*row, "negatives", "license", "url", "rank", "reason"])] = rng.choice(odd)
        rows.append(row)
    text = "".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data and rng.random() < 0.2:
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    name = rng.choice(["a.jsonl", "a.jsonl", "a.jsonl.xz", "a.parquet", "-x.jsonl"])
    file = work / name
    file.write_bytes(data)
    if rng.random() < 0.1:
        (work / "stage.json").write_text(
            rng.choice(["[", "{}", '{"stage": 1}', '{"stage": "x", "before": [{}]}', "[" * 9_999])
        )
    verb = rng.choice(["dedup", "check", "card", "convert", "filter"])
    more = {
        "dedup": ["--out", str(work / "out"), "--quiet"], "check": ["--against", str(file), "--quiet"], "card": [],
        "convert": ["--out", str(work / rng.choice(["o.parquet", "o.jsonl"]))], "filter": ["--out", str(work / "out"), "--quiet"],
    }[verb]  # fmt: skip
    command(rng, ["pairs", verb, str(file), *more])


CONFIG = Path(__file__).parents[1] / "configs" / "pretrain-tiny.toml"


def make_checkpoint(base: Path) -> Path:
    """A tiny BERT as its library writes it, made once."""
    folder = base / "checkpoint"
    if not folder.exists():
        import torch
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import BertConfig, BertModel

        words = {
            word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"])
        }
        tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **small)).save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def checkpoints(rng: random.Random, work: Path) -> None:
    """A model folder of another library with damage in its settings or headers, converted and planned."""
    folder = work / "model"
    shutil.copytree(make_checkpoint(work.parent), folder)
    path = rng.choice([folder / "config.json"] * 3 + [folder / "model.safetensors", folder / "tokenizer.json"])
    data = bytearray(path.read_bytes())
    if path.name == "config.json" and rng.random() < 0.8:
        values = json.loads(data)
        odd = [-1, 0, 1, 10**9, 1e308, None, [], {}, "x", True, "/etc/passwd", [10**9]]
        for _ in range(rng.randrange(1, 3)):
            values[rng.choice([*values, "auto_map", "rope_scaling", "head_dim"])] = rng.choice(odd)
        data = bytearray(json.dumps(values).encode())
    else:
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(min(len(data), rng.choice([8, 64, 2_000, len(data)])))] = rng.randrange(256)
    path.write_bytes(data)
    words = rng.choice(
        [
            ["convert", str(folder), str(work / "out"), "--no-probe", "--quiet"],
            ["info", str(folder)],
            ["plan", str(CONFIG), "--set", f"start.folder={folder}"],
            [
                "plan",
                str(CONFIG),
                "--set",
                f"{rng.choice(['batch.pairs', 'run.steps', 'objective.max_tokens'])}={rng.choice(['0', '-1', '1e999', '9' * 400, 'x', '[]'])}",
            ],
        ]
    )
    command(rng, words)
