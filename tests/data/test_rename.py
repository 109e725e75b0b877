from __future__ import annotations

import numpy as np
import pytest

from mose.data.rename import defined_name, hide_defined_name, rename_frequent

PYTHON = "def total(prices):\n    result = 0\n    for price in prices:\n        result += price\n    return result"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (PYTHON, "total"),
        ("def self.find(id)\n  id\nend", "find"),
        ("func (s *Server) Close(x int) error {\n}", "Close"),
        ("function getAll(a) { return a }", "getAll"),
        ("const pick = (a) => a", "pick"),
        ("template <class T>\nT largest(T a, T b) { return a; }", "largest"),
        ("public static List<String> names(int a) throws IOException {\n}", "names"),
        ("fun area(a: Int): Int { return a }", "area"),
        ("if (a) { b(); }", ""),
        ("int main() { return 0; }", ""),
    ],
)
def test_defined_name_is_found(code: str, name: str) -> None:
    assert defined_name(code) == name


def test_hidden_name_is_gone_everywhere_and_class_follows() -> None:
    code = "class LargestSum { static int largestSum(int n) { return largestSum(n - 1); } }"
    hidden = hide_defined_name(code, np.random.default_rng(0))
    assert "argestSum" not in hidden
    assert hidden.count("int n") == 1


def test_renaming_is_consistent_and_keeps_foreign_names() -> None:
    code = "for item in items: box.add(item); use(item, box)"
    new = rename_frequent(code, np.random.default_rng(1), most=1)
    assert "item" not in new.replace("items", "")
    assert ".add(" in new and "use(" in new
    replaced = new.split()[1]
    assert new.count(replaced) >= 3


def test_variables_get_distinct_names() -> None:
    code = "aa = bb + aa; bb = cc + dd; cc = dd + aa"
    for seed in range(50):
        new = rename_frequent(code, np.random.default_rng(seed))
        assert len({*new.replace("=", " ").replace("+", " ").replace(";", " ").split()}) == 4


def test_same_generator_gives_same_code() -> None:
    first, second = (rename_frequent(PYTHON, np.random.default_rng(5)) for _ in range(2))
    assert first == second != PYTHON
