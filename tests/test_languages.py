"""What a path says about a file."""

from __future__ import annotations

import pytest

from mose.languages import (
    is_binary,
    is_documentation,
    is_example,
    is_generated,
    is_test,
    is_vendored,
    language_of,
    language_of_shebang,
)


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "python"),
        ("a.PY", "python"),
        ("a/b.tsx", "tsx"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("Makefile", "make"),
        ("Makefile.am", "make"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("requirements.txt", "text"),
        (".bashrc", "bash"),
        (".py", "text"),
        ("LICENSE", "text"),
        ("a.unknown", "text"),
        ("", "text"),
    ],
)
def test_language_by_name(path, language):
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/bin/sh", "bash"),
        ("#!/usr/bin/env node", "javascript"),
        ("#!/usr/bin/env -S FOO=1 python3.11 -u", "python"),
        ("#!/opt/unknown", None),
        ("#!", None),
        ("import x", None),
    ],
)
def test_language_by_first_line(line, language):
    assert language_of_shebang(line) == language


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/conftest.py", True),
        ("pkg/a_test.go", True),
        ("src/a.spec.ts", True),
        ("src/__tests__/a.js", True),
        ("src/FooTest.java", True),
        ("Tests/AppTests/A.swift", True),
        ("spec/models/user_spec.rb", True),
        ("test_a.py", True),
        ("src/latest.py", False),
        ("src/attest/a.py", False),
        ("src/contest.py", False),
        ("src/testimony.py", False),
        ("src/inspector.rb", False),
    ],
)
def test_tests(path, expected):
    assert is_test(path) is expected


def test_other_kinds_of_paths():
    assert is_vendored("a/third_party/b.c")
    assert is_vendored("web/jquery-3.1.0.slim.js")
    assert not is_vendored("src/vendor.py")
    assert is_generated("Form.Designer.cs")
    assert is_generated("a/Cargo.lock")
    assert not is_generated("src/map.py")
    assert is_example("docs_src/tutorial001.py")
    assert not is_example("src/sampling/a.py")
    assert is_documentation("docs/a.py")
    assert is_documentation("README.rst")
    assert not is_documentation("src/docs.py")
    assert is_binary("a/b.WOFF2")
