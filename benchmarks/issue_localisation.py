"""Bug localisation: the whole report is the query, the code that the fix changed is the answer.

    python benchmarks/issue_localisation.py --data DATA --repositories REPOSITORIES --out FILE

DATA holds issue-localisation/lite.jsonl.xz. REPOSITORIES holds one git repository per project, with or without a work
tree, named after its owner and name (``psf+requests``). FILE gets one JSON line for each answered report; the same
command continues an interrupted run. ``--instances N`` asks every n-th report. Trees and indexes are kept beside FILE,
or in ``--work``. The last line printed is JSON, as in benchmarks/results/issue-localisation-<commit>.json.

File@k: all files of the fix are among the first k files; any@10: one is. MRR: of the first file. func@10: the first ten
chunks overlap all functions of the fix. file 8k and func 8k: the answer for a budget of so many tokens holds all of them;
"as ranked", the first chunks of the ranking do that fit.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plain_bm25 import Chunk, index_chunks, words_of
from results import commit, write_result
from splits import interval

from mose.metrics.significance import Interval, two_stage_interval
from mose.search.hits import Hit
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions

NAME = "issue-localisation"
MEASURES = ("File@1", "File@5", "File@10", "any@10", "MRR", "func@10", "file 8k", "func 8k")
CHARS_PER_TOKEN = 4
PARTS: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "sympy": lambda name: name == "sympy/sympy",
    "without sympy": lambda name: name != "sympy/sympy",
}
"""Parts of the reports by the name of their repository: more than half are of one."""
NUM_FILES = 100
NUM_CHUNKS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A bug report and what its fix changed."""

    instance: str
    repository: str
    revision: str
    text: str
    files: tuple[str, ...]
    functions: tuple[Chunk, ...]


def load_reports(data: Path, count: int | None = None) -> list[Report]:
    """All reports by repository and number, or every n-th so that ``count`` are left."""
    with lzma.open(data / NAME / "lite.jsonl.xz", "rt", encoding="utf8") as lines:
        rows = [json.loads(line) for line in lines]
    rows.sort(key=lambda row: (row["repo"], int(row["instance_id"].rpartition("-")[2])))
    if count is not None:
        rows = [rows[position * len(rows) // count] for position in range(min(count, len(rows)))]
    return [_report(row) for row in rows]


def _report(row: dict[str, Any]) -> Report:
    functions = row.get("gold_functions") or ()
    return Report(
        instance=row["instance_id"],
        repository=row["repo"],
        revision=row["base_commit"],
        text=row["problem_statement"],
        files=tuple(row["gold_files"]),
        functions=tuple(
            Chunk(path=function["file"], first_line=function["start"], last_line=function["end"], num_chars=0)
            for function in functions
        ),
    )


def extract_tree(repository: Path, revision: str, folder: Path) -> None:
    """Write the files of a revision to a folder, without those that the repository does not have.

    Not ``git archive``, which ends at the first file that a partial copy of a repository lacks.
    """
    git = ["git", f"--git-dir={repository / '.git' if (repository / '.git').exists() else repository}"]
    listed = subprocess.run([*git, "ls-tree", "-rz", revision], check=True, capture_output=True).stdout
    entries = [entry.partition(b"\t") for entry in listed.split(b"\0") if entry]
    blobs = [(head.split()[2], path) for head, _, path in entries if head.startswith(b"100")]
    asked = b"".join(blob + b"\n" for blob, _ in blobs)
    unfinished = folder.with_name(folder.name + ".unfinished")
    with subprocess.Popen([*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        contents = reader.communicate(asked)[0]
    start = 0
    for _, path in blobs:
        end = contents.index(b"\n", start)
        head, start = contents[start:end].split(), end + 1
        if head[1] == b"missing":
            continue
        file = unfinished / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[start : start + int(head[2])])
        start += int(head[2]) + 1
    unfinished.rename(folder)


def measure(report: Report, files: Sequence[str], chunks: Sequence[Chunk], bundle: Sequence[Chunk]) -> dict[str, float]:
    """The measures of one answer; those of functions are absent where the fix changed none.

    Args:
        report: The report, with the right answer.
        files: The files of the answer, best first.
        chunks: Its chunks, best first.
        bundle: The chunks of the answer that was made for a budget.
    """
    ranks = [files.index(file) + 1 for file in report.files if file in files]
    all_found = len(ranks) == len(report.files)
    values = {f"File@{k}": float(all_found and max(ranks) <= k) for k in (1, 5, 10)}
    values["any@10"] = float(any(rank <= 10 for rank in ranks))
    values["MRR"] = 1 / min(ranks) if ranks else 0.0
    values["file 8k"] = float(set(report.files) <= {chunk.path for chunk in bundle})
    if report.functions:
        values["func@10"] = float(overlaps_all(report, chunks[:10]))
        values["func 8k"] = float(overlaps_all(report, bundle))
    return values


def overlaps_all(report: Report, chunks: Sequence[Chunk]) -> bool:
    """Whether every function of the fix shares a line with one of the chunks."""
    return all(
        any(
            chunk.path == function.path
            and chunk.first_line <= function.last_line
            and chunk.last_line >= function.first_line
            for chunk in chunks
        )
        for function in report.functions
    )


def within(chunks: Sequence[Chunk], max_tokens: int) -> list[Chunk]:
    """The longest beginning of the chunks that fits into so many tokens."""
    total, kept = 0, []
    for chunk in chunks:
        total += chunk.num_chars
        if total > max_tokens * CHARS_PER_TOKEN:
            break
        kept.append(chunk)
    return kept


def answers(report: Report, root: Path, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """The measures of every system that is compared, on one report."""
    with CodeIndex.open(root, model=args.model, exit=args.exit) as index:
        started = time.perf_counter()
        hits = index.search(report.text, SearchOptions(limit=NUM_FILES, budget_s=args.budget))
        seconds = time.perf_counter() - started
        found = index.search(report.text, SearchOptions(limit=NUM_CHUNKS, budget_s=args.budget, per_file=False))
        bundle = index.search(report.text, SearchOptions(limit_tokens=args.max_tokens, budget_s=args.budget))
    files, chunks = [hit.path for hit in hits], _chunks(found)
    yield "mose", measure(report, files, chunks, _chunks(bundle)) | {"seconds": round(seconds, 3)}
    yield "mose, as ranked", measure(report, files, chunks, within(chunks, args.max_tokens))
    if args.baseline:
        chunks = index_chunks(root)(list(dict.fromkeys(words_of(report.text))), 500)
        files = list(dict.fromkeys(chunk.path for chunk in chunks))
        yield "BM25, 50-line chunks", measure(report, files, chunks, within(chunks, args.max_tokens))


def _chunks(hits: Iterable[Hit]) -> list[Chunk]:
    return [
        Chunk(path=hit.path, first_line=hit.start_line, last_line=hit.end_line, num_chars=len(hit.text)) for hit in hits
    ]


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Answer the reports that have no answer yet; returns all values by system and report."""
    settings = {"commit": commit(), "model": args.model, "exit": args.exit, "max_tokens": args.max_tokens}
    known = _read_known(args.out, settings)
    reports = load_reports(args.data, args.instances)
    with args.out.open("a", encoding="utf8") as out:
        for report in reports:
            if report.instance in known:
                continue
            root = args.work / "trees" / report.instance
            if not root.exists():
                extract_tree(_repository(args.repositories, report.repository), report.revision, root)
            found = dict(answers(report, root, args))
            known[report.instance] = {"repository": report.repository, "values": found}
            out.write(json.dumps({"instance": report.instance, **known[report.instance]}) + "\n")
            out.flush()
            print(f"{report.instance:30} {_short(found['mose'])}", flush=True)
    return {**settings, "reports": {report.instance: known[report.instance] for report in reports}}


def _read_known(file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Answers of earlier runs with the same settings, without an unfinished last line."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings) + "\n", encoding="utf8")
        return {}
    first, *lines = file.read_text(encoding="utf8").splitlines(keepends=True)
    if json.loads(first) != settings:
        raise SystemExit(f"{file} holds answers of {first.strip()}, not of {json.dumps(settings)}: name another --out")
    whole = [line for line in lines if line.endswith("\n")]
    file.write_text("".join([first, *whole]), encoding="utf8")
    rows = [json.loads(line) for line in whole]
    return {row.pop("instance"): row for row in rows}


def _repository(folder: Path, name: str) -> Path:
    found = folder / name.replace("/", "+")
    return found / "repo" if (found / "repo").is_dir() else found


def _short(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {values[name]:.2f}" for name in MEASURES if name in values)


def rows(reports: dict[str, Any]) -> Iterator[tuple[str, str, str, Interval]]:
    """System, measure, part of the reports, and the mean with an interval that resamples repositories."""
    for system in next(iter(reports.values()))["values"]:
        for name in MEASURES:
            for part, belongs in PARTS.items():
                clusters: dict[str, list[float]] = {}
                for report in reports.values():
                    if belongs(report["repository"]) and name in report["values"][system]:
                        clusters.setdefault(report["repository"], []).append(report["values"][system][name])
                if clusters:
                    values = [np.array(cluster) for cluster in clusters.values()]
                    yield system, name, part, two_stage_interval(values, pooled=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where trees and indexes are kept, for repeated runs")
    parser.add_argument("--out", type=Path, required=True, help="one JSON line per report; continued if it exists")
    parser.add_argument("--instances", type=int, help="every n-th report, so many in all")
    parser.add_argument("--model", default="small")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the short list (60: no limit)")
    parser.add_argument("--max-tokens", type=int, default=8000)
    parser.add_argument("--baseline", action="store_true", help="BM25 over 50-line chunks as well")
    args = parser.parse_args()
    args.work = args.work or args.out.parent / NAME
    os.environ["MOSE_HOME"] = str(args.work / "home")
    result = evaluate(args)
    table: dict[str, Any] = {}
    for system, name, part, mean in rows(result["reports"]):
        table.setdefault(system, {}).setdefault(name, {})[part] = mean
    for system, by_measure in table.items():
        print("\n" + f"{system:24}" + "".join(f"{part:24}" for part in PARTS))
        for name, means in by_measure.items():
            print(f"{name:24}" + "".join(f"{interval(means[part]) if part in means else '':24}" for part in PARTS))
            by_measure[name] = {part: asdict(mean) for part, mean in means.items()}
    write_result(NAME, {"table": table, **result})


if __name__ == "__main__":
    main()
