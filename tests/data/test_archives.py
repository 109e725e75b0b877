"""Untrusted archives: files stay in the folder, within the limits, and match the manifest."""

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from mose.data.mine import archives, fetch
from mose.data.mine.manifest import Package
from mose.errors import ConfigError, SourceError

ODD = [
    "../out.js",
    "/out.js",
    "a/../../out.js",
    "-rf",
    "a/--help.js",
    "a\nb.js",
    "esc\x1b[2J.js",
    "\u202egpj.js",
    "a\\b.js",
    "C:x.js",
]


def package(**changes):
    values = {"name": "left-pad", "registry": "npm", "license": "MIT", "languages": ("javascript",), "version": "1.3.0"}
    return Package(**{**values, **changes})


def tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [tar, make_zip])
def test_odd_names_are_left_out(make, tmp_path):
    archive = make(tmp_path / "archive", [("package/in.js", b"x;"), *((name, b"out") for name in ODD)])
    archives.unpack(archive, tmp_path / "files", remedy="Try again.")
    assert files_below(tmp_path) == ["archive", "files/package/in.js"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_only_regular_files_are_unpacked_and_never_through_a_link(kind, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("package/file.js")
        link.type, link.linkname = kind, str(tmp_path / "precious")
        archive.addfile(link)
        member = tarfile.TarInfo("package/file.js")
        member.size, member.mode = 2, 0o6777
        archive.addfile(member, io.BytesIO(b"x;"))
    archives.unpack(tmp_path / "a.tgz", tmp_path / "files", remedy="Try again.")
    assert (tmp_path / "precious").read_text() == "mine"
    written = tmp_path / "files" / "package" / "file.js"
    assert stat.S_ISREG(written.lstat().st_mode)
    assert written.stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize("make", [tar, make_zip])
def test_name_of_a_file_and_a_folder_is_only_one_of_them(make, tmp_path):
    archives.unpack(
        make(tmp_path / "x", [("a", b"1"), ("a/b", b"2"), ("c/d", b"3"), ("c", b"4")]),
        tmp_path / "files",
        remedy="Try again.",
    )
    assert files_below(tmp_path / "files") == ["a", "c/d"]


@pytest.mark.parametrize("make", [tar, make_zip])
def test_archive_of_too_many_or_too_large_files_is_refused(make, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 20)
    monkeypatch.setattr(archives, "MAX_BYTES", 1_000_000)
    many = make(tmp_path / "many", [(f"{number}.js", b"") for number in range(21)])
    with pytest.raises(SourceError, match=r"files in the archive many: got 21, allowed: at most 20"):
        archives.unpack(many, tmp_path / "files", remedy="Try again.")
    large = make(tmp_path / "large", [(f"{number}.js", bytes(200_000)) for number in range(6)])
    assert large.stat().st_size < 10_000
    with pytest.raises(SourceError, match="bytes in the archive large"):
        archives.unpack(large, tmp_path / "more", remedy="Try again.")


def test_bomb_in_a_header_is_refused_before_it_is_in_memory(tmp_path):
    header = tarfile.TarInfo("bomb")
    header.type, header.size = tarfile.XHDTYPE, 7_000_000_000
    import gzip

    with gzip.open(tmp_path / "a.tgz", "wb") as file:
        file.write(header.tobuf() + bytes(10_000))
    with pytest.raises(SourceError, match="bytes in one header"):
        archives.unpack(tmp_path / "a.tgz", tmp_path / "files", remedy="Try again.")


def test_damaged_archives_are_errors(tmp_path):
    good = tar(tmp_path / "good.tgz", [(f"{number}.js", os.urandom(2_000)) for number in range(5)]).read_bytes()
    wheel = make_zip(tmp_path / "good.whl", [("a.py", b"x = 1\n" * 100)]).read_bytes()
    sizes = tarfile.TarInfo("a").tobuf()
    negative = sizes[:124] + b"\xff" + struct.pack(">q", -5).rjust(11, b"\xff") + sizes[136:]
    for number, content in enumerate(
        [
            b"",
            b"x",
            good[:-500],
            good[:40],
            good[:100] + bytes(200) + good[300:],
            wheel[:-30],
            negative,
            b"\xfd7zXZ\0" + b"x" * 99,
        ]
    ):
        path = tmp_path / f"{number}.tgz"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="is damaged"):
            archives.unpack(path, tmp_path / "files", remedy="Try again.")
    for start in range(0, len(wheel), 7):
        path = tmp_path / "flipped.whl"
        path.write_bytes(wheel[:start] + bytes([wheel[start] ^ 0xFF]) + wheel[start + 1 :])
        try:
            archives.unpack(path, tmp_path / "files", remedy="Try again.")
        except SourceError as error:
            assert error.remedy


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A fake npm that packs one file."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    tar(tmp_path / "left-pad-1.3.0.tgz", [("package/index.js", b"module.exports = 1\n")])
    program.write_text(f'#!/bin/sh\ncp "{tmp_path}"/left-pad-1.3.0.tgz "$4"\npwd > "{tmp_path}/stood"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return tmp_path / "left-pad-1.3.0.tgz"


def test_hashes_are_kept_and_compared(registry, tmp_path):
    right = archives.hash_of(registry)
    fetch.fetch(package(), tmp_path / "sources")
    assert fetch.fetched_hashes(package(), tmp_path / "sources") == {registry.name: right}
    fetch.fetch(package(sha256=(right,)), tmp_path / "sources")
    with pytest.raises(SourceError, match=f"sha256 of npm:left-pad 1.3.0: .*{right}"):
        fetch.fetch(package(sha256=("0" * 64,)), tmp_path / "sources")
    with pytest.raises(SourceError, match="sha256 of npm:left-pad"):
        fetch.fetch(package(sha256=("0" * 64,)), tmp_path / "other")
    assert not files_below(tmp_path / "other")


def test_client_does_not_run_in_the_current_folder(registry, tmp_path, monkeypatch):
    """npm reads settings, with programs to run, from the working directory."""
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    fetch.fetch(package(), tmp_path / "sources")
    assert (tmp_path / "stood").read_text().startswith(str(tmp_path / "sources"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "-rf"},
        {"name": "--index-url=http://example.com"},
        {"name": "a b"},
        {"name": "../x"},
        {"name": "git+https://example.com/x"},
        {"name": "a\n"},
        {"version": "file:../x"},
        {"version": "npm:other@1"},
        {"version": "-1"},
        {"version": "1.0 --pre"},
    ],
)
def test_names_that_a_client_would_take_for_something_else_are_refused(changes):
    with pytest.raises(ConfigError, match="of a package"):
        package(**changes)


def test_every_package_of_the_shipped_manifest_is_still_allowed():
    from pathlib import Path

    from mose.data.mine.manifest import read_manifest

    assert len(read_manifest(Path(__file__).parents[2] / "configs" / "mine.toml").packages) > 10
