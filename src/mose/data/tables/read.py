"""Rows of a parquet file, of a folder of them, or of a folder that ``datasets`` saved; one batch is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mose.errors import DataError, MissingExtraError
from mose.json_reading import read_json

_BATCH_ROWS = 4_096
_STATE = "state.json"
"""Names the Arrow files of a folder that ``Dataset.save_to_disk`` wrote."""
_KINDS = {".parquet": "a parquet file", ".arrow": "an Arrow file"}


def is_table(path: Path) -> bool:
    """True for what `table_rows` reads: a parquet file, or a folder."""
    return path.suffix == ".parquet" or path.is_dir()


def table_columns(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: There is no table, or it is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    for names, _ in _batches(path, None):
        return names
    raise DataError(f"{path} holds no row", remedy="Leave it out, or write it again.")


def table_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows, as values by column.

    Args:
        path: A parquet file, or a folder.
        columns: Those to read; all if None.

    Raises:
        DataError: There is no table, or it is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    for _, batch in _batches(path, columns):
        yield from batch.to_pylist()


def _batches(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[list[str], Any]]:
    """Names of all columns, and a batch of those that are wanted."""
    arrow = need_pyarrow()
    file = path
    try:
        for file in _files(path):
            with ExitStack() as opened:
                if file.suffix == ".parquet":
                    table = opened.enter_context(arrow.parquet.ParquetFile(file))
                    names = table.schema_arrow.names
                    batches = table.iter_batches(_BATCH_ROWS, columns=None if columns is None else list(columns))
                else:
                    mapped = opened.enter_context(arrow.memory_map(str(file)))
                    batches = opened.enter_context(arrow.ipc.open_stream(mapped))
                    names = batches.schema.names
                for batch in batches:
                    for start in range(0, batch.num_rows, _BATCH_ROWS):
                        part = batch.slice(start, _BATCH_ROWS)
                        yield names, part if columns is None else part.select(list(columns))
    except FileNotFoundError as error:
        raise DataError(f"no table {file}", remedy="Check the path; in training, set data.folder.") from error
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).partition("\n")[0]
        kind = _KINDS.get(file.suffix, "a folder of tables")
        raise DataError(f"{file} is not {kind}, or is damaged ({reason})", remedy="Write or copy it again.") from error


def _files(path: Path) -> list[Path]:
    if not is_table(path):
        if not path.exists():
            raise FileNotFoundError(path)
        allowed = "a file that ends in .parquet, or a folder of them"
        raise DataError(f"{path} is not a table", allowed=allowed, remedy="Name another file.")
    if not path.is_dir():
        return [path]
    if (path / _STATE).is_file():
        return [path / str(entry["filename"]) for entry in read_json(path / _STATE)["_data_files"]]
    found = sorted(path.glob("*.parquet"))
    if not found:
        splits = sorted(entry.parent.name for entry in path.glob(f"*/{_STATE}"))
        raise DataError(
            f"{path} is a folder without a table",
            allowed="parquet files, or what datasets.save_to_disk wrote",
            remedy=f"Name one of its splits: {', '.join(splits)}." if splits else "Name another folder.",
        )
    return found


def need_pyarrow() -> Any:
    """The package that reads and writes tables.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc  # noqa: F401
        import pyarrow.parquet  # noqa: F401  # a part of the package that is not imported with it
    except ImportError as error:
        raise MissingExtraError("parquet tables need the package pyarrow",
                                remedy="Install it with: pip install 'mose[parquet]'") from error  # fmt: skip
    return pyarrow
