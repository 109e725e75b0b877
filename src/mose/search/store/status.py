"""The status of an index, read in one snapshot."""

from __future__ import annotations

import json

from mose.files import WalkLimits
from mose.search.store.exit_vectors import read_entries, read_exit
from mose.search.store.reader import Reader
from mose.search.store.records import IndexStatus, LanguageStatus
from mose.search.store.schema import stored_values

MAX_EXAMPLES = 5
_EXAMPLES = """
SELECT {0}, path FROM (
    SELECT {0}, path, row_number() OVER (PARTITION BY {0} ORDER BY path) AS position
    FROM files WHERE {0} != ''
) WHERE position <= ?
"""


def status_of(store: Reader) -> IndexStatus:
    """What an index holds, and how much of the tree that is."""
    with store.snapshot(), stored_values(store.path):
        num_chunks = len(store.chunk_ids())
        skipped = skipped_counts(store)
        examples = {reason: json.loads(paths) for reason, paths in store.rows("SELECT reason, examples FROM skipped")}
        for reason, path in store.rows(_EXAMPLES.format("skipped"), (MAX_EXAMPLES,)):
            examples[reason] = [*examples.get(reason, ()), path][:MAX_EXAMPLES]
        troubled: dict[str, list[str]] = {}
        for reason, path in store.rows(_EXAMPLES.format("trouble"), (MAX_EXAMPLES,)):
            troubled.setdefault(reason, []).append(path)
        languages = store.rows(
            "SELECT language, count(*), sum(cut_by = 'lines' OR trouble != ''), "
            "sum((SELECT count(*) FROM chunks WHERE file_id = files.id)) "
            "FROM files WHERE skipped = '' GROUP BY language ORDER BY 2 DESC, 1"
        )
        found = {entry.exit: read_exit(store, entry.exit) for entry in read_entries(store)}
        refreshed_at = store.meta("refreshed_at")
        return IndexStatus(
            root=store.meta("root") or "",
            folder=store.folder,
            num_files=sum(row[1] for row in languages),
            num_chunks=num_chunks,
            num_pending_files=int(store.meta("pending") or 0),
            complete=store.complete,
            skipped=skipped,
            skipped_examples={reason: tuple(paths) for reason, paths in examples.items()},
            troubles=dict(
                store.rows(
                    "SELECT trouble, count(*) FROM files WHERE trouble != '' GROUP BY trouble ORDER BY 2 DESC, 1"
                )
            ),
            trouble_examples={reason: tuple(paths) for reason, paths in troubled.items()},
            languages=tuple(
                LanguageStatus(language=language, num_files=files, num_chunks=chunks, num_cut_by_lines=by_lines)
                for language, files, by_lines, chunks in languages
            ),
            vectors={exit_layer: len(matrix.ids) for exit_layer, matrix in found.items()},
            damaged={exit_layer: matrix.num_damaged for exit_layer, matrix in found.items() if matrix.num_damaged},
            model=store.meta("model"),
            chunker=store.meta("chunker"),
            size_bytes=sum(file.stat().st_size for file in store.folder.iterdir() if file.is_file()),
            refreshed_at=float(refreshed_at) if refreshed_at else None,
        )


def skipped_counts(store: Reader) -> dict[str, int]:
    """Reason -> files and folders left out, by the walk or for their content; most frequent first."""
    counts = store.rows(
        "SELECT reason, sum(count) FROM (SELECT reason, count FROM skipped UNION ALL "
        "SELECT skipped, count(*) FROM files WHERE skipped != '' GROUP BY skipped) "
        "GROUP BY reason ORDER BY 2 DESC, 1"
    )
    return dict(counts)


def limits_of(store: Reader) -> WalkLimits:
    """The file size limit that the last refresh of an index was given."""
    stored = store.meta("max_file_bytes") or ""
    is_valid = stored.isascii() and stored.isdigit() and int(stored) > 0
    return WalkLimits(max_file_bytes=int(stored)) if is_valid else WalkLimits()


def file_status(store: Reader, path: str) -> str | None:
    """What an index has of one file, in words; None if nothing."""
    rows = store.rows(
        "SELECT language, skipped, trouble, (SELECT count(*) FROM chunks WHERE file_id = files.id) "
        "FROM files WHERE path = ?",
        (path,),
    )
    if not rows:
        return None
    language, skipped, trouble, num_chunks = rows[0]
    parts = (
        [f"{num_chunks:,} {'chunk' if num_chunks == 1 else 'chunks'} of it as {language}"]
        if num_chunks or not skipped
        else []
    )
    parts += [f"a note that it is left out: {skipped}"] if skipped else []
    parts += [f"cut by length: {trouble}"] if trouble else []
    return ", ".join(parts)
