"""The consistency filter: a pair stays if a search finds its code among that of its repository."""

import json

import pytest

from mose import Encoder
from mose.cli import main
from mose.data.curate.stage import DROPPED
from mose.data.pairs import read_objects, write_objects
from mose.evaluate.consistency import ABSENT, Haystack, rank_own_codes

pytest.importorskip("bm25s")

CODES = {
    "close_socket": "def close_socket(sock):\n    sock.shutdown()\n    sock.close()",
    "parse_date": "def parse_date(text):\n    year, month, day = text.split('-')\n    return date(year, month, day)",
    "draw_circle": "def draw_circle(canvas, radius):\n    canvas.arc(radius, full_turn)",
}


def mined(symbol, code, **more):
    return {"code": code, "group": f"a/a.py:{symbol}", "source": "pypi:a", "kind": "doc", "path": "a.py",
            "query": symbol, "language": "python", **more}  # fmt: skip


MINED = [mined(symbol, code) for symbol, code in CODES.items()]
QUESTION = mined("parse_date", CODES["parse_date"], query="parse year, month and day of a date", kind="function-search")


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load("small", exit=0)


def test_rank_counts_definitions_that_score_higher(encoder):
    rows = [*MINED, mined("parse_date", CODES["parse_date"].replace("text", "words")), mined("", "x", kind="file")]
    haystack = Haystack(rows, encoder, whole_files=False)
    keys = [f"a/a.py:{symbol}" for symbol in ("parse_date", "close_socket", "draw_circle", "nowhere")]
    ranks = haystack.ranks([QUESTION["query"]] * 4, keys, "text")
    assert ranks[0] == 1
    assert sorted(ranks[:3]) == [1, 2, 3]
    assert ranks[3] is None


def test_each_source_is_searched_by_itself(encoder):
    other = [row | {"source": "pypi:b"} for row in MINED if "parse_date" not in row["group"]]
    assert rank_own_codes([QUESTION, QUESTION | {"source": "pypi:b"}], [*MINED, *other], encoder) == [1, None]


def test_a_question_about_a_file_is_searched_among_files(encoder):
    rows = [mined("", "def parse_date(text):", kind="file", path="dates.py"),
            mined("", "def draw_circle(canvas):", kind="file", path="draw.py")]  # fmt: skip
    asked = mined("", "def parse_date(text):", kind="file-how", path="dates.py", query="how are dates parsed")
    assert rank_own_codes([asked], rows, encoder) == [1]


def test_a_translation_is_searched_by_its_code(encoder):
    row = mined("parse_date", "func parseDate(text string) { year, month, day }", kind="translation", query="")
    assert rank_own_codes([row], [*MINED, row], encoder) == [1]


def test_filter_keeps_what_is_found_and_tells_why_the_rest_is_not(tmp_path, capsys):
    wrong = QUESTION | {"group": "a/a.py:close_socket"}
    gone = QUESTION | {"group": "a/a.py:gone"}
    write_objects(tmp_path / "asked.jsonl.xz", [QUESTION, wrong, gone])
    write_objects(tmp_path / "mined.jsonl.xz", MINED)
    command = ["pairs", "filter", f"{tmp_path}/asked.jsonl.xz", "--among", f"{tmp_path}/mined.jsonl.xz"]
    assert main([*command, "--first", "1", "--out", f"{tmp_path}/good", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["dropped"] == {"not among the first 1": 1, ABSENT: 1}
    assert [row for _, row in read_objects(tmp_path / "good" / "asked.jsonl.xz")] == [QUESTION | {"rank": 1}]
    assert [row["group"] for _, row in read_objects(tmp_path / "good" / DROPPED)] == [wrong["group"], gone["group"]]
