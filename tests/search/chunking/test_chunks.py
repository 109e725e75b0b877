"""Chunks: what a person would expect to see, and properties that hold for any text.

``MOSE_UPDATE_GOLDEN=1 pytest tests/search/chunking/test_chunks.py`` writes the expected files anew; read the difference.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mose.errors import ConfigError
from mose.search.chunking.chunk import Chunk, embedding_text
from mose.search.chunking.chunks import ChunkerConfig, cut_text
from mose.search.chunking.sections import sections
from mose.search.chunking.splitting import break_line, split_lines
from mose.syntax import GRAMMARS, grammars

GOLDEN = Path(__file__).parents[2] / "golden" / "chunks"
SMALL = ChunkerConfig(min_chars=60, target_chars=240, whole_chars=300, max_chars=400)


def cut(text, language, config=None):
    return cut_text(text, language, config).chunks


def shown(chunk: Chunk) -> str:
    symbol = f" {chunk.symbol}" if chunk.symbol else ""
    defines = f" (defines {', '.join(chunk.defines)})" if chunk.defines else ""
    head = f"==== {chunk.first_line}-{chunk.last_line} {chunk.kind}{symbol}{defines}\n"
    return head + "".join(f"   > {line}\n" for line in chunk.context.split("\n") if line) + chunk.text + "\n"


@pytest.mark.parametrize("language", ["python", "typescript", "go", "java", "markdown", "dart"])
def test_golden_chunks(language):
    chunks = cut((GOLDEN / f"sample.{language}").read_text(encoding="utf-8"), language, SMALL)
    expected = GOLDEN / f"{language}.expected"
    if os.environ.get("MOSE_UPDATE_GOLDEN"):
        expected.write_text("".join(map(shown, chunks)), encoding="utf-8")
    assert "".join(map(shown, chunks)) == expected.read_text(encoding="utf-8")


def check_cover(text: str, chunks: list[Chunk], config: ChunkerConfig) -> None:
    """Every line once and in order; only an overlong line in parts, and they add up to it."""
    lines = text.removesuffix("\n").split("\n") if text else []
    rebuilt: list[str] = []
    last = 0
    for chunk in chunks:
        assert len(chunk.text) <= config.max_chars
        if chunk.first_line == chunk.last_line == last:
            rebuilt[-1] += chunk.text
            assert chunk.defines == ()
        else:
            assert chunk.first_line == last + 1
            rebuilt.append(chunk.text)
        last = chunk.last_line
    assert last == len(lines)
    assert "\n".join(rebuilt) == "\n".join(lines)


_FRAGMENTS = [
    *(
        "def f(a):",
        "    return 1",
        "class A(B):",
        "    def g(self):",
        "        pass",
        "}",
        "{",
        "func F() {",
        "  x := 1",
    ),
    *(
        "# Title",
        "## Part",
        "Title",
        "=====",
        "public class A {",
        "  void m() {",
        "  }",
        "",
        "",
        "\t",
        "# comment",
    ),
    *("a\x0bb\x0c", "\x1c\x1d\x1e", "a\x85b\u2028c\u2029", "a\rb\r", "\0"),
    *("/* block", "*/", "@dec", "end", "x" * 70, "é" * 30, "a = [", "]", '"""', "```", "fn f() {"),
]
_LINES = st.sampled_from(_FRAGMENTS) | st.text(max_size=12)
_CONFIGS = st.sampled_from(
    [SMALL, ChunkerConfig(), ChunkerConfig(min_chars=1, target_chars=10, whole_chars=20, max_chars=25)]
)


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(_LINES, max_size=60),
    language=st.sampled_from([*sorted(GRAMMARS), "markdown", "rst", "text", "yaml", "klingon"]),
    config=_CONFIGS,
)
def test_any_text_is_covered_in_order_within_the_sizes(lines, language, config):
    text = "\n".join(lines)
    chunks = cut(text, language, config)
    check_cover(text, chunks, config)
    assert cut(text, language, config) == chunks


def test_nothing_comes_of_nothing():
    assert cut("", "python") == []
    assert [chunk.text for chunk in cut("\n", "python")] == [""]


def test_million_character_line_is_broken_hard():
    text = "a = 1\n" + "x" * 1_000_000 + "\nb = 2\n"
    start = time.process_time()
    chunks = cut(text, "python")
    assert time.process_time() - start < 2
    check_cover(text, chunks, ChunkerConfig())


def test_lone_surrogates_are_survived():
    check_cover("a = '\ud800'\ndef f(): pass\n", cut("a = '\ud800'\ndef f(): pass\n", "python"), ChunkerConfig())


def method(name: str, size: int) -> str:
    return f"    def {name}(self):\n" + "        call_something(with_some, arguments)\n" * (size // 45) + "\n"


def test_method_knows_its_class_and_part_knows_its_function():
    text = "class A(B):\n" + method("one", 900) + method("two", 3000)
    chunks = cut(text, "python")
    two = [chunk for chunk in chunks if chunk.symbol == "A.two"]
    assert len(two) == 3
    assert two[0].context == "class A(B):"
    assert two[1].context == "class A(B):\ndef two(self):"
    read = embedding_text(two[1], "lib/shop/cart.py")
    assert read.startswith("shop/cart\nclass A(B):\ndef two(self):\n        call_something")
    assert read.endswith("arguments)\nshop/cart A.two")
    assert embedding_text(two[0], "").endswith("arguments)\nA.two two")
    assert [chunk.defines for chunk in two] == [("two",), (), ()]
    assert two[0].kind == two[2].kind == "method"
    assert two[2].signature == "def two(self):"


def test_parts_of_a_long_function_are_about_equal():
    sizes = [len(chunk.text) for chunk in cut("def f(self):\n" + "    call(argument)\n" * 150, "python")]
    assert len(sizes) == 3
    assert max(sizes) < 1.3 * min(sizes)


def test_long_function_is_split_at_blank_lines_not_in_statements():
    block = "    total = add(\n        first,\n        second,\n    )\n    if total:\n        use(total)\n"
    text = "def f():\n" + (block + "\n") * 20
    parts = cut(text, "python")
    assert len(parts) > 1
    assert all(part.text.lstrip("\n").startswith("    total = add(") for part in parts[1:])


def test_tiny_definitions_are_merged_and_all_named():
    text = "".join(f"def f{number}(): return {number}\n\n\n" for number in range(5))
    (chunk,) = cut(text, "python")
    assert chunk.defines == ("f0", "f1", "f2", "f3", "f4")


def test_definitions_of_a_good_size_are_not_merged():
    text = "".join(f"def f{number}():\n" + "    call(argument)\n" * 20 for number in range(3))
    assert [chunk.symbol for chunk in cut(text, "python")] == ["f0", "f1", "f2"]


def test_members_of_different_classes_are_not_merged():
    text = "".join(f"class C{number}:\n" + method("big", 1300) + "    def small(self): pass\n" for number in range(2))
    for chunk in cut(text, "python"):
        assert not ("C0" in chunk.symbol and "class C1" in chunk.text)


def test_closing_brackets_are_no_chunk_of_their_own():
    text = "class A {\n" + "".join(f"  void m{n}() {{\n" + "    call(x);\n" * 60 + "  }\n" for n in range(3)) + "}\n"
    for source in (text, text.replace("call(x);", "call(x);\n" * 3)):
        chunks = cut(source, "java")
        assert all(any(char.isalnum() for char in chunk.text) for chunk in chunks)


def test_module_code_is_grouped():
    text = "import a\n" * 20 + "\n" + "LIMIT = 1\n" * 20 + "\ndef f():\n" + "    call(argument)\n" * 30 + "\nmain()\n"
    chunks = cut(text, "python")
    assert [(chunk.kind, chunk.symbol) for chunk in chunks] == [("module", ""), ("function", "f")]
    assert chunks[0].defines == ("LIMIT",)


def test_tiny_rest_after_a_class_is_no_chunk_of_its_own():
    text = "class A:\n" + method("one", 900) + method("two", 700) + "\nregister(A)\n"
    last = cut(text, "python")[-1]
    assert last.symbol == "A.two"
    assert last.text.endswith("register(A)")


def test_imports_are_joined_with_the_head_of_the_class_below():
    text = "package pool;\n\nimport a;\n\n" + "class Pool {\n" + "  void m() {\n    call(argument);\n  }\n" * 60 + "}\n"
    first = cut(text, "java")[0]
    assert first.text.startswith("package pool;")
    assert (first.symbol, first.context) == ("Pool", "")


def test_decorator_and_comment_stay_with_the_definition():
    filler = "def before():\n" + "    call(argument)\n" * 60 + "\n\n"
    text = filler + "# About the view.\n@route('/')\ndef view():\n" + "    call(argument)\n" * 20
    assert cut(text, "python")[-1].text.startswith("# About the view.\n@route")


def test_sections_carry_their_titles():
    text = "# Guide\n\n## Install\n\n" + "Do this and that.\n" * 100
    chunks = cut(text, "markdown")
    assert chunks[-1].symbol == "Install"
    assert chunks[-1].context == "Guide\nInstall"
    assert {chunk.defines for chunk in chunks} == {()}


@pytest.mark.parametrize(
    ("language", "text", "titles"),
    [
        ("markdown", "# A\n```\n# no\n```\n## B ##\n#no\n", ["A", "B"]),
        ("rst", "=====\nTitle\n=====\n\nPart\n----\ntext\nmore\n-----\n", ["Title", "Part"]),
        ("toml", "[a]\nx = 1\n[[b.c]]\n", ["a", "b.c"]),
        ("yaml", "on:\n  push:\njobs:\n  x: 1\n", ["on", "jobs"]),
        ("tex", "\\section{One}\n\\subsection{Two}\n", ["One", "Two"]),
        ("org", "* A\n** B\n", ["A", "B"]),
        ("klingon", "# A\n", []),
    ],
)
def test_headings(language, text, titles):
    assert [section.name for section in sections(text.split("\n"), language)] == titles


def test_language_without_a_grammar_is_cut_by_lines(monkeypatch):
    monkeypatch.setitem(grammars.MODULES, "python", ("no_such_wheel", "language"))
    grammars._load.cache_clear()
    cut = cut_text("def f(): pass\n", "python")
    assert ([chunk.kind for chunk in cut.chunks], cut.trouble) == (["text"], "")
    monkeypatch.undo()
    grammars._load.cache_clear()


@pytest.mark.parametrize(
    "text",
    ["x = 1\n" + "y" * 60_000 + "\n", "}\n" * 50_000],
    ids=["line", "brackets"],
)
def test_text_that_cannot_be_parsed_is_cut_by_lines_and_says_why(text):
    cut = cut_text(text, "c")
    assert cut.trouble
    assert {chunk.kind for chunk in cut.chunks} == {"text"}
    check_cover(text, cut.chunks, ChunkerConfig())


def test_sizes_must_be_in_order():
    with pytest.raises(ConfigError, match="chunk sizes"):
        ChunkerConfig(min_chars=2000)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(_LINES, min_size=1, max_size=40), target=st.integers(1, 100), extra=st.integers(0, 100))
def test_split_ranges_follow_each_other(lines, target, extra):
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    ranges = split_lines(lines, offsets, 1, len(lines), target, target + extra)
    assert [number for first, last in ranges for number in range(first, last + 1)] == list(range(1, len(lines) + 1))
    assert all(last == first or offsets[last] - offsets[first - 1] <= target + extra for first, last in ranges)


@given(line=st.text(alphabet="ab ;,}", max_size=60), most=st.integers(1, 20))
def test_broken_line_adds_up(line, most):
    parts = break_line(line, most)
    assert "".join(parts) == line
    assert all(len(part) <= most for part in parts)
