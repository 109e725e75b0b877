"""Pairs as parquet tables with the columns of SynthCoNL, and back.

One row of such a table is a triplet: a text, a function, and its translation. SynthCoNL has eight columns, all texts
(mose-spec, section 7); what we write has those of provenance beside them, and what we read may lack them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mose.data.tables.read import need_pyarrow, table_columns, table_rows
from mose.data.translate.prompts import SPOKEN_NAMES
from mose.errors import DataError
from mose.languages import labels_named
from mose.storage import new_file

COLUMNS = (
    "repository_name",
    "func_path_in_repository",
    "language2",
    "func2",
    "language1_CSN",
    "func1_CSN",
    "func_documentation_string",
    "func_code_url",
)
PROVENANCE = ("license", "source", "group", "prompt", "writer")
_BATCH_ROWS = 4_096


def read_triplets(path: Path, dropped: Counter[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of pair files of a table: each text with its function, and once more with the translation of it.

    Rows of one function share their ``group``, so that they are never negatives of each other and make code-to-code
    pairs. A function with several translations comes once.

    Args:
        path: The table.
        dropped: Counts of rows left out, by reason, are added here.

    Raises:
        DataError: The file is damaged or has not the columns, or a column holds something else than texts.
        MissingExtraError: pyarrow is not installed.
    """
    seen: set[int] = set()
    dropped = Counter() if dropped is None else dropped
    names = table_columns(path)
    if missing := [name for name in COLUMNS if name not in names]:
        raise DataError(f"columns of {path}, which lack {missing[0]}", got=names, allowed=", ".join(COLUMNS))
    for row in table_rows(path, [name for name in names if name in (*COLUMNS, *PROVENANCE)]):
        for pair in _pairs_of(_texts_of(row, path), seen):
            if pair["query"].strip() and pair["code"].strip():
                yield pair
            else:
                dropped["without_text_or_code"] += 1


def read_pair_table(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of pair files of any table: of one with the columns of SynthCoNL as ``read_triplets``, else as they are.

    Raises:
        DataError: As ``read_triplets``.
        MissingExtraError: pyarrow is not installed.
    """
    is_triplets = set(COLUMNS) <= set(table_columns(path))
    yield from read_triplets(path) if is_triplets else table_rows(path)


def write_triplets(rows: Iterable[Mapping[str, Any]], path: Path) -> dict[str, int]:
    """Write one triplet for each translation whose function is among the rows.

    Args:
        rows: Rows of kind "doc" and "translation"; those of one ``group`` belong together. Others are counted.
        path: The table.

    Returns:
        Counts: triplets, translations without their function, rows of other kinds.

    Raises:
        DataError: There is no triplet.
        OutputError: A file of that name holds something else.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = need_pyarrow()
    functions: dict[str, Mapping[str, Any]] = {}
    translations: list[Mapping[str, Any]] = []
    others = 0
    for row in rows:
        if row.get("kind") == "translation":
            translations.append(row)
        elif row.get("kind") in ("doc", None) and row.get("query") and row.get("group") is not None:
            functions.setdefault(str(row.get("group")), row)
        else:
            others += 1
    whole = [row for row in translations if row.get("group") is not None and str(row["group"]) in functions]
    if not whole:
        raise DataError(
            "no translation with its function", got=f"{len(translations)} translations and {len(functions)} functions",
            remedy="Give the mined pairs and their translations together.",
        )  # fmt: skip
    schema = pyarrow.schema([(name, pyarrow.string()) for name in (*COLUMNS, *PROVENANCE)])
    with new_file(path, replace=False) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, len(whole), _BATCH_ROWS):
            batch = whole[first : first + _BATCH_ROWS]
            values = [_triplet(functions[str(row["group"])], row) for row in batch]
            writer.write_table(pyarrow.Table.from_pylist(values, schema=schema))
    return {"triplets": len(whole), "without_function": len(translations) - len(whole), "other_rows": others}


def _texts_of(row: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The row with "" for what is missing."""
    texts = {name: "" if value is None else value for name, value in row.items()}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise DataError(f"column {name} of {path}", got=value, allowed="texts")
    return texts


def _pairs_of(row: Mapping[str, str], seen: set[int]) -> Iterator[dict[str, Any]]:
    group = row.get("group") or row["func_code_url"] or f"{row['repository_name']}/{row['func_path_in_repository']}"
    shared = {
        "query": row["func_documentation_string"],
        "group": group,
        "source": row.get("source") or row["repository_name"],
        "path": row["func_path_in_repository"],
        **{name: row[name] for name in ("license", "prompt", "writer") if row.get(name)},
    }
    shared |= {"url": row["func_code_url"]} if row["func_code_url"] else {}
    first = _language(row["language1_CSN"])
    key = hash(f"{group}\0{row['func1_CSN']}")
    if key not in seen:
        seen.add(key)
        yield shared | {"code": row["func1_CSN"], "language": first, "kind": "doc"}
    yield shared | {"code": row["func2"], "language": _language(row["language2"]), "kind": "translation", "from": first}


def _triplet(function: Mapping[str, Any], translation: Mapping[str, Any]) -> dict[str, str]:
    row = {
        "repository_name": function.get("source"),
        "func_path_in_repository": function.get("path"),
        "language2": SPOKEN_NAMES.get(translation["language"], translation["language"]),
        "func2": translation["code"],
        "language1_CSN": SPOKEN_NAMES.get(function["language"], function["language"]),
        "func1_CSN": function["code"],
        "func_documentation_string": function["query"],
        "func_code_url": function.get("url"),
        **{name: translation.get(name) or function.get(name) for name in PROVENANCE},
    }
    return {name: str(value or "") for name, value in row.items()}


def _language(name: str) -> str:
    """Our name of a language, whatever it is called: "C++" is "cpp"."""
    labels = labels_named(name)
    return name.lower() if name.lower() in labels else min(labels)
