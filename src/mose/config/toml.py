"""Read frozen dataclasses from TOML files, strictly, and write them.

Unknown keys are errors that name the key, the file and the nearest known key. Defaults live in the dataclasses.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from mose.errors import ConfigError

T = TypeVar("T")
_MOST_BYTES = 4_000_000

_BEYOND = 2**63
_SPOKEN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
"""What a setting of each type takes, in words."""


def read_toml(path: str | Path, kind: type[T], *, overrides: Mapping[str, Any] | None = None) -> T:
    """Settings of class ``kind`` from a TOML file.

    A file may say ``extends = "other.toml"`` (relative to itself) and then holds only what differs: tables are merged
    key by key, lists of tables with a ``name`` by name (new ones come first), anything else is replaced.

    Args:
        path: The file.
        kind: A frozen dataclass.
        overrides: Dotted key -> value that replaces the file's (``{"run.steps": 3}``).

    Raises:
        ConfigError: A file is missing or not TOML, a key is unknown or absent, or a value does not fit.
    """
    values, files = _read_chain(Path(path), ())
    file = files[0] + (f" (extends {', '.join(files[1:])})" if files[1:] else "")
    for dotted, value in (overrides or {}).items():
        table, key = _table_of(values, dotted, file)
        table[key] = value
    for old, new in _moved_keys(kind):
        *tables, key = old.split(".")
        if new and any(key in table for table in _tables_at(values, tables)):
            raise ConfigError(f"{file}: {old} is now {new}", remedy="Write the new name.")
    return from_values(values, kind, file=file)


def read_stored(path: Path, kind: type[T]) -> T:
    """Read the settings that a run stored, perhaps in an older version: moved keys are converted.

    Raises:
        ConfigError: As ``read_toml``.
    """
    values = _read_file(path)
    for old, new in _moved_keys(kind):
        *tables, key = old.split(".")
        for table in _tables_at(values, tables):
            if key in table:
                value = table.pop(key)
                *others, name = new.split(".")
                if new:
                    (table if others == tables else values.setdefault(others[0], {}))[name] = value
    return from_values(values, kind, file=str(path))


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """Dotted key -> value from ``key=value`` texts; values are TOML, or plain text.

    Example:
        >>> parse_overrides(["run.steps=3", "run.folder=runs/a"])
        {'run.steps': 3, 'run.folder': 'runs/a'}
    """
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError("--set", got=item, allowed="key=value, as in run.steps=100")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            values[key] = text
    return values


def _read_chain(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], list[str]]:
    """Values of a file over those that it extends, and the names of all of them."""
    values = _read_file(path)
    if "extends" not in values:
        return values, [str(path)]
    name, above = values.pop("extends"), (*above, path.resolve())
    if not isinstance(name, str) or (path.parent / name).resolve() in above:
        raise ConfigError(f"{path}: extends", got=name, allowed="the name of a file that does not extend this one")
    base, files = _read_chain(path.parent / name, above)
    return _merge(base, values), [str(path), *files]


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        return tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no settings file {path}", remedy="Check the path; it ends in .toml.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", remedy="Name a file of settings.") from error
    except (ValueError, RecursionError) as error:  # not text, not TOML, or nested too deeply
        raise ConfigError(f"{path} is not TOML: {error}", remedy="Correct it; configs/ has examples.") from error


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        elif (known := _by_name(below)) and (changes := _by_name(value)):
            new = [row for name, row in changes.items() if name not in known]
            merged[key] = new + [_merge(row, changes.get(name, {})) for name, row in known.items()]
        else:
            merged[key] = value
    return merged


def _by_name(rows: Any) -> dict[str, dict[str, Any]]:
    """Name -> table of a list of tables with a name each; empty for anything else."""
    tables = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    named = {row["name"]: row for row in tables if isinstance(row.get("name"), str)}
    return named if tables and len(named) == len(rows) else {}


def _table_of(values: dict[str, Any], dotted: str, file: str) -> tuple[dict[str, Any], str]:
    """The table of a dotted key, created if it is missing, and the key's name in it."""
    *tables, key = dotted.split(".")
    inner = values
    for number, name in enumerate(tables, start=1):
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{file}: {'.'.join(tables[:number])} is not a table", got=inner, allowed="a table",
                              remedy=f"{dotted} cannot be set in it.")  # fmt: skip
    return inner, key


def _moved_keys(kind: type) -> Iterable[tuple[str, str]]:
    """Key of an older version -> its key now, empty if it has none; both of one table, or of two at the top."""
    moved: Mapping[str, str] = getattr(kind, "moved_keys", {})
    return moved.items()


def _tables_at(values: Mapping[str, Any], path: Sequence[str]) -> list[dict[str, Any]]:
    """The tables at a dotted key, those in lists included."""
    found: list[Any] = [values]
    for name in path:
        below = [table.get(name) for table in found if isinstance(table, dict)]
        found = [table for inner in below for table in (inner if isinstance(inner, list) else [inner])]
    return [table for table in found if isinstance(table, dict)]


def from_values(values: Mapping[str, Any], kind: type[T], *, file: str = "settings", at: str = "") -> T:
    """Settings of class ``kind`` from nested mappings, as ``tomllib`` gives them.

    Args:
        values: Key -> value.
        kind: A frozen dataclass.
        file: Named in errors.
        at: Dotted key of ``values`` in the file, named in errors.

    Raises:
        ConfigError: A key is unknown or absent, or a value does not fit.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{file}: {at or 'settings'}", got=values, allowed="a table")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    prefix = f"{at}." if at else ""
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
            remedy = f"Did you mean {prefix}{near[0]}?" if near else f"Known keys: {', '.join(fields)}."
            raise ConfigError(f"{file}: unknown key {prefix}{key}", remedy=remedy)
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in values and not optional:
            remedy = f"Write it into the file, or pass --set {prefix}{name}=VALUE."
            raise ConfigError(f"{file}: {prefix}{name} is missing", remedy=remedy)
    given = {key: _fit(value, hints[key], file, prefix + key) for key, value in values.items()}
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.what}", got=error.got, allowed=error.allowed) from error


def _fit(value: Any, hint: Any, file: str, key: str) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_values(value, typing.cast(type[Any], hint), file=file, at=key)
    if origin is Literal:
        if value not in parts:
            raise ConfigError(f"{file}: {key}", got=value, allowed=", ".join(map(str, parts)))
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _fit(value, parts[0], file, key)
    if origin is tuple:
        return _fit_list(value, parts, file, key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not abs(value) < _BEYOND:  # as much as TOML promises of whole numbers; nan is beyond, too
        raise ConfigError(f"{file}: {key}", got=value, allowed="a finite number below 2**63")
    if hint is float and is_number:
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{file}: {key}", got=value, allowed=_SPOKEN.get(hint, hint.__name__))
    return value


def _fit_list(value: Any, parts: tuple[Any, ...], file: str, key: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{file}: {key}", got=value, allowed="a list")
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_fit(item, parts[0], file, f"{key}[{n}]") for n, item in enumerate(value))
    if len(value) != len(parts):
        raise ConfigError(f"{file}: {key}", got=value, allowed=f"{len(parts)} values")
    return tuple(_fit(item, part, file, key) for item, part in zip(value, parts, strict=True))


def write_toml(config: Any) -> str:
    """TOML text of a settings object; reading it back gives an equal object.

    Example:
        >>> from mose.config import OptimizerConfig
        >>> print(write_toml(OptimizerConfig(rate=0.5)).splitlines()[1])
        rate = 0.5
    """
    return "\n".join(_lines(config, "")) + "\n"


def _lines(config: Any, at: str) -> list[str]:
    plain: list[str] = []
    tables: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        dotted = f"{at}.{field.name}" if at else field.name
        if value is None:
            continue
        if dataclasses.is_dataclass(value):
            tables += ["", f"[{dotted}]", *_lines(value, dotted)]
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for item in value:
                tables += ["", f"[[{dotted}]]", *_lines(item, dotted)]
        else:
            plain.append(f"{field.name} = {_literal(value)}")
    return plain + tables


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
