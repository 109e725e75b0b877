"""The manifest: packages to mine, with registry, version, licence and split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mose.config import read_toml
from mose.errors import ConfigError
from mose.languages.tables import word_set
from mose.syntax import GRAMMARS

MAX_PACKAGES = 100
LICENSES = word_set(
    """
    0BSD Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 HPND ISC MIT MIT-0 MIT-CMU NCSA PostgreSQL PSF-2.0
    Python-2.0 Ruby Unicode-3.0 Unlicense X11 Zlib blessing curl
    """
) | {"Apache-2.0 WITH LLVM-exception"}
"""Permissive licences (SPDX) that a package may have; "A OR B" and "A AND B" are split."""

HELD_OUT = word_set(
    """
    abseil-cpp abseil aeson aiohttp alamofire axios axum bash-it bats-core bats cats chi circe click cobra commons-lang
    curl dapper ecto exposed express fastapi flask fmtlib gin gson guzzle guzzlehttp http4s httpx jackson-databind
    kotlinx-coroutines ktor laravel-framework laravel illuminate lazy.nvim libuv messagepack-csharp mini.nvim model2vec
    monolog newtonsoft-json newtonsoft nlohmann-json nlohmann nvm pandoc phoenix plug pydantic rack rails activesupport
    activerecord activemodel actionpack actionview railties redis redux requests rxswift serde sinatra snapkit starlette
    telescope.nvim tokio trpc vapor vitest xmonad zig zig-clap zls zod semble humaneval humaneval-x
    astropy django matplotlib pylint pytest scikit-learn seaborn sphinx sympy xarray
    """
)
"""Names of repositories in held-out benchmarks (the last line: SWE-bench): never a source of training data."""

_PART = re.compile(r"[-_./@+]+")
_VERSION = re.compile(r"\d+$")
# Excludes what a registry's client would read as an option, a URL or a file.
_NAME = re.compile(r"(?:@[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.+-]*")
_PINNED = re.compile(r"[0-9][\w.+~:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of one registry."""

    name: str
    """Name in the registry."""
    registry: Literal["site-packages", "pypi", "npm", "debian", "debian-source", "folder"]
    """Where it comes from; "site-packages" is the running Python's own folder, "folder" is ``path``."""
    license: str
    """SPDX expression."""
    languages: tuple[str, ...]
    """Languages to mine; other files are ignored."""
    version: str
    """Pinned, so that the same manifest gives the same pairs."""
    split: Literal["train", "valid"] = "train"
    """File that its pairs go to."""
    sha256: tuple[str, ...] = ()
    """Hash of each archive that it is unpacked from; not checked if empty. A run writes them into its manifest."""
    folders: tuple[str, ...] = ()
    """Only these folders of the unpacked package; empty takes all."""
    path: str = ""
    """Source tree of the registry "folder", whose licence is not limited: whoever names it has it."""

    def __post_init__(self) -> None:
        for field, pattern in (("name", _NAME), ("version", _PINNED)):
            value = getattr(self, field)
            if not pattern.fullmatch(value):
                raise ConfigError(f"{field} of a package", got=value, allowed="as its registry spells it")
        held_out = held_out_name(self.name)
        if held_out:
            raise ConfigError(
                f"package {self.name} belongs to a held-out benchmark ({held_out})", allowed="any other package"
            )
        if (self.registry == "folder") != bool(self.path):
            raise ConfigError(f"path of {self.name}", got=self.path,
                              allowed='a source tree for the registry "folder", nothing for others')  # fmt: skip
        if self.registry != "folder":
            require_license(self.name, self.license)
        foreign = sorted(set(self.languages) - GRAMMARS)
        if foreign or not self.languages:
            raise ConfigError(f"languages of {self.name}", got=self.languages, allowed=", ".join(sorted(GRAMMARS)))

    @property
    def label(self) -> str:
        """Registry and name ("pypi:rich"), the ``source`` of its rows."""
        return f"{self.registry}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MineConfig:
    """Everything that determines the rows."""

    packages: tuple[Package, ...]
    """Each package once."""
    seed: int = 0
    """Fixes which rows are kept if there are too many."""
    per_file: int = 60
    """Maximum number of rows of one file."""
    per_package: int = 6_000
    """Maximum number of rows of one package."""
    name_share: float = 0.15
    """Share of the rows whose query is a name."""
    language_share: float = 0.4
    """Share of all rows that one language may have."""
    code_chars: int = 1_600
    """Code is cut here, at a line end."""
    near: float = 0.7
    """Two codes are near copies from this Jaccard similarity of five-word shingles on."""

    def __post_init__(self) -> None:
        if not 0 < len(self.packages) <= MAX_PACKAGES:
            raise ConfigError("number of packages", got=len(self.packages), allowed=f"1 to {MAX_PACKAGES}")
        labels = [package.label for package in self.packages]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ConfigError("duplicate packages", got=twice, allowed="each once")
        if not 0 <= self.name_share < 1:
            raise ConfigError("name_share", got=self.name_share, allowed="0 or more, below 1")
        for name in ("language_share", "near"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(name, got=getattr(self, name), allowed="above 0, at most 1")
        for name in ("per_file", "per_package", "code_chars"):
            if getattr(self, name) < 1:
                raise ConfigError(name, got=getattr(self, name), allowed="1 or more")


def require_license(name: str, license: str, *, remedy: str | None = None) -> None:
    """Raise `ConfigError` unless an SPDX expression holds permissive licences alone."""
    if set(re.split(r" (?:OR|AND) ", license)) - LICENSES:
        raise ConfigError(f"license of {name}", got=license, allowed=", ".join(sorted(LICENSES)), remedy=remedy)


def read_manifest(path: Path) -> MineConfig:
    """The manifest of a TOML file.

    Raises:
        ConfigError: The file is missing, not TOML, or names something that is not allowed.
    """
    return read_toml(path, MineConfig)


def held_out_name(name: str) -> str:
    """The held-out repository that a package or folder name refers to; empty if none.

    Prefixes and suffixes of registries ("ruby-", "golang-...-dev", "lib...-java", a version) are ignored.

    Example:
        >>> held_out_name("golang-github-spf13-cobra-dev"), held_out_name("libcommons-lang3-java")
        ('cobra', 'commons-lang')
    """
    parts = _parts(name)
    for held_out in sorted(HELD_OUT):
        wanted = _parts(held_out)
        for at in range(len(parts) - len(wanted) + 1):
            window = parts[at : at + len(wanted)]
            if window == wanted or [window[0].removeprefix("lib"), *window[1:]] == wanted:
                return held_out
    return ""


def _parts(name: str) -> list[str]:
    parts = [part for part in _PART.split(name.lower()) if part]
    return [part if part == "model2vec" or part == "http4s" else _VERSION.sub("", part) or part for part in parts]
