"""Filters by language and path: what passes, and what the message names when nothing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mose.errors import ConfigError
from mose.search.filters import allowed_chunks
from mose.search.store.records import ChunkTable

FILES = {
    "src/app.py": "python",
    "src/web/view.tsx": "tsx",
    "src/web/model.ts": "typescript",
    "src/core.hpp": "cpp",
    "tests/test_app.py": "python",
    "docs/index.rst": "rst",
    "café.py": "python",
    "#odd/a.py": "python",
}
ROOT = Path("/home/someone/project")


def table() -> ChunkTable:
    count = len(FILES)
    rows = np.arange(count, dtype=np.int32)
    return ChunkTable(
        generation=1, ids=np.arange(count, dtype=np.int64), file_row=rows, first_line=rows, last_line=rows,
        symbol=[""] * count, kind=[""] * count, defined=[""] * count, paths=list(FILES), languages=list(FILES.values()),
        generated=[False] * count,
    )  # fmt: skip


def passing(language=None, path=None, root=ROOT) -> list[str]:
    chunks = allowed_chunks(table(), None, language, path, root)
    return list(FILES) if chunks is None else [name for name, passes in zip(FILES, chunks, strict=True) if passes]


@pytest.mark.parametrize(
    "pattern",
    [
        "src/",
        "./src/",
        "/src/",
        "./src",
        "src",
        "src/**",
        f"{ROOT}/src/",
        f"{ROOT}/src",
        "src//",
        "src/.",
        "src/./",
        ".//src",
        "src/web/..",
        "docs/../src",
        f"{ROOT}/docs/../src",
        f"{ROOT}//src",
    ],
)
def test_a_folder_may_be_named_in_every_common_way(pattern):
    assert passing(path=pattern) == ["src/app.py", "src/web/view.tsx", "src/web/model.ts", "src/core.hpp"]


@pytest.mark.parametrize("pattern", [".", "./", "./.", "/", "src/..", str(ROOT), f"{ROOT}/", "**"])
def test_the_tree_itself_lets_everything_pass(pattern):
    assert passing(path=pattern) == list(FILES)


def test_exclusion_alone_keeps_the_rest():
    assert passing(path="!tests/") == [name for name in FILES if not name.startswith("tests/")]
    assert passing(path=["!tests/", "!docs/", f"!{ROOT}/src/web/"]) == [
        "src/app.py", "src/core.hpp", "café.py", "#odd/a.py",
    ]  # fmt: skip


def test_repeated_filters_add_up_and_exclusions_win_in_any_order():
    assert passing(path=["docs/", "tests/"]) == ["tests/test_app.py", "docs/index.rst"]
    assert passing(path=["!web/", "src/"]) == passing(path=["src/", "!web/"]) == ["src/app.py", "src/core.hpp"]
    assert passing(language=["rst", "C++"]) == ["src/core.hpp", "docs/index.rst"]


@pytest.mark.parametrize(("pattern", "names"), [("caf?.py", []), ("caf??.py", ["café.py"]), ("#odd/", ["#odd/a.py"])])
def test_patterns_mean_what_they_mean_in_ignore_files(pattern, names):
    if names:
        assert passing(path=pattern) == names
    else:
        with pytest.raises(ConfigError, match="path"):
            passing(path=pattern)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("Python", {"python"}), ("py", {"python"}), (".PY", {"python"}), ("c++", {"cpp"}), ("CPP", {"cpp"}),
        ("typescript", {"tsx", "typescript"}), ("ts", {"tsx", "typescript"}), ("tsx", {"tsx"}), ("rest", {"rst"}),
    ],
)  # fmt: skip
def test_languages_by_alias_and_in_any_case(name, labels):
    assert {FILES[path] for path in passing(language=name)} == labels


@pytest.mark.parametrize(
    ("language", "path", "words"),
    [
        ("klingon", None, ["language", "'klingon'", "cpp, python, rst"]),
        ("python", "nowhere/", ["path", "'nowhere/'"]),
        (None, ["src/", "nowhere/"], ["path", "'nowhere/'"]),
        (None, ["src/", "!src/"], ["path", "src/ !src/"]),
        ("rst", "src/", ["path and language together", "src/ rst"]),
        (None, "!", ["path", "'!'"]),
        (None, "", ["path", "''"]),
        (None, "../other", ["path", "'../other'", "inside the searched tree"]),
        (None, "src/../../other", ["path", "'src/../../other'", "inside the searched tree"]),
        (None, "!!src/", ["path", "'!!src/'"]),
        (None, "SRC/", ["path", "'SRC/'", "Case counts"]),
        (None, "web/[id].ts", ["path", "'web/[id].ts'", "a \\ before"]),
        (None, "[z-a]", ["path", "[z-a]"]),
        (None, "a\nb", ["path"]),
    ],
)
def test_message_names_the_filter_that_leaves_nothing(language, path, words):
    with pytest.raises(ConfigError) as caught:
        passing(language, path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_hostile_pattern_and_deep_path_end_soon():
    deep = table()
    deep.paths[0] = "a/" * 1_950 + "a" * 190  # as long as the system lets a path be
    for pattern in ("*a" * 60 + "b", "**/" * 60 + "b", "**/*a" * 60 + "b"):
        with pytest.raises(ConfigError, match="path"):
            allowed_chunks(deep, None, None, pattern, ROOT)
