"""Codes within the names of their file and folder, in training and validation as in a search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mose.config import DataConfig, SourceConfig, ValidationConfig, ValidationTask
from mose.data.pairs import read_rows
from mose.data.sources import open_sources
from mose.framing import add_frame
from mose.search.chunking.chunk import embedding_text
from mose.search.chunking.chunks import cut_text
from mose.train.retrieval.validate import load_tasks


def write(folder: Path, **fields: str) -> DataConfig:
    rows = [
        {"query": f"adds {n} to it", "code": f"def add{n}(x):\n    return x + {n}\n", "language": "python", **fields}
        for n in range(300)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(
        folder=str(folder),
        frame=0.5,
        rename=0.0,
        hide_name=0.0,
        sources=(
            SourceConfig(name="half", file="rows.jsonl"),
            SourceConfig(name="all", file="rows.jsonl", frame=1.0),
            SourceConfig(name="none", file="rows.jsonl", frame=0.0),
        ),
    )


def shares(config: DataConfig, first_line: str) -> dict[str, float]:
    rng = np.random.default_rng(1)
    found = {}
    for source in open_sources(config, batch_pairs=4, mixed=False):
        codes = [source.pair(source.pick(unit, rng), rng).code for unit in range(len(source))]
        found[source.name] = sum(code.startswith(f"{first_line}\ndef add") for code in codes) / len(codes)
    return found


def test_frames_are_added_to_the_share_asked_for(tmp_path: Path) -> None:
    found = shares(write(tmp_path, path="src/sums/adding.py"), "sums/adding")
    assert 0.4 < found["half"] < 0.6 and found["all"] == 1 and found["none"] == 0


def test_path_of_a_github_url_is_used_after_the_field_path(tmp_path: Path) -> None:
    url = "https://github.com/a/b/blob/0123abc/lib/far/sums.rb#L3-L9"
    write(tmp_path, url=url)
    assert {row.path for row in read_rows(tmp_path / "rows.jsonl")} == {"lib/far/sums.rb"}
    write(tmp_path, url=url, path="own/place.rb")
    assert {row.path for row in read_rows(tmp_path / "rows.jsonl")} == {"own/place.rb"}


def test_row_without_a_path_is_unchanged(tmp_path: Path) -> None:
    config = write(tmp_path)
    (source, _, _) = open_sources(config, batch_pairs=4, mixed=False)
    rng = np.random.default_rng(1)
    assert all(source.pair(source.pick(unit, rng), rng).code.startswith("def add") for unit in range(300))


def test_training_and_validation_write_what_a_search_writes_but_the_names(tmp_path: Path) -> None:
    config = write(tmp_path, path="src/sums/adding.py")
    code = "def add0(x):\n    return x + 0\n"
    (chunk,) = cut_text(code, "python").chunks
    searched = embedding_text(chunk, "src/sums/adding.py")
    source = open_sources(config, batch_pairs=4, mixed=False)[1]
    assert searched == "sums/adding\n" + chunk.text + "\nsums/adding add0 add0"
    assert source.pair(source.pick(0, np.random.default_rng(0)), np.random.default_rng(0)).code == add_frame(
        "src/sums/adding.py", code
    )
    tasks = ValidationConfig(tasks=(ValidationTask(name="t", file="rows.jsonl", frame=True),))
    (task,) = load_tasks(tasks, config)
    assert task.code.texts[0] == add_frame("src/sums/adding.py", code)
