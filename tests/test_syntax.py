"""Definitions: what is found in each language, and what never goes wrong.

``MOSE_UPDATE_GOLDEN=1 pytest tests/test_syntax.py`` writes the expected files anew; read the difference.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mose.syntax import GRAMMARS, Definition, definitions, grammars, has_grammar

GOLDEN = Path(__file__).parent / "golden" / "definitions"


def shown(found: list[Definition]) -> str:
    return "".join(
        f"{item.first_line}-{item.last_line} {item.kind} {item.symbol} | line {item.line} | {item.signature}\n"
        for item in found
    )


def symbols(text: str, language: str) -> list[str]:
    found = definitions(text, language)
    assert found is not None
    return [item.symbol for item in found]


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_definitions_of_a_sample_in_each_language(language):
    found = definitions((GOLDEN / f"sample.{language}").read_text(encoding="utf-8"), language)
    assert found is not None
    expected = GOLDEN / f"{language}.expected"
    if os.environ.get("MOSE_UPDATE_GOLDEN"):
        expected.write_text(shown(found), encoding="utf-8")
    assert shown(found) == expected.read_text(encoding="utf-8")


def test_unknown_language_has_no_grammar():
    assert definitions("x", "klingon") is None
    assert not has_grammar("klingon")


def test_missing_wheel_means_no_grammar_without_an_error(monkeypatch):
    real = importlib.import_module

    def without_go(name, *arguments):
        if name == "tree_sitter_go":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(grammars.importlib, "import_module", without_go)
    grammars._load.cache_clear()
    assert not has_grammar("go")
    assert definitions("func F() {}", "go") is None
    assert has_grammar("python")
    monkeypatch.undo()
    grammars._load.cache_clear()
    assert has_grammar("go")


def test_grammars_are_loaded_on_first_use_only():
    code = (
        "import sys, mose.syntax; assert not [m for m in sys.modules if m.startswith('tree_sitter')];"
        "mose.syntax.definitions('x', 'python'); loaded = {m for m in sys.modules if m.startswith('tree_sitter_')};"
        "assert loaded <= {'tree_sitter_python', 'tree_sitter_python._binding'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_parents_enclose_their_children():
    found = definitions((GOLDEN / "sample.python").read_text(encoding="utf-8"), "python")
    assert found is not None
    for position, item in enumerate(found):
        assert item.first_line <= item.line <= item.last_line
        if item.parent is not None:
            parent = found[item.parent]
            assert item.parent < position
            assert parent.first_line <= item.first_line
            assert item.last_line <= parent.last_line
            assert item.symbol.startswith(parent.symbol + ".")


def test_comment_above_belongs_to_the_definition_but_not_across_a_gap():
    text = "# far\n\n# near\n# nearer\ndef f(): pass\nx = 1  # trailing\ndef g(): pass\n"
    found = definitions(text, "python")
    assert found is not None
    assert [(item.name, item.first_line, item.line) for item in found] == [
        ("f", 3, 5),
        ("x", 6, 6),
        ("g", 7, 7),
    ]


def test_comment_of_another_indentation_is_not_taken():
    found = definitions("if x:\n    call()\n    # about the call\ndef f(): pass\n", "python")
    assert found is not None
    assert found[0].first_line == 4


def test_comment_that_ends_the_definition_before_is_not_taken():
    text = "class A:\n    def f(self):\n        pass\n    # about f\n    def g(self): pass\n"
    found = definitions(text, "python")
    assert found is not None
    assert found[2].first_line == 4
    block = definitions("/* one */ int a() { return 1; } /* two\n */\nint b() { return 2; }\n", "c")
    assert block is not None
    assert [item.first_line for item in block] == [1, 3]


def test_header_that_reads_like_cpp_is_parsed_as_cpp():
    assert symbols("namespace n {\nclass A { void f(); };\n}\n", "c") == ["n", "n.A", "n.A.f"]


def test_class_after_a_macro_and_template_arguments():
    text = "class C10_API Pool {\n  int get() { return 1; }\n};\nint A<B<T, 1>>::get() { return 1; }\n"
    found = definitions(text, "cpp")
    assert found is not None
    assert [(item.kind, item.symbol) for item in found] == [
        ("class", "Pool"),
        ("method", "Pool.get"),
        ("method", "A.get"),
    ]


def test_broken_source_still_yields_definitions():
    assert "good" in symbols("def good():\n    pass\n\nclass Half(\n", "python")
    assert "good" in symbols("func good() {}\nfunc bad( {\n", "go")


def test_deep_nesting_does_not_exhaust_the_stack():
    text = "".join(" " * depth + f"class C{depth}:\n" for depth in range(400)) + " " * 400 + "x = 1\n"
    found = definitions(text, "python")
    assert found is not None
    assert len(found) >= 400
    assert symbols("def f(): return " + "(" * 3000 + "1" + ")" * 3000 + "\ndef g(): pass\n", "python") == [
        "f",
        "g",
    ]


@pytest.mark.parametrize("language", ["python", "javascript", "cpp", "rust"])
@pytest.mark.parametrize("unit", ["(\n", "([{\n", "(", "a<", '"', "if x:\n", "}\n", "/*", "x" * 50_001])
def test_pathological_source_ends_soon(language, unit):
    start = time.thread_time()
    definitions(unit * (200_000 // len(unit)), language)
    assert time.thread_time() - start < 6


def test_characters_beyond_the_tables_of_c_do_not_crash_the_process():
    text = "sichern_é() {\n  echo ${\U0010fffd} ${ü}\n}\nrestore() {\n  true\n}\n"
    code = f"from mose.syntax.definitions import definitions; print([d.symbol for d in definitions({text!r}, 'bash')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "['sichern_é', 'restore']")


def test_parser_that_gave_up_is_as_good_as_new(monkeypatch):
    text = "def f(): pass\n" * 500
    monkeypatch.setattr(grammars, "_STEPS_AT_LEAST", 1)
    monkeypatch.setattr(grammars, "_BYTES_PER_STEP", 10**9)
    assert definitions(text, "python") is None
    monkeypatch.undo()
    assert symbols("class A: pass\n", "python") == ["A"]


def test_symbols_are_qualified_from_outside_too():
    assert symbols("func (p *Pool) Get() {}\n", "go") == ["Pool.Get"]
    assert symbols("void ns::Pool::get() {}\n", "cpp") == ["ns.Pool.get"]
    assert symbols("function M:get() end\n", "lua") == ["M.get"]
    assert symbols("Pool.prototype.get = function () {};\n", "javascript") == ["Pool.get"]
    assert symbols("fun String.shout(): String = this\n", "kotlin") == ["String.shout"]


def test_one_statement_may_define_several_names():
    assert symbols("var A, B = 1, 2\n", "go") == ["A", "B"]
    assert symbols("const f = () => 1, g = () => 2;\n", "javascript") == ["f", "g"]


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=300), language=st.sampled_from(sorted(GRAMMARS)))
def test_any_text_is_survived(text, language):
    found = definitions(text, language)
    assert found is not None
    num_lines = len(text.split("\n"))
    for item in found:
        assert 1 <= item.first_line <= item.line <= item.last_line <= num_lines
