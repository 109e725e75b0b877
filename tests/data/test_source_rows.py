"""Sources that share a file: one pass, and the rows, reasons and order that each would have alone."""

import json
from pathlib import Path

import pytest

from mose.config import DataConfig, SourceConfig
from mose.data import source_rows
from mose.data.batches import PairBatches
from mose.data.sources import Source, open_sources

SOURCES = (
    SourceConfig(name="go", file="mined.jsonl", languages=("go",), kinds=("doc", "comment")),
    SourceConfig(name="all", file="mined.jsonl", weight=2.0, max_rows=14),
    SourceConfig(name="names", file="mined.jsonl", kinds=("name",), rename=1.0),
    SourceConfig(name="titles", file="mined.jsonl", languages=("ruby",), query_field="title"),
    SourceConfig(name="codes", file="mined.jsonl", task="code-code"),
)

# As one reading for each source gave them; of a pair the last numbers of both texts.
DROPPED = {
    "go": {"other language": 28, "other kind": 6},
    "all": {"duplicate": 6, "over max_rows": 25},
    "names": {"other kind": 31, "duplicate": 2},
    "titles": {"other language": 31, "duplicate": 1},
    "codes": {"duplicate": 6},
}
ORDER = [
    "37>39 25>25 21>43 1>0 12>12 9>9",
    "24>28 36>36 15>15 33>32 21>21 8>10",
    "17>12 26>26 42>43 3>3 38>38 35>35",
    "18>19 17>17 39>39 33>32 25>25 0>1",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """45 rows of three languages and kinds; every seventh repeats the one before it, as another kind or language."""
    rows: list[dict[str, str]] = []
    for number in range(45):
        row = {
            "query": f"text {number}",
            "title": f"title {number // 2}",
            "code": f"value = run(value, {number})",
            "language": ("go", "ruby", "java")[number % 3],
            "kind": ("doc", "name", "comment", "doc")[number % 4],
            "group": f"problem {number // 6}",
        }
        if number % 7 == 6:
            same = rows[-1]
            changed = {"kind": "name"} if number % 2 else {"language": "go"}
            row = {**same, "code": same["code"].replace(" = ", "  =  "), **changed}
        rows.append(row)
    (tmp_path / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def opened(folder: Path, *configs: SourceConfig) -> list[Source]:
    return open_sources(DataConfig(folder=str(folder), sources=configs), batch_pairs=2, mixed=True)


def test_sources_take_of_a_shared_file_what_each_would_take_alone(folder: Path) -> None:
    for together in opened(folder, *SOURCES):
        config = next(config for config in SOURCES if config.name == together.name)
        [alone] = opened(folder, config)
        assert together.dropped == alone.dropped
        assert [[together.rows[row] for row in together.members_of(unit)] for unit in range(len(together))] == [
            [alone.rows[row] for row in alone.members_of(unit)] for unit in range(len(alone))
        ]


def test_rows_left_out_are_counted_for_each_source(folder: Path) -> None:
    assert {source.name: dict(source.dropped) for source in opened(folder, *SOURCES)} == DROPPED


def test_the_order_of_pairs_is_that_of_one_reading_for_each_source(folder: Path) -> None:
    batches = PairBatches(opened(folder, *SOURCES), pairs=6, seed=0, mixed=True)
    found = [" ".join(number_of(pair.query) + ">" + number_of(pair.code) for pair in next(batches).pairs)
             for _ in range(4)]  # fmt: skip
    assert found == ORDER


def number_of(text: str) -> str:
    return text.rstrip(")").split(" ")[-1]


def test_a_file_is_read_once_for_the_sources_that_need_the_same_fields(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def stream_rows(path: Path, **fields: object):
        read.append(fields["text_field"])
        return original(path, **fields)

    original = source_rows.stream_rows
    monkeypatch.setattr(source_rows, "stream_rows", stream_rows)
    assert len(opened(folder, *SOURCES)) == 5
    assert read == ["query", "title", ""]
