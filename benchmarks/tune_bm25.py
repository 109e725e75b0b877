"""Chooses k1, b, stop words, stems and whole names of the peer "bm25" on validation splits alone.

    python benchmarks/tune_bm25.py --data DATA

MRR of every validation task, averaged within a data set and direction (text to code, code to code), then over those.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np

from mose.evaluate.systems.bm25 import STOP_WORDS, Bm25
from mose.evaluate.tasks import RetrievalTask, load_tasks, task_names
from mose.metrics.ranking import reciprocal_rank, relevant_ranks

K1 = (0.9, 1.2, 1.6, 2.0)
B = (0.5, 0.75, 0.9, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    tasks = load_tasks(data, task_names(data, "valid"))
    rows = []
    for stop_words, stemmed, whole_names, k1, b in product((frozenset(), STOP_WORDS), *[(False, True)] * 2, K1, B):
        bm25 = Bm25(k1=k1, b=b, stemmed=stemmed, whole_names=whole_names, stop_words=stop_words)
        kinds = defaultdict(list)
        for task in tasks:
            kinds[f"{task.dataset} {task.family}"].append(mrr(task, bm25))
        means = {kind: round(float(np.mean(values)), 4) for kind, values in kinds.items()}
        setting = {"stop words": bool(stop_words), "stemmed": stemmed, "whole names": whole_names, "k1": k1, "b": b}
        rows.append({**setting, "mean": round(float(np.mean(list(means.values()))), 4), **means})
        print(json.dumps(rows[-1]), flush=True)
    print("best:", json.dumps(max(rows, key=lambda row: row["mean"])))


def mrr(task: RetrievalTask, bm25: Bm25) -> float:
    index = bm25.index(task.corpus)
    queries = zip(task.queries.texts, task.queries.languages, strict=True)
    scores = np.stack([index.scores(text, language) for text, language in queries])
    ranks = relevant_ranks(scores, task.corpus.ids, task.relevant, task.excluded)
    return float(reciprocal_rank(ranks).mean())


if __name__ == "__main__":
    main()
