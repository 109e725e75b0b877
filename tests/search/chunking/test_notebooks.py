"""Notebooks: cells are found where they stand, outputs are not, and what is no notebook is text."""

from __future__ import annotations

import json

import pytest
from index_doubles import WordEncoder, write_tree

from mose.files.notebooks import read_notebook
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.chunking.notebooks import cut_notebook
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store

CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Churn model\n", "Who leaves, \U0001f600 and why."]},
    {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "outputs": [{"output_type": "stream", "text": ["secret_output\n"]}],
        "source": ["import pandas\n", "\n", "def load_churn(path):\n", '    return "\\n"\n'],
    },
    {"cell_type": "raw", "metadata": {}, "source": "one string\nof two lines"},
    {"cell_type": "code", "metadata": {}, "outputs": [], "source": []},
]


def notebook(**changes) -> str:
    whole = {"cells": CELLS, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole | changes, indent=1)


def plot(num_bytes: int) -> list[dict]:
    output = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * (num_bytes // 11)}}
    return [*CELLS, {"cell_type": "code", "outputs": [output], "source": ["plot_churn()\n"]}]


def cut(text: str):
    found = cut_notebook(text, ChunkerConfig())
    assert found is not None
    return found.chunks


def test_cells_are_cut_as_what_they_are_and_name_lines_of_the_file():
    text = notebook()
    lines = text.split("\n")
    chunks = cut(text)
    assert [(chunk.language, chunk.symbol, chunk.context) for chunk in chunks] == [
        ("markdown", "Churn model", "cell 1"),
        ("python", "load_churn", "cell 2"),
        ("text", "cell 3", "cell 3"),
    ]
    assert "\U0001f600" in chunks[0].text
    for chunk in chunks[:2]:
        for number, line in enumerate(chunk.text.split("\n"), chunk.first_line):
            assert json.loads(lines[number - 1].strip().rstrip(",")).rstrip("\n") == line
    assert chunks[2].first_line == chunks[2].last_line
    assert "one string" in lines[chunks[2].first_line - 1]


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
def test_every_line_of_every_cell_is_in_a_chunk(indent):
    long = {"cell_type": "code", "source": [f"value_{number} = {number}\n" for number in range(500)]}
    text = json.dumps({"cells": [*CELLS, long]}, indent=indent)
    told = "\n".join(chunk.text for chunk in cut(text)).split("\n")
    for cell in [*CELLS, long]:
        for line in "".join(cell["source"]).split("\n"):
            assert line in told or not line
    assert all(chunk.last_line <= text.count("\n") + 1 for chunk in cut(text))


def test_language_of_the_kernel_is_that_of_the_code():
    for metadata in ({"kernelspec": {"language": "R"}}, {"language_info": {"name": "R"}}):
        assert cut(notebook(metadata=metadata))[1].language == "r"


def test_text_that_was_broken_apart_within_a_line_is_joined():
    found = read_notebook('{"cells": [{"source": ["a", "b\\n", "c"], "cell_type": "code"}]}')
    assert found is not None
    assert found.cells[0].lines == ["ab", "c"]


def test_escapes_lead_to_valid_text():
    found = read_notebook('{"cells": [{"source": "a\\ud800\\u0000\\r\\nb", "cell_type": "code"}]}')
    assert found is not None
    assert found.cells[0].lines == ["a?\ufffd", "b"]


BROKEN = {
    "cut off": notebook()[:400],
    "no cells": notebook(cells=[]),
    "cells of something else": notebook(cells={"a": 1}),
    "sources of something else": notebook(cells=[{"cell_type": "code", "source": [1, 2]}]),
    "deep": '{"metadata": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "deep cells": '{"cells": ' + "[" * 200_000,
    "a list": "[1, 2]",
    "a word": "churn",
    "commas": '{"cells": [,,,,]}',
    "colons": '{"a"::::1}',
    "open": '{"cells": [{"source": ["',
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_is_no_notebook_is_none(name):
    assert read_notebook(BROKEN[name]) is None


def test_tree_with_plots_large_outputs_and_broken_notebooks(tmp_path):
    tree = write_tree(
        tmp_path / "tree",
        {
            "plain.ipynb": notebook(),
            "plot.ipynb": notebook(cells=plot(100_000)),
            "huge.ipynb": notebook(cells=plot(3_000_000)),
            "broken.ipynb": notebook()[:400],
            "broken_and_huge.ipynb": notebook(cells=plot(3_000_000))[:-9],
            "beyond.ipynb": notebook(cells=plot(21_000_000)),
        },
    )
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        status = store.status()
        assert status.skipped == {"oversized": 2}
        assert status.troubles == {}
        chunks = store.chunks(store.chunk_ids().tolist())
        for path in ("plain.ipynb", "plot.ipynb", "huge.ipynb"):
            symbols = [chunk.symbol for chunk in chunks if chunk.path == path]
            assert symbols[:3] == ["Churn model", "load_churn", "cell 3"]
        assert any("Who leaves" in chunk.text for chunk in chunks if chunk.path == "broken.ipynb")
        assert not any("secret_output" in chunk.text for chunk in chunks if chunk.path != "broken.ipynb")
        assert not any("iVBORw0KGgo" in chunk.text for chunk in chunks)
