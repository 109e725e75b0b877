"""Walking a tree and reading its files: what comes back, what is left out and why."""

from __future__ import annotations

import encodings.aliases
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mose.files.disk
import mose.files.walking
from mose.errors import SourceError
from mose.files import REASONS, Skipped, SourceFile, WalkLimits, explain, read_source, walk
from mose.files.content import is_generated_text
from mose.files.disk import FolderReader, read_inside


def make(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def found(root: Path, limits: WalkLimits | None = None) -> list[str]:
    return [item.path for item in walk(root, limits) if isinstance(item, SourceFile)]


def skipped(root: Path, limits: WalkLimits | None = None) -> dict[str, str]:
    return {item.path: item.reason for item in walk(root, limits) if isinstance(item, Skipped)}


def read(root: Path, path: str, limits: WalkLimits | None = None) -> str | Skipped:
    file = SourceFile(path=path, size_bytes=1, modified_ns=0, language="python")
    return read_source(root, file, limits)


# Rules


def test_nested_rules_negation_and_directories(tmp_path):
    make(
        tmp_path,
        {
            ".gitignore": "*.log\nbuild/\n/top.py\n!keep.log\ndocs/**/draft.md\n",
            "a.log": "x",
            "keep.log": "x",
            "top.py": "x",
            "sub/top.py": "x",
            "build/made.py": "x",
            "sub/build": "a file, so build/ does not mean it",
            "docs/a/b/draft.md": "x",
            "docs/draft.md": "x",
            "sub/.gitignore": "!a.log\nsecret.py\n",
            "sub/a.log": "x",
            "sub/secret.py": "x",
            "secret.py": "x",
        },
    )
    assert found(tmp_path) == [
        ".gitignore", "keep.log", "secret.py", "sub/.gitignore", "sub/a.log", "sub/build", "sub/top.py",
    ]  # fmt: skip
    assert skipped(tmp_path) == dict.fromkeys(
        ["a.log", "build/", "docs/a/b/draft.md", "docs/draft.md", "sub/secret.py", "top.py"], "ignored"
    )


def test_file_below_an_ignored_directory_cannot_be_brought_back(tmp_path):
    make(tmp_path, {".gitignore": "out/\n!out/keep.py\n", "out/keep.py": "x"})
    assert found(tmp_path) == [".gitignore"]


def test_whitelist_style_rules(tmp_path):
    make(tmp_path, {".gitignore": "*\n!*/\n!*.py\n", "a.py": "x", "b.txt": "x", "d/c.py": "x", "d/e.txt": "x"})
    assert found(tmp_path) == ["a.py", "d/c.py"]


def test_contents_rule_leaves_the_directory_itself_open(tmp_path):
    make(tmp_path, {".gitignore": "x/**\n!x/keep.py\n", "x/keep.py": "x", "x/other.py": "x"})
    assert found(tmp_path) == [".gitignore", "x/keep.py"]


def test_info_exclude_counts_and_ranks_below_gitignore(tmp_path):
    make(
        tmp_path,
        {".git/info/exclude": "*.tmp.py\n", ".gitignore": "!b.tmp.py\n", "a.tmp.py": "x", "b.tmp.py": "x"},
    )
    assert found(tmp_path) == [".gitignore", "b.tmp.py"]


def test_moseignore_outranks_gitignore_both_ways(tmp_path):
    make(
        tmp_path,
        {
            ".moseignore": "!wanted.py\nunwanted.py\n!node_modules/\n!package-lock.json\n!.hidden/\n",
            ".gitignore": "wanted.py\n",
            "sub/.gitignore": "wanted.py\n",
            "wanted.py": "x",
            "sub/wanted.py": "x",
            "unwanted.py": "x",
            "node_modules/a.js": "x",
            "package-lock.json": "{}",
            ".hidden/a.py": "x",
        },
    )
    assert found(tmp_path) == [
        ".gitignore", ".hidden/a.py", ".moseignore", "node_modules/a.js", "package-lock.json", "sub/.gitignore",
        "sub/wanted.py", "wanted.py",
    ]  # fmt: skip


def test_gitignore_whitelist_does_not_bring_back_dependencies_or_caches(tmp_path):
    make(
        tmp_path,
        {".gitignore": "*\n!*/\n!*.js\n", "node_modules/a.js": "x", ".cache/b.js": "x", "c.js": "x"},
    )
    assert found(tmp_path) == ["c.js"]


def test_rules_of_the_repository_apply_in_its_parts(tmp_path):
    make(tmp_path, {".git/HEAD": "x", ".gitignore": "*.log\n/src/made.py\n"})
    make(tmp_path, {"src/a.log": "x", "src/made.py": "x", "src/b.py": "x"})
    assert found(tmp_path / "src") == ["b.py"]


def test_rules_that_ignore_the_root_itself_are_not_used(tmp_path):
    make(tmp_path, {".git/HEAD": "x", ".gitignore": "venv/\n*.log\n", "venv/.gitignore": "*\n"})
    make(tmp_path, {"venv/lib/site-packages/requests/api.py": "x"})
    assert found(tmp_path / "venv/lib/site-packages/requests") == ["api.py"]


# What is always left out


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".git/config.py", "version control or cache"),
        (".hg/a.py", "version control or cache"),
        ("__pycache__/a.py", "version control or cache"),
        ("node_modules/a.js", "vendored"),
        (".hidden/a.py", "hidden"),
        (".mypy_cache/a.json", "hidden"),
        ("x-1.0.dist-info/METADATA", "generated"),
    ],
)
def test_folders_left_out_by_name(tmp_path, path, reason):
    make(tmp_path, {path: "x", "kept.py": "x"})
    assert found(tmp_path) == ["kept.py"]
    assert skipped(tmp_path) == {path.split("/")[0] + "/": reason}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("env/pyvenv.cfg", "version control or cache"),
        ("target/CACHEDIR.TAG", "version control or cache"),
        ("vendor/modules.txt", "vendored"),
        ("vendor/autoload.php", "vendored"),
    ],
)
def test_folders_left_out_by_a_mark_inside(tmp_path, path, reason):
    folder = path.split("/")[0]
    make(tmp_path, {path: "x", f"{folder}/a.py": "x"})
    assert skipped(tmp_path) == {f"{folder}/": reason}


def test_vendored_python_and_plain_vendor_folders_are_walked(tmp_path):
    make(tmp_path, {"pip/_vendor/idna.py": "x", "vendor/own.py": "x", "third_party/b.c": "x"})
    assert found(tmp_path) == ["pip/_vendor/idna.py", "third_party/b.c", "vendor/own.py"]


@pytest.mark.parametrize("folder", ["node_modules/left-pad", ".venv/lib/site-packages/requests", ".hidden", "env"])
def test_named_root_is_walked_whatever_its_location(tmp_path, folder):
    make(tmp_path, {f"{folder}/a.py": "x", ".venv/pyvenv.cfg": "x", "env/pyvenv.cfg": "x"})
    assert "a.py" in found(tmp_path / folder)


def test_workflows_are_walked_and_secrets_are_not(tmp_path):
    make(tmp_path, {".github/workflows/ci.yml": "x", ".env": "KEY=1", ".env.local": "KEY=1", ".bashrc": "x"})
    assert found(tmp_path) == [".bashrc", ".github/workflows/ci.yml"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("logo.png", "binary"),
        ("yarn.lock", "generated"),
        ("a_pb2.py", "generated"),
        ("jquery.min.js", "generated"),
        ("app.js.map", "generated"),
        ("rows.csv", "data"),
    ],
)
def test_files_left_out_by_name(tmp_path, path, reason):
    make(tmp_path, {path: "x"})
    assert skipped(tmp_path) == {path: reason}


def test_empty_and_oversized_files_are_counted(tmp_path):
    make(tmp_path, {"empty.py": "", "large.py": "x" * 101, "fits.py": "x" * 100})
    limits = WalkLimits(max_file_bytes=100)
    assert found(tmp_path, limits) == ["fits.py"]
    assert skipped(tmp_path, limits) == {"empty.py": "empty", "large.py": "oversized"}


# Links, special files, odd names


def test_links_are_reported_and_never_followed(tmp_path):
    make(tmp_path, {"tree/a.py": "x", "tree/sub/b.py": "x", "outside/secret.py": "x"})
    root = tmp_path / "tree"
    (root / "file").symlink_to(root / "a.py")
    (root / "up").symlink_to(root)
    (root / "sub" / "loop").symlink_to("../sub")
    (root / "self").symlink_to("self")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out.py").symlink_to(tmp_path / "outside" / "secret.py")
    (root / "gone").symlink_to("nowhere")
    assert found(root) == ["a.py", "sub/b.py"]
    assert skipped(root) == {
        "file": "link to a file of the tree",
        "up": "link loop",
        "sub/loop": "link loop",
        "self": "link loop",
        "out": "link outside the tree",
        "out.py": "link outside the tree",
        "gone": "broken link",
    }


def test_root_may_be_a_link(tmp_path):
    make(tmp_path, {"tree/a.py": "x = 1\n"})
    (tmp_path / "link").symlink_to("tree")
    assert found(tmp_path / "link") == ["a.py"]
    assert read(tmp_path / "link", "a.py") == "x = 1\n"


def test_rules_that_take_too_long_all_in_all_are_an_error(tmp_path, monkeypatch):
    rules = "".join(f"**/x{number}/**/y\n" for number in range(3_000))
    make(tmp_path, {".gitignore": rules, "/".join(["deep"] * 200) + "/a.py": "x"})
    monkeypatch.setattr(mose.files.walking, "_RULES_S", 0.05)
    with pytest.raises(SourceError, match="wildcards"):
        found(tmp_path)


def test_ignore_file_that_is_a_link_is_not_read(tmp_path):
    make(tmp_path, {"rules": "*.py\n", "tree/a.py": "x"})
    (tmp_path / "tree" / ".gitignore").symlink_to(tmp_path / "rules")
    assert found(tmp_path / "tree") == ["a.py"]


def test_file_that_became_a_link_or_a_pipe_after_the_walk_is_not_read(tmp_path):
    make(tmp_path, {"tree/a.py": "x", "tree/sub/b.py": "x", "secret/b.py": "secret"})
    root = tmp_path / "tree"
    files = [item for item in walk(root) if isinstance(item, SourceFile)]
    (root / "a.py").unlink()
    os.mkfifo(root / "a.py")
    shutil.rmtree(root / "sub")
    (root / "sub").symlink_to(tmp_path / "secret")
    assert [read_source(root, file) for file in files] == [
        Skipped(path="a.py", reason="unreadable"),
        Skipped(path="sub/b.py", reason="link outside the tree"),
    ]


def test_link_that_replaces_a_folder_at_any_moment_is_not_followed(tmp_path):
    make(tmp_path, {"tree/a/b/c.py": "mine", "secret/b/c.py": "secret", "secret/c.py": "secret"})
    top = tmp_path / "tree"
    assert read_inside(str(top), "a/b/c.py", 100) == b"mine"
    for folder, target in (("a/b", "secret"), ("a", "secret")):
        shutil.rmtree(top / folder)
        (top / folder).symlink_to(tmp_path / target)
        with pytest.raises(OSError, match=r"c\.py|'a'|'b'"):
            read_inside(str(top), "a/b/c.py", 100)


def test_a_reader_of_many_files_reads_what_one_of_each_reads(tmp_path):
    make(tmp_path, {"tree/a/b/c.py": "1", "tree/a/b/d.py": "2" * 200_000, "tree/a/e.py": "3", "tree/f.py": "4"})
    make(tmp_path, {"secret/c.py": "secret", "secret/new.py": "secret"})
    top = str(tmp_path / "tree")
    names = ["a/b/c.py", "a/b/d.py", "f.py", "a/e.py", "a/b/c.py", "a/b/c.py"]
    with FolderReader(top) as reader:
        assert [reader.read(name, 150_000) for name in names] == [read_inside(top, name, 150_000) for name in names]
        for name in ("a/x.py", "x/y.py", "../secret/c.py"):
            with pytest.raises(OSError, match=r"py|x|folder"):
                reader.read(name, 10)
        assert reader.read("a/b/c.py", 10) == b"1"
        shutil.rmtree(tmp_path / "tree" / "a" / "b")
        (tmp_path / "tree" / "a" / "b").symlink_to(tmp_path / "secret")
        with pytest.raises(OSError, match=r"new"):
            reader.read("a/b/new.py", 10)
        assert reader.read("f.py", 10) == b"4"
        with pytest.raises(OSError, match="b"):
            reader.read("a/b/new.py", 10)


@pytest.mark.parametrize("name", ["../secret.py", "a/../../secret.py", "a/b/../../../secret.py", "..", "/etc/passwd"])
def test_path_that_leaves_the_tree_is_not_read(tmp_path, name):
    make(tmp_path, {"tree/a/b/c.py": "x", "secret.py": "secret"})
    assert isinstance(read(tmp_path / "tree", name), Skipped)
    (tmp_path / "link").symlink_to(tmp_path / "tree")
    assert read(tmp_path / "link", "a/b/c.py") == "x"


def test_pipes_and_sockets_are_reported(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # a socket's path may not be long
    try:
        listener.bind("socket.py")
    finally:
        os.chdir(here)
        listener.close()
    assert skipped(tmp_path) == dict.fromkeys(["pipe.py", "socket.py"], "not a regular file")


def test_odd_names_are_reported_and_printable(tmp_path):
    for name in (b"line\nbreak.py", b"bytes\xff.py", b"tab\t.py"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"x")
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"folder\xfe"))
    make(tmp_path, {"na\u00efve \u4e2d.py": "x", "-rf.py": "x"})
    assert found(tmp_path) == ["-rf.py", "na\u00efve \u4e2d.py"]
    reported = skipped(tmp_path)
    assert set(reported.values()) == {"odd name"}
    assert set(reported) == {"line\\nbreak.py", "bytes\\udcff.py", "tab\\t.py", "folder\\udcfe"}
    for path in reported:
        path.encode("utf-8")


def test_deep_tree(tmp_path):
    deep = "/".join(["d"] * 300)
    make(tmp_path, {f"{deep}/a.py": "x"})
    assert found(tmp_path) == [f"{deep}/a.py"]


@pytest.mark.skipif(os.name != "posix", reason="there, a folder of such a depth cannot be made")
def test_tree_deeper_than_the_system_can_name_is_reported_and_the_rest_is_read(tmp_path):
    make(tmp_path, {"a.py": "x", "z.py": "x"})
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(5_000):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(tmp_path)
        assert found(tmp_path) == ["a.py", "z.py"]
        ((deepest, reason),) = skipped(tmp_path).items()
        assert (deepest.rstrip("d/"), reason) == ("", "path too long")
        assert explain(tmp_path, "d/" * 5_000 + "a.py").reason == "path too long"
    finally:
        for _ in range(5_000):
            if os.path.isdir("d"):
                os.chdir("d")
        while not os.path.samefile(".", tmp_path):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


def test_folder_of_very_many_entries_is_walked(tmp_path):
    make(tmp_path, {"a.py": "x", "z.py": "x"})
    for number in range(20_000):
        os.close(os.open(tmp_path / f"image{number}.png", os.O_CREAT | os.O_WRONLY))
    assert found(tmp_path) == ["a.py", "z.py"]
    assert len(skipped(tmp_path)) == 20_000


def test_what_cannot_be_listed_or_opened_is_reported(tmp_path, monkeypatch):
    make(tmp_path, {"closed/a.py": "x", "open/b.py": "x"})
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(mose.files.disk.os, "scandir", refuse)
    assert found(tmp_path) == ["open/b.py"]
    assert skipped(tmp_path) == {"closed/": "unreadable"}
    monkeypatch.undo()

    def refuse_to_open(path, *arguments):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(mose.files.disk.os, "open", refuse_to_open)
    assert read(tmp_path, "open/b.py") == Skipped(path="open/b.py", reason="unreadable")


def test_file_gone_before_it_is_read_is_reported(tmp_path):
    assert read(tmp_path, "gone.py") == Skipped(path="gone.py", reason="unreadable")


def test_bad_roots_are_errors_at_once(tmp_path):
    make(tmp_path, {"a.py": "x"})
    with pytest.raises(SourceError, match="does not exist"):
        walk(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="not a folder"):
        walk(tmp_path / "a.py")


def test_limits_are_checked():
    with pytest.raises(SourceError, match="max_file_bytes"):
        WalkLimits(max_file_bytes=0)


def test_order_is_that_of_the_paths(tmp_path):
    make(tmp_path, dict.fromkeys(["b.py", "a/z.py", "a-b/c.py", "a.py", "a/b/c.py", "B.py"], "x"))
    paths = found(tmp_path)
    assert paths == sorted(paths)
    assert len(paths) == 6


def test_walk_stays_fast(tmp_path):
    """A guard against a regression by an order of magnitude; benchmarks measure the figure."""
    for folder in range(40):
        make(tmp_path, {f"d{folder}/f{number}.py": "x" for number in range(50)})
    make(
        tmp_path,
        {".gitignore": "\n".join(f"name{number}*\n/dir{number}/**/x\n*.ext{number}" for number in range(30))},
    )
    start = time.process_time()
    assert len(found(tmp_path)) == 2001
    assert time.process_time() - start < 1.0


# Content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("é\n".encode(), "é\n"),
        (b"\xef\xbb\xbfx\n", "x\n"),
        ("é\n".encode("utf-16"), "é\n"),
        (b"\xfe\xff" + "é\n".encode("utf-16-be"), "é\n"),
        ("é\n".encode("utf-32"), "é\n"),
        (b"caf\xe9 = 1\n", "café = 1\n"),
        ("# coding: gbk\nx = '中'\n".encode("gbk"), "# coding: gbk\nx = '中'\n"),
        (b"# coding: nonsense\nx = '\xe9'\n", "# coding: nonsense\nx = 'é'\n"),
        (b"# coding: hex\nx = '\xe9'\n", "# coding: hex\nx = 'é'\n"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"a\rb\r", "a\nb\n"),
        (b"\xff\xfex", "\ufffd"),
    ],
)
def test_encodings_and_line_ends(tmp_path, content, text):
    make(tmp_path, {"a.py": content})
    assert read(tmp_path, "a.py") == text


ENCODINGS = sorted({*encodings.aliases.aliases.values(), *encodings.aliases.aliases, "undefined", "idna", "punycode"})


@pytest.mark.parametrize("encoding", [*ENCODINGS, "unicode_escape", "raw_unicode_escape", "unicode-escape", "charmap"])
@pytest.mark.parametrize(
    "rest", [rb"x = '\ud800 \N{DIGIT ONE}'", rb"+2AA- ~{ \x1b$B", bytes(range(9, 256)), b"xn--a-\xe9."]
)
def test_any_encoding_that_a_file_names_gives_valid_text(tmp_path, encoding, rest):
    make(tmp_path, {"a.py": b"# coding: " + encoding.encode() + b"\nname = 1\n" + rest + b"\n\xe9\n"})
    text = read(tmp_path, "a.py")
    if text == Skipped(path="a.py", reason="binary"):
        return
    assert isinstance(text, str)
    assert "\nname = 1\n" in text
    text.encode()


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a.py", b"\x7fELF\x00\x01", "binary"),
        ("a.py", bytes(range(1, 32)) * 20 + b"\xff", "binary"),
        ("a.py", b" \n\t\n", "empty"),
        ("a.js", "x" * 1_000_000, "minified"),
        ("a.js", ("var a=1;" * 400 + "\n") * 3, "minified"),
        ("a.py", "x" * 1_000_001, "oversized"),
    ],
)
def test_files_left_out_by_content(tmp_path, path, content, reason):
    make(tmp_path, {path: content})
    assert read(tmp_path, path) == Skipped(path=path, reason=reason)


GENERATED = [
    "# Generated by the protocol buffer compiler.  DO NOT EDIT!\nx = 1\n",
    "// Code generated by mockgen. DO NOT EDIT.\npackage x\n",
    "// @generated\nfn x() {}\n",
    "/**\n * Copyright\n *\n * @generated SignedSource<<abc>>\n */\n",
    "//----\n// <auto-generated>\n//  This code was generated by a tool.\n",
    "# This file is auto-generated from the current state of the database. Instead\n# of editing it, migrate.\n",
    "/* -----\n * This file was automatically generated by SWIG (swig.org).\n * Do not make changes to it.\n */\n",
    "#ifndef X\n// DO NOT EDIT. This file is generated by make.\n",
    "<?php\n// This file is generated by Composer. Do not edit.\n",
    "# AUTOGENERATED FILE. DO NOT EDIT.\n",
    "// Autogenerated by Thrift Compiler (0.9)\n//\n// DO NOT EDIT UNLESS YOU ARE SURE\n",
    '"""Generated code. Do not modify."""\n',
]
WRITTEN_BY_HAND = [
    'def f():\n    """Writes "@generated" and "DO NOT EDIT" into files that are generated."""\n',
    '"""Writes enums.py."""\nimport sys\nHEAD = """\n# This file is generated by make. Do not edit it.\n"""\n',
    "package main\n\nconst head = `\n// Code generated by gen.go. DO NOT EDIT.\n`\n",
    "// Auto-generated types come from schema.ts, this file is written by hand.\n",
    "// This file was generated by the project wizard; change it as you like.\n",
    "# This file is generated once by `new` and then belongs to you.\n",
    "# Do not edit the files in out/: they are generated by this script.\n",
    "// @generated files are skipped by this linter\n",
    "# Code generated by gen.py lives in out/\n",
    "x = 1\n# Code generated by a tool. DO NOT EDIT.\n",
]


@pytest.mark.parametrize("text", GENERATED)
def test_generated_mark_at_the_head_is_detected_and_the_file_is_read(tmp_path, text):
    assert is_generated_text(text)
    make(tmp_path, {"a.py": text})
    assert read(tmp_path, "a.py") == text


@pytest.mark.parametrize("text", WRITTEN_BY_HAND)
def test_source_that_mentions_generated_files_is_not_generated(text):
    assert not is_generated_text(text)


def test_one_long_line_among_many_does_not_hide_a_file(tmp_path):
    text = "DATA = '" + "x" * 3000 + "'\n" + "value = 1\n" * 400
    make(tmp_path, {"a.py": text})
    assert read(tmp_path, "a.py") == text


def test_prose_may_have_long_lines(tmp_path):
    make(tmp_path, {"a.md": "word " * 1000, "a.js": "word " * 1000})
    assert isinstance(read(tmp_path, "a.md"), str)
    assert isinstance(read(tmp_path, "a.js"), Skipped)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_can_be_read(tmp_path, content):
    make(tmp_path, {"a.py": content})
    result = read(tmp_path, "a.py")
    assert isinstance(result, str) or result.reason in REASONS


# Against git

_NAMES = st.sampled_from(["a", "b", "ab", "foo", "foo.py", "x.log", "build", "a b", "[x]", "é"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_PIECES = st.sampled_from(
    [
        "a",
        "b",
        "foo",
        "*",
        "**",
        "?",
        "*.py",
        "x.*",
        "build",
        "[a-b]",
        "[!a]",
        "a*",
        "*o*",
        "f?o",
        "[[]x]",
        "é",
        "a\\ b",
    ]
)
_RULES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(_PIECES, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/", " "]),
) | st.sampled_from(
    ["", "#a", "\\#a", "[", "a[", "[]", "a\\", "/", "**/", "!", "\\!a", "[a-", "*/", "a/**/b", "[[:alpha:]]"]
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(max_examples=60, deadline=None)
@example(paths=["é"], rules={"": ["a", "?"]})
@example(paths=["é"], rules={"": ["??"]})
@given(
    paths=st.lists(_PATHS, min_size=1, max_size=10),
    rules=st.dictionaries(st.sampled_from(["", "a/", "foo/", "a/b/"]), st.lists(_RULES, max_size=5), max_size=3),
)
def test_ignored_as_by_git(tmp_path_factory, paths, rules):
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        try:
            make(root, {path: "x"})
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    for folder, lines in rules.items():
        if (root / folder).is_dir():
            make(root, {f"{folder}.gitignore": "\n".join(lines) + "\n"})
    environment = {"PATH": os.environ["PATH"], "HOME": str(root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q"], cwd=root, env=environment, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
    ).stdout
    assert sorted(found(root)) == sorted(path for path in listed.decode().split("\0") if path)
    shutil.rmtree(root)


def test_row_of_stars_does_not_hang(tmp_path):
    make(
        tmp_path,
        {".gitignore": "*a" * 40 + "b\n" + "**/*a" * 12 + "b\n", "a" * 200: "x", "d/" + "a" * 200: "x"},
    )
    start = time.process_time()
    assert len(found(tmp_path)) == 3
    assert time.process_time() - start < 1.0
