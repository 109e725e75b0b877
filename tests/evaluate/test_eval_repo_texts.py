"""Where the queries of ``mose eval-repo`` come from: comments, commits and test names, by language."""

from collections import Counter

import pytest

from mose.evaluate.repository.documented import documented
from mose.evaluate.repository.history import Commit, from_history
from mose.evaluate.repository.tested import Definitions, from_tests, read_tests
from mose.syntax import definitions, has_grammar
from mose.syntax.documentation import parse_file
from mose.syntax.prose import description, fault, first_sentence, without_name


@pytest.mark.parametrize(
    ("comment", "name", "text"),
    [
        ('"""Open a proxy."""', "f", "Open a proxy"),
        ('r"""Open a proxy.\n\n    Slowly.\n    """', "f", "Open a proxy"),
        ('"""\n    Open a proxy, e.g. Squid. Then close it.\n    """', "f", "Open a proxy, e.g. Squid"),
        ("# Open a proxy\n# over there.", "f", "Open a proxy over there"),
        ("/**\n * Opens a <b>proxy</b> for {@code url}.\n * @param url where to\n */", "f", "Opens a proxy for url"),
        ("/** Opens a proxy. */", "f", "Opens a proxy"),
        ("/*!\n * \\brief Opens a proxy.\n */", "f", "Opens a proxy"),
        ("/// <summary>\n/// Opens a proxy.\n/// </summary>", "f", "Opens a proxy"),
        ("/// Opens a [`Proxy`] with **care**.", "f", "Opens a Proxy with care"),
        ("//! Opens a proxy.", "f", "Opens a proxy"),
        ("// Open opens a proxy.", "Open", "opens a proxy"),
        ("// Open a proxy.", "open", "Open a proxy"),
        ("-- | Opens a proxy.", "f", "Opens a proxy"),
        ("{- | Opens a proxy. -}", "f", "Opens a proxy"),
        ('@doc """\nOpens a proxy.\n"""', "f", "Opens a proxy"),
        ("# ---------\n# Open a proxy\n# ---------", "f", "Open a proxy"),
        ("# @param url where to", "f", ""),
        ('"""Uses :func:`~a.b.take` and `[text](http://x)`."""', "f", "Uses take and text"),
        ('"""\n    :param url: where to\n    """', "f", ""),
        ('"""Open :ref:`the proxy <proxy>`."""', "f", "Open the proxy"),
        ("// Takes a URI. Gives a page.", "f", "Takes a URI"),
        ("// Written by A. Turing and others", "f", "Written by A. Turing and others"),
        ("/** */", "f", ""),
    ],
)
def test_query_of_a_comment(comment, name, text):
    assert without_name(first_sentence(description(comment.split("\n"))), name) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Open a proxy", ""),
        ("Open it", "too short"),
        ("TODO: open a proxy some day", "note to developers"),
        ("Copyright 2020 The Authors of it", "licence or credit"),
        ("return f(x, y);", "reads like code"),
        ("see http://example.org for more", "link in text"),
        ("1 2 3 4 5 6 7 8 9", "too short"),
        ("Deprecated: use the other one", "says nothing by itself"),
        ("word " * 61, "too long"),
    ],
)
def test_why_a_text_is_not_asked(text, reason):
    assert fault(text.strip()) == reason


SOURCES = {
    "python": 'class A:\n    @wraps(f)\n    def b(self):\n        """Open a proxy."""\n        return 1\n',
    "javascript": "/**\n * Open a proxy.\n * @param {string} url\n */\nexport function b(url) {\n  return url;\n}\n",
    "typescript": "// Open a proxy.\nexport function b(url: string): string {\n  return url;\n}\n",
    "java": "class A {\n  /** Open a proxy. */\n  @Override\n  public int b() {\n    return 1;\n  }\n}\n",
    "go": "package a\n\n// b open a proxy.\nfunc b() int {\n\treturn 1\n}\n",
    "rust": "/// Open a proxy.\n#[inline]\npub fn b() -> i32 {\n    1\n}\n",
    "ruby": "# Open a proxy.\ndef b\n  1\nend\n",
    "php": "<?php\n/**\n * Open a proxy.\n */\nfunction b() {\n  return 1;\n}\n",
    "c": "/* Open a proxy. */\nint b(void)\n{\n  return 1;\n}\n",
    "cpp": "// Open a proxy.\nint b()\n{\n  return 1;\n}\n",
    "csharp": "class A {\n  /// <summary>Open a proxy.</summary>\n  [Fact]\n  int B() {\n    return 1;\n  }\n}\n",
    "kotlin": "/** Open a proxy. */\nfun b(): Int {\n    return 1\n}\n",
    "scala": "object A {\n  /** Open a proxy. */\n  def b(): Int = {\n    1\n  }\n}\n",
    "swift": "/// Open a proxy.\nfunc b() -> Int {\n    return 1\n}\n",
    "lua": "-- Open a proxy.\nfunction b()\n  return 1\nend\n",
    "bash": "# Open a proxy.\nb() {\n  echo 1\n}\n",
    "haskell": "module A where\n\n-- | Open a proxy.\nb :: Int -> Int\nb x =\n  x + 1\n",
    "elixir": 'defmodule A do\n  @doc """\n  Open a proxy.\n  """\n  def b(x) do\n    x\n  end\nend\n',
    "zig": "/// Open a proxy.\nfn b() i32 {\n    return 1;\n}\n",
}


@pytest.mark.parametrize("language", SOURCES)
def test_documentation_of_a_function_in_each_language(language):
    assert has_grammar(language)
    source, dropped = SOURCES[language], Counter()
    (query,) = documented(parse_file(source, language, "a.x"), dropped)
    assert query.text in ("Open a proxy", "open a proxy")
    assert not dropped
    lines = source.split("\n")
    blanked = [line for at, line in enumerate(lines, 1) if at in query.blanked]
    assert any("pen a proxy" in line for line in blanked)
    assert not any(word in line for line in blanked for word in ("b(", "wraps", "Override", "inline", "Fact"))
    left = "\n".join("" if at in query.blanked else line for at, line in enumerate(lines, 1))
    assert "pen a proxy" not in left
    (target,) = query.targets
    again = [found for found in definitions(left, language) if found.name.lower() == "b"]
    assert (target.start_line, target.end_line) == (again[0].line, again[0].last_line)


@pytest.mark.parametrize(
    ("language", "source", "reason"),
    [
        ("python", 'def b():\n    """Open a proxy."""\n', "no body"),
        ("python", 'def b():\n    """Open a proxy."""\n    raise NotImplementedError\n', "no body"),
        ("python", 'def b():\n    """Open it."""\n    return 1\n', "too short"),
        ("c", "/* Open a proxy. */\nint b(void) {\n}\n", "no body"),
        ("python", "# noqa: E501 because of this\ndef b():\n    return 1\n", "note to developers"),
    ],
)
def test_documentation_that_is_not_asked(language, source, reason):
    dropped = Counter()
    assert not list(documented(parse_file(source, language, "a.x"), dropped))
    assert dropped == {reason: 1}


def test_comments_that_are_not_documentation_are_not_counted():
    dropped = Counter()
    source = 'def a():\n    return """Open a proxy."""\n\n\ndef b(): """Open a proxy."""; return 1\n\n\n# Far above.\n\ndef c():\n    x = 1\n    "Not the first."\n'
    assert not list(documented(parse_file(source, "python", "a.py"), dropped))
    assert not dropped


@pytest.mark.parametrize(
    ("subject", "paths", "reason"),
    [
        ("Open a proxy", ("a.py",), ""),
        ("fix(net): open a proxy (#12)", ("a.py", "tests/test_a.py", "CHANGES.md", "pyproject.toml"), ""),
        ("[net] NET-12: Open a proxy. Fixes #12", ("a.py",), ""),
        ("Open a proxy", ("a.py", "gone.py"), ""),
        ("Release the lock of a writer that died", ("a.py",), ""),
        ("Formatting of dates follows the locale", ("a.py",), ""),
        ('Revert "Open a proxy"', ("a.py",), "reverts and reverted"),
        ("Merge branch 'x' into y", ("a.py",), "merges and unfinished work"),
        ("fixup! Open a proxy", ("a.py",), "merges and unfinished work"),
        ("Bump urllib3 from 1.26 to 2.0", ("a.py",), "versions and dependencies"),
        ("chore: bump version to 3", ("a.py",), "versions and dependencies"),
        ("1.2.3 is out now", ("a.py",), "versions and dependencies"),
        ("Fix typo in the docs", ("a.py",), "tidying"),
        ("Reformat with black", ("a.py",), "tidying"),
        ("Open a proxy", tuple(f"{name}.py" for name in "abcdef"), "more than 5 files"),
        ("Open a proxy", ("tests/test_a.py", "README.md"), "no source file"),
        ("Open a proxy", ("gone.py",), "files no longer there"),
        ("Open it (#12)", ("a.py",), "too short"),
    ],
)
def test_commits(subject, paths, reason):
    dropped = Counter()
    queries = list(from_history([Commit(subject=subject, paths=paths)], {f"{name}.py" for name in "abcdef"}, dropped))
    if reason:
        assert (queries, dropped) == ([], {reason: 1})
    else:
        assert [target.path for target in queries[0].targets] == ["a.py"]
        assert not any(sign in queries[0].text for sign in "#[]()")


def test_a_commit_that_was_reverted_is_left_out():
    commits = [
        Commit(subject='Revert "Open a proxy"', paths=("a.py",)),
        Commit(subject="Open a proxy", paths=("a.py",)),
    ]
    dropped = Counter()
    assert not list(from_history(commits, {"a.py"}, dropped))
    assert dropped == {"reverts and reverted": 2}


CODE = {
    "src/pool.py": (
        "python",
        "class ProxyPool:\n    def acquire(self, host):\n        return 1\n\n\ndef open_pool(url):\n    return 1\n",
    ),
    "src/dates.py": ("python", "def parse_iso_date(text):\n    return 1\n\n\ndef read(text):\n    return 1\n"),
    "src/other.py": ("python", "class Cache:\n    def acquire(self, key):\n        return 1\n"),
}


@pytest.mark.parametrize(
    ("path", "language", "source", "text", "target"),
    [
        (
            "tests/test_dates.py",
            "python",
            "def test_parse_iso_date_with_zone():\n    assert parse_iso_date('x')\n",
            "parse iso date with zone",
            "src/dates.py:1",
        ),
        (
            "tests/test_pool.py",
            "python",
            "class TestProxyPool:\n    def test_acquire_twice(self):\n        ProxyPool().acquire(1)\n",
            "proxy pool acquire twice",
            "src/pool.py:2",
        ),
        (
            "tests/test_dates.py",
            "python",
            "def test_read_of_nothing():\n    assert read('') == 1\n",
            "read of nothing",
            "src/dates.py:5",
        ),
        (
            "a_test.go",
            "go",
            "package a\n\nfunc TestOpenPool_Closed(t *testing.T) {\n\topen_pool(1)\n}\n",
            "open pool closed",
            "src/pool.py:6",
        ),
        (
            "src/test/DatesTest.java",
            "java",
            "class DatesTest {\n  @Test\n  void parseIsoDateOfNothing() {\n    parse_iso_date(1);\n  }\n}\n",
            "dates parse iso date of nothing",
            "src/dates.py:1",
        ),
        (
            "pool.test.js",
            "javascript",
            "describe('ProxyPool', () => {\n  it('should acquire a connection', () => {\n    new ProxyPool().acquire(1);\n  });\n});\n",
            "proxy pool should acquire a connection",
            "src/pool.py:2",
        ),
        (
            "spec/pool_spec.rb",
            "ruby",
            "RSpec.describe ProxyPool do\n  it 'can acquire a connection' do\n    pool.acquire 1\n  end\nend\n",
            "proxy pool can acquire a connection",
            "src/pool.py:2",
        ),
        (
            "tests/a.rs",
            "rust",
            "#[test]\nfn parse_iso_date_of_nothing() {\n    parse_iso_date(1);\n}\n",
            "parse iso date of nothing",
            "src/dates.py:1",
        ),
    ],
)
def test_tests_and_what_they_test(path, language, source, text, target):
    dropped = Counter()
    (query,) = from_tests(list(read_tests(parse_file(source, language, path))), known(), dropped)
    assert (query.text, query.left_out) == (text, path)
    assert f"{query.targets[0].path}:{query.targets[0].start_line}" == target
    assert not dropped


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def test_parse_iso_date_with_zone():\n    assert 1\n", "calls nothing that it names"),
        (
            "def test_parse_iso_date_here():\n    assert parse_iso_date(1)\n\n\ndef parse_iso_date(x):\n    return x\n",
            "calls nothing that it names",
        ),
        ("def test_of_quite_another_thing():\n    assert parse_iso_date(1)\n", "names no definition"),
        ("def test_acquire_in_a_loop():\n    x.acquire(1)\n", "several definitions fit"),
        ("def test_acquire():\n    x.acquire(1)\n", "too short"),
    ],
)
def test_tests_that_leave_a_doubt(source, reason):
    dropped = Counter()
    tests = list(read_tests(parse_file(source, "python", "tests/test_all.py")))
    assert not list(from_tests(tests, known(), dropped))
    assert dropped == {reason: 1}


def known():
    found = Definitions()
    for path, (language, source) in CODE.items():
        found.add(path, definitions(source, language))
    return found
