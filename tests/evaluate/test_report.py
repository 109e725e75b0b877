"""The report: tables by hand, one self-contained and deterministic page, and comparisons."""

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mose.errors import DataError
from mose.evaluate import differences
from mose.evaluate.headline import SETS
from mose.evaluate.report import html, markdown, write_report
from mose.evaluate.report.compare import change_table, compare
from mose.evaluate.report.tables import all_tables, matrix_table, set_table, summary_table, task_table, width_table
from mose.evaluate.report.values import Table
from mose.evaluate.result import HEADLINE, SHARED, Cell, Cost, Result, Score, Skipped, System, TaskInfo
from mose.evaluate.systems.protocol import Card

VALUES = {  # system, exit -> MRR of three queries of each task
    ("ours", 0): {"cosqa": [0.5, 0.5, 0.5], "csn-go": [0.2, 0.4, 0.6]},
    ("ours", 6): {"cosqa": [1.0, 1.0, 1.0], "csn-go": [0.5, 0.5, 0.5]},
    ("bm25", None): {"cosqa": [0.25, 0.5, 0.75], "csn-go": [1.0, 1.0, 1.0]},
    ("e5", 12): {"cosqa": [1.0, 1.0, 0.7]},
}
WIDTHS = {"ours": {0: 256, 6: 384}, "bm25": {}, "e5": {12: 384}}


def make(values=VALUES, **changes):
    tasks = list(dict.fromkeys(task for own in values.values() for task in own))
    scores = []
    for (system, exit_layer), own in values.items():
        width = WIDTHS[system].get(exit_layer)
        for task, numbers in own.items():
            rows = {"task": task, "system": system, "exit": exit_layer}
            array = np.array(numbers, np.float32)
            scores.append(Score(**rows, width=width, metrics={"mrr": float(array.mean())}, per_query=array))
            if system == "ours":
                scores.append(Score(**rows, width=64, metrics={"mrr": float(array.mean()) / 2}))
    systems = []
    for name, widths in WIDTHS.items():
        card = Card(name=name, source=f"source of {name}", prompt="{text}", runtime="none",
                    contamination={"cosqa": "seen <all>"} if name == "e5" else {})  # fmt: skip
        systems.append(System(card=card, identity="1", is_model=name == "ours", widths=widths))
    costs = [
        Cost(system=system, exit=exit_layer, parameters=22_600_000, query_tokens=16, query_flops=340_000_000,
             latency_ms=1.0 + (exit_layer or 0), latency_ms_p95=9.0, texts_per_s=50.0, texts_per_s_spread=(40.0, 60.0),
             index_bytes=1_536_000, threads=2, what="timed")
        for system, exit_layer in values
    ]  # fmt: skip
    matrix = [
        Cell(task=task, query_exit=query, corpus_exit=corpus, width=256, value=0.1 * (query + corpus))
        for task in tasks for query in (0, 6) for corpus in (0, 6)
    ]  # fmt: skip
    result = Result(
        identity="abc", date="2024-05-01", seconds=12.0, environment={"processor": "P", "cores": 2, "versions": {}},
        options=changes.pop("options", {}), systems=tuple(systems), scores=tuple(scores), matrix=tuple(matrix), costs=tuple(costs),
        skipped=(Skipped(system="static", reason="no folder"),),
        tasks=tuple(
            TaskInfo(name=name, family="text-code", dataset=name.split("-")[0], protocol="Ask | answer.", metric="mrr",
                     num_queries=max(len(own[name]) for own in values.values() if name in own), num_corpus=9)
            for name in tasks
        ), **changes,
    )  # fmt: skip
    return dataclasses.replace(result, differences=tuple(differences.of_result(result)))


@pytest.fixture(scope="module")
def result():
    return make()


def column(table, name):
    place = table.head.index(name)
    return {row[0]: row[place] for row in table.rows}


def test_summary_gives_means_and_differences_to_the_deepest_exit(result):
    table = summary_table(result)
    assert column(table, "mean over 2 tasks") == {"exit 0": "0.450", "exit 6": "0.750", "bm25": "0.750", "e5": ""}
    against = column(table, "against our deepest exit")
    assert against["exit 0"].startswith("-0.300 [") and against["exit 6"] == ""
    assert against["bm25"].startswith("+0.000 [") and against["e5"].startswith("-0.100 [")
    assert column(table, "p")["exit 0"] != "" and column(table, "p")["bm25"] == ""


def test_best_of_a_task_is_marked(result):
    table = task_table(result)
    best = {(table.rows[row][0], table.head[place]) for row, place in table.best}
    assert best == {("cosqa", "exit 6"), ("csn-go", "bm25")}


def test_sets_widths_and_matrix_by_hand(result):
    assert column(set_table(result), "csn-go") == {"exit 0": "0.400", "exit 6": "0.500", "bm25": "1.000", "e5": ""}
    assert column(width_table(result), "width 64") == {"exit 0": "0.225", "exit 6": "0.375"}
    assert column(matrix_table(result), "corpus exit 6") == {"exit 0": "0.600", "exit 6": "1.200"}


def test_with_every_set_the_mean_is_the_headline():
    names = [name if name in ("cosqa",) or name.startswith("csn") else f"{name}-php" for name in SETS]
    full = make(
        {("ours", 0): {name: [0.5] for name in names}, ("ours", 6): {name: [0.9] for name in [*names, "conala"]}}
    )
    table = summary_table(full)
    assert column(table, "mean MRR") == {"exit 0": "0.500", "exit 6": "0.900"}
    assert {row.over for row in full.differences if row.over in (HEADLINE, SHARED)} == {HEADLINE}


def test_queries_of_one_cluster_count_as_one():
    values = {("ours", 6): {"csn-go": [0.1, 0.9] * 20}, ("bm25", None): {"csn-go": [0.5, 0.5] * 20}}
    alone = make(values)
    (task,) = alone.tasks
    numbers = np.repeat(np.arange(2, dtype=np.int32), 20)  # half the queries are of one repository
    values[("ours", 6)]["csn-go"] = [0.1] * 20 + [0.9] * 20
    clustered = dataclasses.replace(make(values), tasks=(dataclasses.replace(task, clusters=numbers),))
    narrow, wide = (
        next(row for row in differences.of_result(result) if row.over == "csn-go") for result in (alone, clustered)
    )
    assert narrow.mean == wide.mean
    assert narrow.high - narrow.low < 0.3
    assert (wide.low, wide.high) == pytest.approx((-0.4, 0.4))


def test_a_shortened_run_is_called_so():
    assert "comparable to nothing else" in summary_table(make(options={"limit": 5})).note


def test_skipped_peers_and_contamination_are_in_the_report(result):
    text = markdown.page(result, all_tables(result), {})
    assert "left out, or in part: no folder" in text and "cosqa: seen &lt;all>" in text
    assert "Ask \\| answer." in text


def test_markdown_tables_have_one_width(result):
    text = markdown.page(result, all_tables(result), {"plot": "pareto.png"})
    assert "![plot](pareto.png)" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    write_report(result, out)
    return out


def test_the_page_is_self_contained(folder):
    page = (folder / "report.html").read_text(encoding="utf8")
    assert not re.search(r"<(?:script|link|img|iframe)\b|@import|src=|url\((?!#)", page)
    assert not re.search(r'\bhref="(?!#|data:)', page)
    assert page.count("<svg") == 2 and "seen &lt;all&gt;" in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_ids_of_the_page_are_unique_and_their_uses_known(folder):
    page = (folder / "report.html").read_text(encoding="utf8")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids)


def test_drawings_take_the_colour_of_the_page(folder):
    page = (folder / "report.html").read_text(encoding="utf8")
    assert "currentColor" in page and "#2b2f36" not in page


def test_plots_show_every_exit_and_peer_with_a_mean(folder):
    drawing = (folder / "pareto.svg").read_text(encoding="utf8")
    ElementTree.fromstring(drawing)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing)
    assert {"exit 0", "exit 6", "bm25"} <= set(texts) and "e5" not in texts
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "1.200" in (folder / "exits.svg").read_text(encoding="utf8")


def test_the_same_result_gives_the_same_characters(result, folder, tmp_path):
    write_report(result, tmp_path)
    for name in ("report.html", "report.md", "pareto.svg", "exits.svg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_an_unwritable_folder_is_named(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--out"):
        write_report(result, tmp_path / "file")


def test_text_of_a_table_cannot_become_markup():
    table = Table(title="<b>", note="", head=("<i>",), rows=(("<script>",),))
    page = html.page(make(), [table], {})
    assert "<script>" not in page and "<i>" not in page


# ---- comparing


def test_a_result_compared_with_itself_has_not_changed(result):
    changes = compare(result, result)
    assert changes and all(change.difference.mean == 0 and not change.difference.excludes_zero for change in changes)


def test_compare_pairs_by_query_and_names_what_changed(result):
    worse = {key: {task: list(numbers) for task, numbers in own.items()} for key, own in VALUES.items()}
    worse["ours", 6]["cosqa"] = [0.7, 0.7, 0.7]
    changes = {(change.over, change.system, change.exit): change for change in compare(result, make(worse))}
    cosqa = changes["cosqa", "model", 6]
    assert (cosqa.before, cosqa.after) == (pytest.approx(1.0), pytest.approx(0.7))
    assert cosqa.difference.high < 0
    assert changes[SHARED, "model", 6].difference.mean == pytest.approx(-0.15)
    assert changes["cosqa", "bm25", None].difference.mean == 0
    rows = {row[:2]: row for row in change_table(list(changes.values()), "A", "B").rows}
    assert rows["cosqa", "exit 6"][2:4] == ("1.000", "0.700") and rows["cosqa", "exit 6"][5] == "yes"


def test_results_of_other_data_are_not_compared(result):
    other = dataclasses.replace(result.tasks[0], num_corpus=10)
    with pytest.raises(DataError, match="not the same"):
        compare(result, dataclasses.replace(result, tasks=(other,)))
    with pytest.raises(DataError, match="in common"):
        compare(result, dataclasses.replace(result, tasks=()))
