"""Make a data set of accepted answers without code of others: distinct, decontaminated, found by the retriever.

    python recipes/question_set.py ask/ translate/ --mined DATA/mined --sources ~/.cache/mose/sources \
        --exclude-near DATA/csn/valid.jsonl.xz ... --out datasets/questions

In: folders with ``accepted.jsonl.xz``, as ``mose pairs ask --answers`` and ``mose pairs translate --answers`` write.
Out: one file for each of functions, files and translations, rows with a pointer to their source; ``packages.json``
with licence and copyright of every package; counts on stdout.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import sys
from collections import Counter, defaultdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from mose import Encoder
from mose.data.evaluation_sets import read_evaluation
from mose.data.mine.harvest import Mined
from mose.data.mine.manifest import held_out_name
from mose.data.mine.package import read_part
from mose.data.mine.select import Evaluation, drop_copies
from mose.data.near_copies import shingles
from mose.data.pairs import read_objects
from mose.evaluate.consistency import rank_own_codes

WRITERS = {
    "cc324af070c2": {
        "writer": "Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        "writer_sha256": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    }
}
"""By the beginning of the hash, which is the last word of the name in the answers."""

FILES = {"function": "functions.jsonl.xz", "file": "files.jsonl.xz", "translation": "translations.jsonl.xz"}
NEAR = 0.7
HASH_DIGITS = 16
MOST_COPYRIGHT_LINES = 6
_COPYRIGHT = re.compile(r"^\W*(?:copyright\b|\(c\)|©).*\d{4}.*", re.IGNORECASE)
_OF_OTHERS = re.compile(r"third|3rd|other", re.IGNORECASE)
_NOTICES = ("LICENSE*", "LICENCE*", "COPYING*", "COPYRIGHT*", "copyright", "NOTICE*", "License*", "license*")


# -- which rows stay --------------------------------------------------------------------------------------------------


def package_of(row):
    """Registry and name of a row's source."""
    return row["source"].split(":", 1)


def symbol_of(row):
    return row["group"][len(f"{package_of(row)[1]}/{row['path']}:") :]


def source_fault(row):
    """Why nothing of a row's source may be published, "" if it may."""
    name = package_of(row)[1]
    return "excluded package" if any(map(held_out_name, (name, *row["path"].split("/")[:-1]))) else ""


def select(rows, codes, evaluation, dropped):
    """Rows of allowed sources that copy no evaluation row and no other row; of copies the first is kept.

    Args:
        rows: Accepted pairs.
        codes: Code that each translation was made from, by request.
        evaluation: What may not be trained on.
        dropped: Counts of rows left out, by kind and reason, are added here.
    """
    kept = []
    for row in rows:
        translated = row["kind"] == "translation"
        mined = Mined(
            kind=row["kind"],
            query=row["id"] if translated else row["query"],
            code=row["code"],
            language=row["language"],
            path=row["path"],
            symbol=symbol_of(row),
        )
        reason = source_fault(row) or evaluation.fault(mined)
        if translated and not reason and evaluation.codes.has_near(shingles(codes[row["id"]])):
            reason = "near copy of an evaluation row"
        if reason:
            dropped[row["kind"], reason] += 1
        else:
            kept.append((row, mined))
    result = []
    by_kind = defaultdict(list)
    for row, mined in kept:
        by_kind[row["kind"]].append((row, mined))
    for kind, pairs in by_kind.items():
        reasons = Counter()
        staying = {id(mined) for mined in drop_copies([mined for _, mined in pairs], NEAR, reasons)}
        dropped.update({(kind, reason): count for reason, count in reasons.items()})
        result += [row for row, mined in pairs if id(mined) in staying]
    return result


# -- the rank of its own code -----------------------------------------------------------------------------------------


def rank_all(rows, parts, encoder):
    """Add ``rank`` to every row."""
    by_package = defaultdict(list)
    for row in rows:
        by_package[row["source"], row["version"]].append(row)
    for number, ((source, version), own) in enumerate(sorted(by_package.items())):
        registry, name = source.split(":", 1)
        [path] = parts.glob(
            re.sub(r"[^\w.+-]+", "_", f"{registry}-{name}-{version}") + "-" + "[0-9a-f]" * 12 + ".json.gz"
        )
        mined = read_part(path).rows
        codes = [
            {"source": source, "code": row.code, "kind": row.kind, "path": row.path,
             "group": f"{name}/{row.path}:{row.symbol}"}
            for row in mined
        ]  # fmt: skip
        for row, rank in zip(own, rank_own_codes(own, codes, encoder), strict=True):
            row["rank"] = rank
        print(f"{number + 1}/{len(by_package)} {source}: {len(own)}", file=sys.stderr, flush=True)


# -- what is written --------------------------------------------------------------------------------------------------


def published(row, code, sources):
    """A row with its pointer instead of the code that it points at."""
    request = row["id"].rpartition("-")[2]
    kind = row["kind"]
    translated = kind == "translation"
    value = {"id": f"{request}-{row['language'] if translated else kind.rpartition('-')[2]}", "kind": kind}
    if translated:
        value |= {"code": row["code"], "language": row["language"], "from": row["from"]}
    else:
        value |= {"query": row["query"], "language": row["language"]}
    registry, package = package_of(row)
    value |= {"registry": registry, "package": package, "version": row["version"]}
    value |= {"path": row["path"], "symbol": symbol_of(row)}
    found = lines_of(source_text(package_folder(sources, row), row["path"]), code)
    if found:
        value["lines"] = found
    value["sha256"] = sha256(code.encode("utf8", "replace")).hexdigest()[:HASH_DIGITS]
    value |= {"license": row["license"], "prompt": row["prompt"], **WRITERS[row["writer"].split()[-1]]}
    return value | {"rank": row["rank"]}


def package_folder(sources, row):
    registry, name = package_of(row)
    if registry == "site-packages":
        return Path(np.__file__).parents[1]
    return sources / registry / re.sub(r"[^\w.+-]+", "_", f"{name}-{row['version']}")


@lru_cache(maxsize=2_000)
def source_text(folder, path):
    try:
        return (folder / path).read_text(encoding="utf8", errors="replace").replace("\r\n", "\n")
    except OSError:
        return ""


def lines_of(text, code):
    """First and last line of the part of a mined code that is in its file verbatim, None if there is none.

    A mined code begins with the signatures around it, which are elsewhere in the file.

    Example:
        >>> lines_of("class A {\\n  int x;\\n\\n  void b() {\\n  }\\n}", "class A {\\n  void b() {\\n  }")
        [4, 5]
    """
    lines = code.split("\n")
    for first in range(min(10, len(lines) - 1)):
        body = "\n".join(lines[first:])
        if len(lines) - first < 2 or text.count(body) > 1:
            return None
        at = text.find(body)
        if at >= 0:
            line = text.count("\n", 0, at) + 1
            return [line, line + body.count("\n")]
    return None


def copyright_lines(folder, registry, name, paths):
    """First copyright lines of a package's notices; the most frequent ones in the heads of its files if it has none."""
    if registry == "site-packages":
        folders = sorted(folder.glob(f"{name}-*.dist-info")) + sorted(folder.glob(f"{name}-*.dist-info/licenses"))
    else:
        folders = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
        folders += sorted(folder.glob("usr/share/doc/*")) + sorted(folder.glob("*.dist-info/licenses"))
    found = {}
    for notice in (path for parent in folders for pattern in _NOTICES for path in sorted(parent.glob(pattern))):
        if notice.is_file() and not _OF_OTHERS.search(notice.name):
            found |= dict.fromkeys(_claims(notice.read_text(encoding="utf8", errors="replace")[:200_000]))
    if not found:
        heads = (source_text(folder, path)[:4_000] for path in sorted(set(paths)))
        claims = Counter(claim for head in heads for claim in _claims(head))
        found = dict(claims.most_common(MOST_COPYRIGHT_LINES))
    return list(found)[:MOST_COPYRIGHT_LINES]


def _claims(text):
    return [line.strip(" \t*#/%;-")[:200] for line in text.splitlines() if _COPYRIGHT.match(line)]


def write_set(values, path):
    with lzma.open(path, "wt", encoding="utf8", preset=9) as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="with accepted.jsonl.xz and rows.jsonl.xz")
    parser.add_argument("--mined", type=Path, required=True, help="folder of mose pairs mine")
    parser.add_argument("--sources", type=Path, required=True, help="unpacked packages, for lines and copyright")
    parser.add_argument("--exclude-near", nargs="+", type=Path, required=True, help="evaluation files")
    parser.add_argument("--most-rank", type=int, default=20, help="keep rows whose own code is among so many")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--all", type=Path, help="also write every distinct row with its rank, to read")
    arguments = parser.parse_args()

    manifest = json.loads((arguments.mined / "manifest.json").read_text(encoding="utf8"))
    versions = {f"{package['registry']}:{package['name']}": package["version"] for package in manifest["packages"]}
    rows, codes = [], {}
    for folder in arguments.folders:
        accepted = (value for _, value in read_objects(folder / "accepted.jsonl.xz"))
        rows += [row | {"version": versions[row["source"]]} for row in accepted]
        codes |= {value["id"]: value["code"] for _, value in read_objects(folder / "rows.jsonl.xz")}
    dropped = Counter()
    num_accepted = Counter(row["kind"] for row in rows)
    rows = select(rows, codes, Evaluation(read_evaluation(arguments.exclude_near), NEAR), dropped)
    print(f"{len(rows)} distinct rows", file=sys.stderr, flush=True)
    rank_all(rows, arguments.mined / "parts", Encoder.load("small", exit=0))
    if arguments.all:
        write_set(rows, arguments.all)
    passed = [row for row in rows if row["rank"] is not None and row["rank"] <= arguments.most_rank]
    passed.sort(key=lambda row: (row["source"], row["path"]))
    arguments.out.mkdir(parents=True, exist_ok=True)
    values = [published(row, codes[row["id"]], arguments.sources) for row in passed]
    for about, name in FILES.items():
        some = [value for value in values if value["kind"].split("-")[0] == about]
        write_set(sorted(some, key=lambda value: (value["package"], value["path"], value["id"])), arguments.out / name)
    packages = {}
    paths = defaultdict(list)
    for row in passed:
        paths[row["source"]].append(row["path"])
    for row in passed:
        registry, name = package_of(row)
        if row["source"] not in packages:
            folder = package_folder(arguments.sources, row)
            packages[row["source"]] = {
                "version": row["version"],
                "license": row["license"],
                "copyright": copyright_lines(folder, registry, name, paths[row["source"]]),
            }
    text = json.dumps(dict(sorted(packages.items())), indent=1, ensure_ascii=False)
    (arguments.out / "packages.json").write_text(text + "\n", encoding="utf8")

    def table(some):
        return {kind: dict(Counter(row["language"] for row in some if row["kind"] == kind)) for kind in num_accepted}

    report = {
        "accepted": dict(num_accepted),
        "dropped": {f"{kind}: {reason}": count for (kind, reason), count in dropped.most_common()},
        "distinct": table(rows),
        "passed": table(passed),
        "with_lines": sum("lines" in value for value in values),
        "packages": len(packages),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
