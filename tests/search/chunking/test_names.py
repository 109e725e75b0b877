"""Which names a chunk defines, and what encloses them."""

import pytest

from mose.search.chunking.chunks import cut_text
from mose.search.chunking.names import MEMBER, NAMESPACE, REOPENED, TOP, bare_names, format_names, read_names


def cut(text, language, config=None):
    return cut_text(text, language, config).chunks


def levels(text, language):
    return {(name.symbol, name.level) for chunk in cut(text, language) for name in chunk.names}


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("csharp", "namespace Shop { class Cart { void Add() { } } }", {("Shop.Cart", TOP), ("Shop.Cart.Add", MEMBER)}),
        ("cpp", "namespace shop { class Cart { int size() { return 1; } }; }", {("shop.Cart", TOP)}),
        ("rust", "mod shop { struct Cart {} }", {("shop", NAMESPACE), ("shop.Cart", TOP)}),
        ("rust", "impl Cart { fn add(&self) {} }", {("Cart", REOPENED), ("Cart.add", MEMBER)}),
        ("swift", "extension Cart { func add() { } }", {("Cart", REOPENED), ("Cart.add", MEMBER)}),
        ("go", "package p\nfunc (c *Cart) Add() {}\n", {("Cart.Add", MEMBER)}),
        ("java", "class Cart { class Item { } }", {("Cart", TOP), ("Cart.Item", MEMBER)}),
        ("ruby", "module Shop\n  class Cart\n  end\nend\n", {("Shop", NAMESPACE), ("Shop.Cart", TOP)}),
        ("python", "class Cart:\n    def add(self): ...\n", {("Cart", TOP), ("Cart.add", MEMBER)}),
    ],
)
def test_a_namespace_is_no_owner_and_a_block_that_adds_to_a_type_does_not_declare_it(language, text, expected):
    assert expected <= levels(text, language)


def test_each_name_knows_its_line_within_the_chunk():
    (chunk,) = cut("# a comment\n\nLIMIT = 3\n\n\ndef pay():\n    return LIMIT\n", "python")
    assert [(name.name, chunk.first_line + name.line) for name in chunk.names] == [("LIMIT", 3), ("pay", 6)]
    assert read_names(format_names(chunk.names)) == chunk.names
    assert bare_names(format_names(chunk.names)) == ["LIMIT", "pay"]
    assert (read_names(""), bare_names("")) == ((), [])
