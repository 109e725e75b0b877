from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mose.config import DataConfig, SourceConfig
from mose.data.batches import PairBatch, PairBatches
from mose.data.sources import Source, open_sources
from mose.data.tables.read import table_rows
from mose.errors import DataError, OutputError


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = [{"query": f"text {n % 15}", "code": f"code {n % 17} body", "language": "go"} for n in range(40)]
    write(tmp_path, "texts.jsonl", texts)
    grouped = [
        {"query": f"problem {n}", "code": f"{language} solves {n}", "language": language, "group": f"g{n}"}
        for n in range(12)
        for language in ("go", "java", "ruby")
    ]
    write(tmp_path, "groups.jsonl", grouped)
    return tmp_path


def sources(folder: Path, *, pairs: int = 6, mixed: bool = False, **changes: object) -> list[Source]:
    data = DataConfig(
        folder=str(folder),
        sources=(
            SourceConfig(name="texts", file="texts.jsonl", weight=1),
            SourceConfig(name="groups", file="groups.jsonl", weight=2),
            SourceConfig(name="codes", file="groups.jsonl", task="code-code", weight=1),
        ),
        **changes,  # type: ignore[arg-type]
    )
    return open_sources(data, batch_pairs=pairs, mixed=mixed)


@pytest.mark.parametrize("mixed", [False, True])
def test_no_two_pairs_of_a_batch_share_group_text_or_code(folder: Path, mixed: bool) -> None:
    batches = PairBatches(sources(folder, mixed=mixed), pairs=6, seed=0, mixed=mixed)
    for _ in range(60):
        batch = next(batches)
        assert len(batch.pairs) == 6
        keys = [key for pair in batch.pairs for key in pair.keys]
        assert len(keys) == len(set(keys))


def test_stored_position_gives_the_same_batches(folder: Path) -> None:
    batches = PairBatches(sources(folder), pairs=6, seed=3)
    for _ in range(7):
        next(batches)
    while not any(place["waiting"] for place in batches.state()["sources"].values()):
        next(batches)
    state = json.loads(json.dumps(batches.state()))
    expected = [next(batches) for _ in range(9)]
    again = PairBatches(sources(folder), pairs=6, seed=3)
    again.load_state(state)
    assert [next(again) for _ in range(9)] == expected
    assert len({batch.source for batch in expected}) > 1


def test_mixed_batch_takes_from_others_when_a_source_has_no_more(folder: Path) -> None:
    few = sources(folder, pairs=20, mixed=True)
    batch = next(PairBatches(few, pairs=24, seed=0, mixed=True))
    assert len(batch.pairs) == 24
    batches = PairBatches(few, pairs=24, seed=0, mixed=True)
    for _ in range(30):
        next(batches)
    for place in batches.state()["sources"].values():
        assert len(set(place["waiting"])) == len(place["waiting"]) <= place["units"]
    with pytest.raises(DataError, match="too few distinct pairs for one batch in codes, groups, texts"):
        next(PairBatches(few, pairs=60, seed=0, mixed=True))


def test_another_seed_gives_other_batches(folder: Path) -> None:
    first, second = (next(PairBatches(sources(folder), pairs=6, seed=seed)) for seed in (0, 1))
    assert first.pairs != second.pairs


def test_every_row_is_seen_equally_often(folder: Path) -> None:
    data = DataConfig(folder=str(folder), rename=0, hide_name=0, sources=(SourceConfig(name="t", file="texts.jsonl"),))
    (source,) = open_sources(data, batch_pairs=5, mixed=False)
    batches = PairBatches([source], pairs=5, seed=0)
    seen = Counter((pair.query, pair.code) for _ in range(8 * 20) for pair in next(batches).pairs)
    assert len(seen) == 40
    assert max(seen.values()) - min(seen.values()) <= 2


def test_like_units_share_batches_and_a_stored_position_still_holds(tmp_path: Path) -> None:
    rows = [{"query": f"text {n}", "code": f"code {n}", "language": "go"} for n in range(64)]
    write(tmp_path, "many.jsonl", rows)
    source = SourceConfig(name="many", file="many.jsonl")
    found = open_sources(DataConfig(folder=str(tmp_path), sources=(source,)), batch_pairs=4, mixed=False)
    # Eight kinds of text, far apart.
    vectors = {"many": np.eye(8)[np.arange(64) % 8]}

    def kinds(batch: PairBatch) -> int:
        return len({int(pair.query.split()[1]) % 8 for pair in batch.pairs})

    batches = PairBatches(found, pairs=4, seed=0, vectors=vectors, neighbours=4)
    ordered = [next(batches) for _ in range(16)]
    by_chance = PairBatches(found, pairs=4, seed=0)
    assert sum(map(kinds, ordered)) < 0.7 * sum(kinds(next(by_chance)) for _ in range(16))

    fresh = PairBatches(found, pairs=4, seed=0, vectors=vectors, neighbours=4)
    for _ in range(3):
        next(fresh)
    resumed = PairBatches(found, pairs=4, seed=0, vectors=vectors, neighbours=4)
    resumed.load_state(fresh.state())
    assert [next(resumed) for _ in range(13)] == ordered[3:]


def test_shares_follow_weights(folder: Path) -> None:
    batches = PairBatches(sources(folder), pairs=2, seed=0)
    drawn = Counter(next(batches).source for _ in range(400))
    assert 150 < drawn["groups"] < 250


def test_code_pairs_are_of_two_languages_and_one_group(folder: Path) -> None:
    batches = PairBatches(sources(folder)[2:], pairs=6, seed=0)
    for pair in (pair for _ in range(20) for pair in next(batches).pairs):
        assert pair.query_language and pair.query_language != pair.language
        assert pair.query.split()[-1] == pair.code.split()[-1]


def test_batch_larger_than_the_data_is_refused_before_training(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"larger than the distinct pairs of source groups: got 13, allowed: at most 12"
    ):
        sources(folder, pairs=13)


def test_one_language_where_two_are_asked_is_refused(folder: Path) -> None:
    write(
        folder,
        "groups.jsonl",
        [{"query": "q", "code": f"c{n}", "language": "go", "group": "g"} for n in range(4)],
    )
    with pytest.raises(DataError, match=r"groups\.jsonl holds one language only"):
        sources(folder, pairs=2, mixed=True)


def test_one_language_is_fine_where_it_is_allowed(folder: Path) -> None:
    write(folder, "groups.jsonl", [
        {"query": f"q{n}", "code": f"c{n}", "language": "go", "group": f"g{n // 2}"} for n in range(8)
    ])  # fmt: skip
    assert len(sources(folder, pairs=2, cross_language=False)[2]) == 4


def test_absent_file_is_an_error_unless_skipped(folder: Path) -> None:
    (folder / "texts.jsonl").unlink()
    with pytest.raises(DataError, match=r"no pair file .*texts\.jsonl"):
        sources(folder)
    assert [source.name for source in sources(folder, skip_missing=True)] == ["groups", "codes"]


def test_changed_data_is_refused_on_resume(folder: Path) -> None:
    state = PairBatches(sources(folder), pairs=6, seed=3).state()
    with pytest.raises(DataError, match="data has changed"):
        PairBatches(sources(folder)[:2], pairs=6, seed=3).load_state(state)


def test_passing_over_batches_leads_to_the_same_ones(folder: Path) -> None:
    batches, other = (PairBatches(sources(folder), pairs=6, seed=3) for _ in range(2))
    for number in range(24):
        if number % 4 == 3:
            assert next(other) == next(batches)
        else:
            other.skip()
            next(batches)
        assert other.state() == batches.state()


@pytest.mark.parametrize("form", ["parquet", "folder of parquet", "datasets"])
def test_a_table_gives_the_batches_of_its_json_lines(tmp_path: Path, form: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"query": f"text {n}", "code": f"code {n}", "language": "go", "group": None if n % 2 else f"g{n % 7}", "negatives": [f"other {n}"]}
        for n in range(40)
    ]  # fmt: skip
    write(tmp_path, "rows.jsonl", rows)  # type: ignore[arg-type]
    table = tmp_path / ("rows.parquet" if form == "parquet" else "rows")
    if form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), table, row_group_size=7)
    else:
        table.mkdir()
        for number in (0, 1):
            part = pyarrow.Table.from_pylist(rows[20 * number :][:20])
            if form == "datasets":  # as Dataset.save_to_disk writes it
                with pyarrow.ipc.new_stream(table / f"data-0000{number}-of-00002.arrow", part.schema) as writer:
                    writer.write_table(part, max_chunksize=9)
            else:
                parquet.write_table(part, table / f"{number}.parquet")
        if form == "datasets":
            names = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in (0, 1)]
            (table / "state.json").write_text(json.dumps({"_data_files": names, "_split": None}))
    found = []
    for name in ("rows.jsonl", table.name):
        data = DataConfig(folder=str(tmp_path), hard_negatives=1, sources=(SourceConfig(name="t", file=name),))
        batches = PairBatches(open_sources(data, batch_pairs=5, mixed=False), pairs=5, seed=0)
        found.append([next(batches) for _ in range(12)])
    assert found[0] == found[1]
    assert any(pair.negatives for pair in found[0][0].pairs)


def test_a_folder_without_a_table_says_which_of_its_splits_are(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "state.json").write_text("{}")
    for name, said in (("set", "one of its splits: train"), ("set/train", "damaged"), ("gone.parquet", "no table")):
        data = DataConfig(folder=str(tmp_path), sources=(SourceConfig(name="t", file=name),))
        with pytest.raises(DataError, match=said):
            open_sources(data, batch_pairs=2, mixed=False)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("{", r"set is not a folder of tables, or is damaged \("),
        ("[]", r"set is not a folder of tables, or is damaged \("),
        ('{"_data_files": [3]}', r"set is not a folder of tables, or is damaged \("),
        ('{"_data_files": [{"filename": "a.arrow"}]}', r"set/a\.arrow is not an Arrow file, or is damaged \("),
        ('{"_data_files": [{"filename": "b.arrow"}]}', r"no table \S*set/b\.arrow"),
    ],
)
def test_of_a_damaged_folder_of_tables_the_file_is_named(tmp_path: Path, state: str, said: str) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text(state)
    (tmp_path / "set" / "a.arrow").write_bytes(b"ARROW1 and so on")
    with pytest.raises(DataError, match=said):
        list(table_rows(tmp_path / "set"))


def test_a_file_of_another_kind_is_no_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "pairs.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl is not a table, allowed: a file that ends in \.parquet"):
        list(table_rows(tmp_path / "pairs.jsonl"))


def test_rows_are_not_held_in_memory(tmp_path: Path) -> None:
    """A table of 10 MB of codes takes some hundred kilobytes; sent to a process without fork, it is whole again."""
    import pickle
    import tracemalloc

    from mose.data.pairs import Row
    from mose.data.tables.row_table import RowTable

    def row(number: int) -> Row:
        return Row(text=f"text {number}", code=f"{number} " * 2_000, language="go", group="", path="a.go")

    tracemalloc.start()
    table = RowTable((row(number) for number in range(1_000)), tmp_path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000
    again = pickle.loads(pickle.dumps(table))
    for number in (0, 17, 999):
        assert table[number] == again[number] == row(number)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"rows cannot be kept in .*file: (?s:.*)MOSE_HOME"):
        RowTable([row(0)], tmp_path / "file")


def test_a_table_has_room_for_as_many_languages_as_rows(tmp_path: Path) -> None:
    from mose.data.pairs import Row
    from mose.data.tables.row_table import RowTable

    rows = (Row(text="", code="x", language=f"language {number}", group="") for number in range(33_000))
    table = RowTable(rows, tmp_path)
    assert table.languages[table.language_R[-1]] == "language 32999"
