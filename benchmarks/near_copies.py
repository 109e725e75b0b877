"""Near copies in a table of pairs: recall and precision against all comparisons, and time beside datasketch.

    python benchmarks/near_copies.py DATA/mined/train.jsonl.xz

In: a pair file. Out: on 5,000 rows the pairs found against those of brute force; on 100,000 rows the seconds, and those
that datasketch takes for its sketches and its index of the same bands (on fewer rows, in proportion).
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.sparse import csr_matrix

from mose.data.curate.grams import GramTable, grams
from mose.data.curate.near_pairs import choose_bands, near_pairs, sign_texts
from mose.data.pairs import read_objects


def brute_force(table, threshold):
    """All pairs of at least this Jaccard similarity."""
    values = np.concatenate([table[number] for number in range(len(table))])
    columns, inverse = np.unique(values, return_inverse=True)
    ends = np.r_[0, np.cumsum(table.sizes)]
    sets = csr_matrix((np.ones(len(values), np.int32), inverse, ends), shape=(len(table), len(columns)))
    common = (sets @ sets.T).tocoo()
    union = table.sizes[common.row] + table.sizes[common.col] - common.data
    alike = (common.row < common.col) & (common.data >= threshold * union)
    return set(zip(common.row[alike].tolist(), common.col[alike].tolist(), strict=True))


def datasketch_seconds(codes, threshold):
    bands = choose_bands(threshold)
    index = MinHashLSH(num_perm=256, params=(bands.count, bands.rows))
    start = time.perf_counter()
    for number, code in enumerate(codes):
        text = " ".join(code.split())
        sketch = MinHash(num_perm=256)
        sketch.update_batch([text[at : at + 5].encode() for at in range(max(1, len(text) - 4))])
        index.query(sketch)
        index.insert(number, sketch)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--jaccard", type=float, default=0.7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peer-rows", type=int, default=5_000)
    parser.add_argument("--skip", type=int, default=0, help="rows at the start to leave out")
    arguments = parser.parse_args()
    wanted = islice(read_objects(arguments.pairs), arguments.skip, arguments.skip + arguments.rows)
    codes = [row["code"] for _, row in wanted]
    few = GramTable(map(grams, codes[:5_000]))
    true = brute_force(few, arguments.jaccard)
    found = set(map(tuple, near_pairs(sign_texts(few, arguments.jaccard)).tolist()))
    print(f"brute force found {len(true)} pairs among {len(few)} rows", file=sys.stderr)
    start, cpu = time.perf_counter(), time.process_time()
    pairs = near_pairs(sign_texts(GramTable(map(grams, codes)), arguments.jaccard))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peer = datasketch_seconds(codes[: arguments.peer_rows], arguments.jaccard)
    report = {
        "recall": len(found & true) / max(1, len(true)),
        "precision": len(found & true) / max(1, len(found)),
        "pairs_of_brute_force": len(true),
        "rows": len(codes),
        "pairs": len(pairs),
        "seconds": round(seconds, 1),
        "processor_seconds": round(cpu, 1),
        "datasketch_rows": arguments.peer_rows,
        "datasketch_seconds": round(peer, 1),
        "datasketch_seconds_in_proportion": round(peer * len(codes) / arguments.peer_rows, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
