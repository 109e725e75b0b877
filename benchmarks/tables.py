"""Write the tables of README.md and docs/ from the result files, between their markers.

python benchmarks/tables.py            # rewrite
python benchmarks/tables.py --check    # fail if a table differs from its results
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import splits
from results import with_interval

from mose.evaluate.report.markdown import body
from mose.evaluate.report.tables import matrix_table, own_part_table, set_table, summary_table, width_table
from mose.evaluate.report.values import Table, quality
from mose.evaluate.result import Result
from mose.evaluate.result_file import read_result
from mose.metrics.significance import Interval
from mose.model.info import info
from mose.model.settings import ModelSettings

HERE = Path(__file__).parent
SMALL = HERE.parent / "checkpoints" / "small"
FILES = tuple(HERE.parent / name for name in ("README.md", "docs/benchmarks.md", "docs/data.md"))


def results(name: str) -> list[dict[str, Any]]:
    """The results of a benchmark, newest first; exits if there is none."""
    found = [json.loads(path.read_text(encoding="utf8")) for path in HERE.glob(f"results/{name}-*.json")]
    if not found:
        raise SystemExit(f"no result of {name} in {HERE / 'results'}")
    return sorted(found, key=lambda result: (result["date"], result["commit"]), reverse=True)


def latest(name: str) -> dict[str, Any]:
    """The newest result of a benchmark."""
    return results(name)[0]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def searches() -> splits.Values:
    """The newest scores of repository search, by repository and system."""
    found: splits.Values = latest("repo-search")["repositories"]
    return found


def split_means(system: str) -> list[str]:
    """Mean of a system in each development split; "" where it was not run."""
    means = {title: mean for name, title, _, mean, _ in splits.part_rows(searches()) if name == system}
    return [f"{means[title].mean:.3f}" if title in means else "" for title in splits.SPLITS.values()]


def readme() -> str:
    speed = latest("encoder")["speed"]
    deepest = speed["int8 exit 6"]["processor_ms_per_chunk"]
    rows = [[name, "", "", *split_means(name), ""] for name in ("BM25, 50-line chunks", "words, signals")]
    for row in info(ModelSettings.read(SMALL)).exits:
        layer = row.exit_layer
        fused = split_means(splits.DEEPEST if layer == 6 else f"fused, exit {layer}")
        share = speed[f"int8 exit {layer}"]["processor_ms_per_chunk"] / deepest
        alone = split_means(f"exit {layer} alone")[0]
        rows.append([f"exit {layer}", f"{row.parameters / 1e6:.1f} M", f"{share:.1%}", *fused, alone])
    head = ["", "parameters", "time a chunk", "Python", "nine other languages", "seven more"]
    return markdown([*head, "its vectors alone, Python"], rows)


def repo_search() -> str:
    cells: dict[str, dict[str, str]] = {}
    for system, title, _, mean, _ in splits.part_rows(searches()):
        cells.setdefault(system, {})[title] = splits.interval(mean)
    rows = [[system, *(of.get(title, "") for title in splits.SPLITS.values())] for system, of in cells.items()]
    return markdown(["", "nine Python packages", "nine pinned, other languages", "seven older"], rows)


def kinds() -> str:
    """The search as users run it, by kind of query."""
    values = splits.of_system(searches())
    by_split = [splits.category_means(values, split) for split in splits.SPLITS]
    rows = [[kind, *(f"{means[kind]:.3f}" for means in by_split)] for kind in by_split[0]]
    return markdown(["", "nine Python packages", "nine pinned, other languages", "seven older"], rows)


def both_splits() -> str:
    """The search by language and repository, against that before names and paths were ranked in every language."""
    before = latest("before-repo-search")
    rows = [
        [name, str(count), splits.interval(mean), splits.difference(gain)]
        for name, count, mean, gain in splits.rows(
            splits.of_system(searches()), splits.of_system(before["repositories"])
        )
    ]
    return markdown(["", "queries", "NDCG@10", f"against {before['commit'][:7]}"], rows)


def left_out() -> str:
    """Each language with the weights that the others would have chosen."""
    result = latest("leave-one-language-out")
    rows = []
    for language, row in result["languages"].items():
        chosen = ", ".join(f"{name} {value:g}" for name, value in row["chosen"].items()) or "as shipped"
        gain = str(Interval(**row["difference"]))
        rows.append(
            [f"{language} ({len(row['scores'])})", f"{row['shipped']:.3f}", f"{row['left_out']:.3f}", gain, chosen]
        )
    rows.append(["all repositories", "", "", str(Interval(**result["difference"])), ""])
    return markdown(["", "shipped", "chosen without it", "difference", "what the others choose"], rows)


def issue_localisation() -> str:
    table = latest("issue-localisation")["table"]
    parts = ("all", "sympy", "without sympy")

    def value(system: str, name: str, part: str) -> str:
        return splits.interval(Interval(**table[system][name][part]))

    rows = [[name, *(value("mose", name, part) for part in parts)] for name in table["mose"]]
    for name in ("file 8k", "func 8k"):
        rows.append([f"{name}, chunks as ranked", *(value("mose, as ranked", name, part) for part in parts)])
    return markdown(["", "all 134", "sympy, 77", "the rest, 57"], rows)


def search_speed() -> str:
    rows = []
    for name, value in latest("search-speed")["rows"].items():
        if isinstance(value, dict):
            value = f"p50 {value['p50_ms']:.1f} ms, p95 {value['p95_ms']:.1f} ms at {value['chunks']:,} chunks"
        rows.append([name, str(value)])
    return markdown(["", "measured"], rows)


def encoder() -> str:
    rows = []
    for name, row in latest("encoder")["speed"].items():
        rows.append(
            [name, f"{row['chunks_per_s']:.1f}", f"{row['times_peer']:.2f}", f"{row['times_deepest_int8']:.2f}"]
        )
    return markdown(["", "chunks a second", "times sentence-transformers", "times int8 exit 6"], rows)


def rounding() -> str:
    sets = latest("encoder")["mrr"]
    rows = []
    for layer in (0, 2, 3, 4, 6):
        whole, rounded = (
            sum(row[f"{dtype} exit {layer}"] for row in sets.values()) / len(sets) for dtype in ("float32", "int8")
        )
        changes = [row[f"int8 exit {layer}"] / row[f"float32 exit {layer}"] - 1 for row in sets.values()]
        worst = min(changes)
        rows.append([f"exit {layer}", f"{whole:.3f}", f"{rounded:.3f}", f"{rounded / whole - 1:+.1%}", f"{worst:+.1%}"])
    return markdown(["", "float32", "int8", "change of the mean", "worst set"], rows)


def memory() -> str:
    result = latest("index-memory")
    keys = ("files", "chunks", "source_mb", "index_mb", "peak_all_processes_mb", "seconds")
    return markdown(["", "measured"], [[key, f"{result[key]:,}"] for key in keys])


def clones() -> str:
    rows = []
    for name, row in latest("clones")["rows"].items():
        keys = ("f1", "f1_same_language", "f1_cross_language", "average_precision")
        rows.append([name, *(f"{row[key]:.3f}" for key in keys)])
    return markdown(["", "F1", "F1, one language", "F1, across languages", "average precision"], rows)


def clones_adaptive() -> str:
    result = latest("clones")
    adaptive = result["adaptive"]
    seconds = adaptive["processor_seconds"]
    left = ", ".join(f"{share:.0%} at {exit_layer}" for exit_layer, share in adaptive["left"].items())
    rows = [
        [f"F1 of the deepest exit minus {name}", with_interval(**gain)]
        for name, gain in result["deepest_minus"].items()
        if name == result["best_baseline"] or name.startswith("words")
    ]
    rows += [
        [f"confidence that keeps {adaptive['keep']:.0%} of the F1 on validation", f"{adaptive['confidence']:g}"],
        ["F1 of the deepest exit, of the adaptive one", f"{adaptive['full_f1']:.3f}, {adaptive['f1']:.3f}"],
        ["share of the F1 kept", f"{adaptive['share_of_f1']:.1%}"],
        ["layers run, mean", f"{adaptive['layers']:.2f} ({adaptive['share_of_layers']:.1%})"],
        ["pairs that leave at an exit", left],
        ["processor time, against the deepest exit", f"{seconds['adaptive'] / seconds['deepest']:.1%}"],
    ]
    return markdown(["", "measured"], rows)


def evaluation() -> Result:
    """The newest result of ``mose eval`` on the shipped model."""
    return max((read_result(path) for path in HERE.glob("results/eval-*.json")), key=lambda result: result.date)


def of_report(make: Callable[[Result], Table]) -> Callable[[], str]:
    """A table of the report."""
    return lambda: body(make(evaluation()))


def own_parts() -> str:
    """Each exit before training, and after it without and with its share of exit 0."""
    result = max((read_result(path) for path in HERE.glob("results/parts-eval-*.json")), key=lambda found: found.date)
    untrained = result.system("untrained")
    rows = []
    for label, joined, own, gain in own_part_table(result).rows:
        before = quality(result, (untrained, int(label.removeprefix("exit "))))
        rows.append([label, f"{before:.3f}", own, joined, gain])
    return markdown(
        ["", "untrained", "trained, own part alone", "trained, joined with exit 0", "what exit 0 adds"], rows
    )


def self_distillation() -> str:
    rows = []
    for row in latest("self_distillation")["rows"]:
        means = [f"{row[name]:.3f}" for name in ("untrained", "control", "single", "multi")]
        gains = [with_interval(*row[f"multi_minus_{rival}"]) for rival in ("single", "control")]
        rows.append([f"exit {row['exit']}", *means, *gains])
    head = ["untrained", "last exit trained, heads fitted", "a run for each exit", "one run of all exits"]
    return markdown(["", *head, "one run minus separate runs", "one run minus fitted heads"], rows)


def longer() -> str:
    """Exit 4, where separate runs are ahead, by length of the training."""
    rows = []
    for name in ("self_distillation", "exits-4-self_distillation"):
        result = latest(name)
        (row,) = (row for row in result["rows"] if row["exit"] == 4)
        length = f"{result['steps']} steps, {len(result['seeds'])} seeds"
        gain = with_interval(*row["multi_minus_single"])
        rows.append([length, f"{row['single']:.3f}", f"{row['multi']:.3f}", gain])
    return markdown(["exit 4", "a run of its own", "one run of all exits", "difference"], rows)


def step_time() -> str:
    result = latest("step-time")
    keys = ("ratio_processor", "ratio_wall", "all_wall_seconds", "last_wall_seconds")
    return markdown(["", "measured"], [[key.replace("_", " "), f"{result[key]:.2f}"] for key in keys])


def switches() -> str:
    """Every run's rows below the plain recipe that they are compared with: another processor gives another one."""
    found = results("switches")
    exits = list(found[0]["rows"]["plain"])
    lines: list[list[str]] = []
    for result in found:
        for name, row in result["rows"].items():
            cells = (row.get(exit_layer) for exit_layer in exits)
            title = f"{name} ({result.get('precision', 'bfloat16')})" if name == "plain" else name
            line = [title, *(f"{cell[0]:.3f} ({cell[1]:+.3f})" if cell else "" for cell in cells)]
            if line not in lines:  # several results may have the same plain run
                lines.append(line)
    return markdown(["", *(f"exit {exit_layer}" for exit_layer in exits)], lines)


def pretrain_objectives() -> str:
    """Losses, accuracies and zero-shot retrieval of every exit, by objective of the pre-training."""
    columns = ("start", "none", "nsp", "icc", "last", "icc - none", "icc - nsp", "icc - last")
    head = ["", "before", "tokens alone", "NSP", "ICC", "ICC, last exit alone"]
    lines = []
    for name, row in latest("pretrain-objectives")["rows"].items():
        line = [name]
        for column in columns:
            value = row.get(column, "")
            if isinstance(value, list):
                value = with_interval(*value) if "-" in column else f"{value[0]:.3f}"
            line.append(f"{value:.3f}" if isinstance(value, float) else value)
        lines.append(line)
    return markdown([*head, "ICC minus tokens alone", "ICC minus NSP", "every exit minus the last alone"], lines)


def pretrain_step() -> str:
    """Speed of one step of the 1B preset: packed, padded, and with the loss of the last exit alone."""
    kinds = {"packed": "packed", "padded": "padded", "packed_last_exit": "packed, last exit alone"}
    rows = []
    for run in latest("pretrain-step")["runs"]:
        for kind, name in kinds.items():
            tokens = run[f"{kind}_tokens_per_second_wall"]
            ratio = tokens / run["packed_tokens_per_second_wall"]
            title = f"{'compiled' if run['compiled'] else 'eager'}, {name}"
            rows.append([title, f"{tokens:,.0f}", f"{ratio:.2f}", f"{run[f'{kind}_mfu']:.3f}"])
    return markdown(["", "tokens a second", "to packed", "MFU"], rows)


def muon() -> str:
    result = latest("muon")
    rows = []
    for name, row in result["rows"].items():
        tokens = [f"{value:,.0f}" if value else f"not in {result['all_tokens']:,.0f}" for value in row["tokens"]]
        rows.append([name, f"{row['rate']:g}", *tokens, ", ".join(f"{loss:.3f}" for loss in row["last_loss"])])
    seeds = [f"tokens, seed {seed}" for seed in result["seeds"]]
    return markdown(["", "rate", *seeds, "loss after all steps"], rows)


def decoder_ladder() -> str:
    rows = []
    for name, row in latest("decoder-ladder")["rows"].items():
        values = [f"{value:.3f}" for value in row["mrr"]]
        gain = with_interval(*row["gain"]) if "gain" in row else ""
        rows.append([name, f"{row['gflops']:.3f}", *([""] * (2 - len(values))), *values, gain])
    return markdown(["", "GFLOPs a token", "before", "after", "gain"], rows)


def recipes() -> str:
    """What recipes are worth against the first: a mean, then differences."""
    rows = []
    for row in latest("recipes")["rows"]:
        first, *others = [name for name in row if name not in ("measured", "exit", "queries")]
        gains = [with_interval(*row[name]) for name in others]
        rows.append([f"{row['measured']}, exit {row['exit']}", str(row["queries"]), f"{row[first]:.3f}", *gains])
    return markdown(["", "queries", first, *others], rows)


def pairs() -> str:
    """Pairs by language, as mined and without near copies; beside them those of commits."""
    sets = json.loads((HERE / "results" / "pairs-mined.json").read_text(encoding="utf8"))["sets"]
    columns = [sets[name]["train"] for name in ("mined", "mined, distinct", "commits", "commits, distinct")]
    languages = dict.fromkeys(language for column in columns for language in column)
    rows = [[language, *(f"{column.get(language, 0):,}" for column in columns)] for language in languages]
    total = ["all", *(f"{sum(column.values()):,}" for column in columns)]
    return markdown(["language", "mined", "distinct", "of commits", "distinct"], [*rows, total])


TABLES: dict[str, Callable[[], str]] = {
    "readme": readme,
    "repo-search": repo_search,
    "repo-search-kinds": kinds,
    "repo-search-splits": both_splits,
    "leave-one-language-out": left_out,
    "issue-localisation": issue_localisation,
    "search-speed": search_speed,
    "encoder": encoder,
    "rounding": rounding,
    "memory": memory,
    "eval": of_report(summary_table),
    "eval-sets": of_report(set_table),
    "eval-widths": of_report(width_table),
    "eval-matrix": of_report(matrix_table),
    "eval-own-parts": own_parts,
    "self-distillation": self_distillation,
    "self-distillation-longer": longer,
    "step-time": step_time,
    "switches": switches,
    "pretrain-objectives": pretrain_objectives,
    "pretrain-step": pretrain_step,
    "muon": muon,
    "decoder-ladder": decoder_ladder,
    "recipes": recipes,
    "pairs": pairs,
    "clones": clones,
    "clones-adaptive": clones_adaptive,
}


def filled(text: str) -> str:
    """The text with every marked table rendered again."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- table:{match[1]} -->\n{TABLES[match[1]]()}\n<!-- end:{match[1]} -->"

    return re.sub(r"<!-- table:([\w-]+) -->\n.*?<!-- end:\1 -->", table, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a table is stale")
    check = parser.parse_args().check
    for path in FILES:
        text = path.read_text(encoding="utf8")
        if text != filled(text):
            if check:
                sys.exit(f"{path}: a table differs from its results; run python benchmarks/tables.py")
            path.write_text(filled(text), encoding="utf8")


if __name__ == "__main__":
    main()
