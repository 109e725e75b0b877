"""A manifest of source trees and git checkouts that are named by their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mose.data.corpus.licences import find_licence
from mose.data.mine.manifest import MineConfig, Package, read_manifest, require_license
from mose.errors import ConfigError
from mose.git import find_repository, short_name
from mose.syntax import GRAMMARS

_UNSAFE = re.compile(r"^[^A-Za-z0-9]+|[^\w.+-]+")


def read_sources(paths: Sequence[Path], licence: str = "") -> MineConfig:
    """The manifest of a TOML file, or one of source trees, all of whose rows are for training.

    Args:
        paths: One file, or folders.
        licence: Of all trees; empty reads what each says itself, which must be permissive.

    Raises:
        ConfigError: The manifest is faulty, or a tree has no such licence or is that of a held-out benchmark.
    """
    if not any(path.is_dir() for path in paths):
        if len(paths) > 1 or licence:
            raise ConfigError("one manifest goes without --license and others", got=[str(path) for path in paths],
                              allowed="one TOML file, or folders")  # fmt: skip
        return read_manifest(paths[0])
    packages = tuple(_package(path, licence) for path in paths)
    return MineConfig(packages=packages, language_share=1.0)


def _package(tree: Path, licence: str) -> Package:
    if not tree.is_dir():
        raise ConfigError("source tree", got=str(tree), allowed="a folder, as the others")
    name = _UNSAFE.sub("_", tree.resolve().name).lstrip("_") or "tree"
    found = licence or find_licence(tree) or "unknown"
    if not licence:
        require_license(str(tree), found, remedy="If you may use it, say which it is: --license NAME")
    repository = find_repository(tree)
    commit = f"+{short_name(repository, tree)}" if repository else ""
    return Package(
        name=name, registry="folder", license=found, languages=tuple(sorted(GRAMMARS)), version=f"0{commit}",
        path=str(tree.absolute()),
    )  # fmt: skip
