"""Open trees: what is answered while a large one is read for the first time, and one ranking over several."""

import threading
import time

from test_mcp import write_large_tree

from mose.search.hits import Hit, Hits, Parts, SearchStats
from mose.search.options import SearchOptions
from mose.search.ranking.several import fuse
from mose.serve import asking, trees
from mose.serve.trees import Trees


def test_a_first_answer_does_not_wait_for_a_large_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "FIRST_ANSWER_S", 1.0)
    opened = Trees(deepens=False)
    opened.load()
    tree = opened.get(write_large_tree(tmp_path / "large", 1_600))
    options, nobody = SearchOptions(budget_s=0.1), threading.Event()
    started = time.monotonic()
    found = asking.search(opened, [tree], "value", options, nobody)
    assert time.monotonic() - started < 15
    assert "still being read" in found.notes[0] and "changed files" in found.notes[0]
    (depth,) = found.depths.values()
    for _ in range(600):
        found = asking.search(opened, [tree], "value", options, nobody)
        if not any("still being read" in note for note in found.notes):
            break
        time.sleep(0.1)
    (whole,) = found.depths.values()
    assert depth.num_chunks < whole.num_chunks and whole.num_chunks > 3_000
    opened.close()


def hits_of(*scores):
    stats = SearchStats(
        num_chunks=1, num_deep=1, num_encoded=0, num_short=1, num_read=1, exit=6, seconds=0, has_words=True
    )  # fmt: skip
    return Hits(
        [
            Hit(
                path=f"{number}.py", start_line=1, end_line=1, symbol="", language="python", score=score, text="",
                parts=Parts(cosine=cosine, bm25=words, exit=6),
            )
            for number, (score, cosine, words) in enumerate(scores)
        ],
        stats,
    )  # fmt: skip


def test_trees_are_compared_by_their_best_hits_and_each_keeps_its_order():
    strong, weak = hits_of((0.8, 0.6, 12.0), (0.5, 0.5, 3.0)), hits_of((0.9, 0.3, 6.0), (0.7, 0.2, 1.0))
    ranked = fuse([weak, strong], limit=10)
    assert [(number, hit.path) for number, hit in ranked] == [(1, "0.py"), (1, "1.py"), (0, "0.py"), (0, "1.py")]
    assert [round(hit.score, 3) for _, hit in ranked] == [0.8, 0.5, 0.45, 0.35]
    assert fuse([weak], limit=1)[0][1].score == 0.9
    assert fuse([hits_of(), hits_of()], limit=3) == []
