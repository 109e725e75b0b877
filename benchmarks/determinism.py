"""Check that answers do not depend on earlier queries, or on how much has been read.

    python benchmarks/determinism.py TREE --data DATA

Asks 200 queries of the repository-search data of a tree that is not indexed yet, then 50 others, then the 200 again,
and once more after every chunk has been read. Prints how many answers changed: paths, lines, scores or their order.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from itertools import chain
from pathlib import Path

from mose.evaluate.repository.benchmark import load_tasks
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions

Answer = list[tuple[str, int, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, metavar="TREE")
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    folders = ("repo-search", "repo-search-languages")
    tasks = chain.from_iterable(load_tasks(args.data / folder) for folder in folders)
    queries = sorted({query.text for task in tasks for query in task.queries})
    random.Random(0).shuffle(queries)
    asked, others = queries[:200], queries[200:250]
    with tempfile.TemporaryDirectory() as home:
        os.environ["MOSE_HOME"] = home
        with CodeIndex.open(args.tree) as index:

            def answers(chosen: list[str]) -> list[Answer]:
                found = (index.search(query, SearchOptions(budget_s=600)) for query in chosen)
                return [[(hit.path, hit.start_line, hit.score) for hit in hits] for hits in found]

            cold = answers(asked)
            answers(others)
            warm = answers(asked)
            index.deepen()
            read = answers(asked)
    after = sum(before != now for before, now in zip(cold, warm, strict=True))
    deep = sum(before != now for before, now in zip(cold, read, strict=True))
    print(f"of {len(asked)} answers, {after} changed after {len(others)} others, {deep} after everything was read")
    return 1 if after or deep else 0


if __name__ == "__main__":
    sys.exit(main())
