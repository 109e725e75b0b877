"""Fetch packages with the registries' own clients, and unpack them; no code of a package is run.

In: ``Package``. Out: a folder ``SOURCES/<registry>/<name>-<version>`` with the unpacked files. A folder gets
its name only when it is complete, and an existing one is not fetched again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

from mose.data.mine.archives import hash_of, unpack
from mose.data.mine.manifest import Package
from mose.errors import SourceError
from mose.processes import find_program
from mose.storage import new_file

_ARCHIVE = re.compile(r"(?<!\.debian)\.tar\.\w+$|\.(?:tgz|whl|deb)$")
_UNSAFE = re.compile(r"[^\w.+-]+")


def fetch(package: Package, sources: Path) -> tuple[Path, ...]:
    """Folders with the files of a package, which is fetched if it is missing.

    Raises:
        SourceError: The registry does not have the package, its client failed, or an archive's hash is another.
    """
    if package.registry == "site-packages":
        return _installed(package)
    if package.registry == "folder":
        return (_tree(package),)
    target = _target(package, sources)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as name:
            work = Path(name)
            (work / "download").mkdir()
            (work / "files").mkdir()
            _CLIENTS[package.registry](package, work / "download")
            archives = [path for path in sorted((work / "download").iterdir()) if _ARCHIVE.search(path.name)]
            hashes = {path.name: hash_of(path) for path in archives}
            _check_hashes(package, hashes)
            for path in archives:
                plain = _tar_of_deb(package, path) if path.suffix == ".deb" else path
                unpack(plain, work / "files", remedy="Correct the pin in the manifest, or pass --skip-missing.")
            with new_file(_hashes_path(target)) as file:
                file.write(json.dumps(hashes, indent=1).encode())
            os.replace(work / "files", target)
    _check_hashes(package, fetched_hashes(package, sources))
    return (target,)


def fetched_hashes(package: Package, sources: Path) -> dict[str, str]:
    """SHA-256 of each archive that a package was unpacked from; empty if it was fetched before they were kept."""
    try:
        return dict(json.loads(_hashes_path(_target(package, sources)).read_text(encoding="utf8")))
    except (OSError, ValueError, TypeError):
        return {}


def _target(package: Package, sources: Path) -> Path:
    return sources / package.registry / _UNSAFE.sub("_", f"{package.name}-{package.version}")


def _hashes_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256.json")


def _check_hashes(package: Package, hashes: dict[str, str]) -> None:
    if package.sha256 and sorted(package.sha256) != sorted(hashes.values()):
        found = ", ".join(f"{name} {value}" for name, value in hashes.items()) or "no hash"
        raise SourceError(
            f"sha256 of {package.label} {package.version}",
            got=found,
            allowed=", ".join(package.sha256),
            remedy="Delete the unpacked folder and fetch it again, or correct the manifest.",
        )


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


def _tree(package: Package) -> Path:
    tree = Path(package.path).expanduser().absolute()
    if not tree.is_dir():
        raise SourceError(f"path of {package.name}", got=package.path, allowed="a source tree")
    return tree


def _pypi(package: Package, download: Path) -> None:
    # Wheels only: a source distribution would run its own setup code.
    options = ("--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--dest", str(download))
    _run(package, "pip", "download", *options, f"{package.name}=={package.version}", cwd=download)


def _npm(package: Package, download: Path) -> None:
    options = ("--ignore-scripts", "--pack-destination", str(download))
    _run(package, "npm", "pack", *options, f"{package.name}@{package.version}", cwd=download)


def _debian(package: Package, download: Path) -> None:
    _run(package, "apt-get", "download", f"{package.name}={package.version}", cwd=download)


def _tar_of_deb(package: Package, archive: Path) -> Path:
    """Extract the files of a Debian package as a tar archive beside it."""
    path = archive.with_suffix(".tar")
    with path.open("wb") as file:
        _run(package, "dpkg-deb", "--fsys-tarfile", str(archive), cwd=archive.parent, output=file)
    return path


def _debian_source(package: Package, download: Path) -> None:
    with _source_lists(package) as options:
        _run(
            package, "apt-get", *options, "source", "--download-only", f"{package.name}={package.version}", cwd=download
        )


@contextmanager
def _source_lists(package: Package) -> Iterator[tuple[str, ...]]:
    """Options of apt-get that add the sources of the archives in use, even if the system does not list them."""
    with tempfile.TemporaryDirectory(prefix="mose-apt-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        form = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"
        lines = _run(
            package, "apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian", cwd=folder
        )
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
        _run(package, "apt-get", *words, "update", cwd=folder)
        yield words


_CLIENTS: dict[str, Callable[[Package, Path], None]] = {
    "pypi": _pypi,
    "npm": _npm,
    "debian": _debian,
    "debian-source": _debian_source,
}


def _run(package: Package, *command: str, cwd: Path, output: IO[bytes] | None = None) -> str:
    """Run a registry's client, and return its output unless it goes to a file.

    Raises:
        SourceError: The client is not installed, or failed; the message has the last lines of its output.
    """
    program = find_program(command[0])
    if program is None:
        raise SourceError(f"{command[0]} is needed for {package.label} and is not installed", remedy="Install it.")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=cwd,  # npm reads settings from the working directory; this one has none
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    stdout, stderr = ((stream or b"").decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode:
        reason = " / ".join((stderr or stdout).strip().splitlines()[-3:])
        raise SourceError(
            f"{package.label} {package.version} could not be fetched: {reason}",
            remedy="Correct its name or pin in the manifest, or pass --skip-missing.",
        )
    return stdout
