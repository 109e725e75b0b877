"""Build a corpus: files of repositories in, shards of token ids or text out, grouped by repository.

First each part of the sources is read and its files are prepared, one by one in worker processes; the result is kept in
``parts/``. Then the files of all parts are put in the order of repository and path, copies are dropped, and the shards
are written; the manifest comes last. A killed build continues with the first part that is missing. Parts and shards
depend on sources and settings alone, however many workers there are.

The list of files and a sketch of each (about 3 KB) are held in memory; texts are not.
"""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from mose.data.corpus.prepare import SKETCH, Prepared, prepare_file
from mose.data.corpus.settings import DUPLICATE, NEAR, SMALL, SURPLUS, BuildSettings
from mose.data.corpus.shards import FORMAT, MANIFEST, TOKENIZER, CorpusFile, Shard, read_manifest, write_shard
from mose.data.corpus.sources import Part, RawFile, find_parts
from mose.data.corpus.tables import Fetch
from mose.data.corpus.tokens import TokenizerText, read_tokenizer_text, tokenizer_identity
from mose.data.mine.archives import hash_of
from mose.data.mine.harvest import draw
from mose.data.near_copies import NearCopies
from mose.errors import ConfigError, DataError, OutputError
from mose.json_reading import read_json
from mose.parallel import Limits, RunEach, run_each
from mose.progress import Progress, ProgressCallback, no_progress
from mose.storage import new_file, require_writable_folder, write_json
from mose.workers import Failure

PLAN = "build.json"
_PARTS = "parts"
_LIMITS = Limits(memory_bytes=4_000_000_000, cpu_seconds=60.0, wall_seconds=300.0)
_OPEN_PARTS = 256


def build_corpus(
    sources: Sequence[str | Path],
    out: Path,
    settings: BuildSettings | None = None,
    *,
    tokenizer: Path | None = None,
    fetch: Fetch | None = None,
    workers: int = 1,
    each: RunEach = run_each,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Build a corpus, or continue a build that was stopped; a finished one is left as it is.

    Args:
        sources: Folders of repositories or tables, git checkouts, archives, tables, corpora of text.
        out: Folder to write.
        settings: What is kept; the defaults if None.
        tokenizer: Folder with ``tokenizer.json``; without it, the corpus holds text.
        fetch: Returns the content of a row of a table that has none.
        workers: Processes that prepare files.
        each: Runs them, as `mose.parallel.run_each` does.
        progress: Called with the progress so far.

    Returns:
        The manifest.

    Raises:
        DataError: A source is missing or faulty, or nothing is left.
        OutputError: ``out`` holds something else, or a corpus of other sources or settings.
        ModelError: The tokenizer is missing or damaged.
    """
    settings = settings or BuildSettings()
    _begin(out, sources, settings, tokenizer)
    if not (out / MANIFEST).is_file():
        encoder = None if tokenizer is None else read_tokenizer_text(tokenizer)
        dropped: Counter[str] = Counter()
        parts: list[Path] = []
        for part in find_parts([Path(source).expanduser() for source in sources], settings, dropped, fetch):
            progress(Progress("read", len(parts), 0))
            path = out / _PARTS / f"{len(parts):06d}.safetensors"
            if not path.is_file():
                _write_part(path, part, settings, encoder, partial(each, num_workers=workers))
            parts.append(path)
        write_json(out / MANIFEST, _write_shards(parts, out, settings, dropped, progress))
    for rest in (out / _PARTS, *out.glob(".*.part")):
        shutil.rmtree(rest, ignore_errors=True) if rest.is_dir() else rest.unlink()
    return read_manifest(out)


def _begin(out: Path, sources: Sequence[str | Path], settings: BuildSettings, tokenizer: Path | None) -> None:
    """Make the folder with the plan of the build; refuse one that holds something of another plan."""
    plan: dict[str, Any] = {
        "format": FORMAT,
        "sources": [str(source) for source in sources],
        "settings": {name: [*value] if isinstance(value, tuple) else value for name, value in asdict(settings).items()},
        "tokenizer": None if tokenizer is None else tokenizer_identity(tokenizer),
    }
    plan["settings"]["columns"] = dict(settings.columns)
    for rest in out.glob(f".{PLAN}.*.part"):  # of a build that was killed at once
        rest.unlink()
    require_writable_folder(out, marks=(PLAN,))
    if (out / PLAN).exists():
        try:
            stored = read_json(out / PLAN)
        except ValueError as error:
            raise DataError(f"{out / PLAN} is damaged ({error})", remedy=f"Delete {out}.") from error
        if stored != plan and not (out / MANIFEST).exists() and not any((out / _PARTS).glob("*.safetensors")):
            (out / TOKENIZER).unlink(missing_ok=True)  # of a build that read nothing
        elif stored != plan:
            before = {**stored, **stored.get("settings", {})} if isinstance(stored, dict) else {}
            now = {**plan, **plan["settings"]}
            changed = [name for name in now if name != "settings" and before.get(name) != now[name]]
            raise OutputError(f"{out} holds a corpus of other {', '.join(changed)}",
                              remedy="Name another folder, or delete this one first.")  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / PLAN, plan)  # first: it marks the folder as a corpus
    (out / _PARTS).mkdir(exist_ok=True)
    if tokenizer is not None:
        with new_file(out / TOKENIZER) as file:
            file.write((tokenizer / TOKENIZER).read_bytes())


def _write_part(
    path: Path, part: Part, settings: BuildSettings, tokenizer: TokenizerText | None, each: RunEach
) -> None:
    """Prepare the files of one part, and keep what is left of them."""
    dropped: Counter[str] = Counter()
    scrubbed: Counter[str] = Counter()
    given: deque[RawFile] = deque()
    kept = []

    def items() -> Iterator[tuple[str, bytes | str]]:
        for raw in part.read(dropped):
            given.append(raw._replace(content=b""))
            yield raw.path, raw.content

    shared = (settings, tokenizer)
    answers = each(prepare_file, items(), shared=shared, weigh=lambda item: len(item[1]), limits=_LIMITS)
    for answer in answers:
        raw = given.popleft()
        if isinstance(answer, Failure):
            if answer.may_pass:  # else two builds could differ
                raise DataError(f"{part.name}: {raw.path} could not be read ({answer.reason})",
                                remedy="Run the same command again, perhaps with fewer --workers.")  # fmt: skip
            dropped[f"file that {answer.reason}"] += 1
        elif isinstance(answer, Prepared):
            scrubbed.update(answer.scrubbed)
            kept.append(
                CorpusFile(
                    repository=raw.repository, licence=raw.licence, path=raw.path, language=answer.language,
                    characters=answer.characters, units=answer.units, digest=answer.digest, sketch=answer.sketch,
                )
            )  # fmt: skip
        else:
            dropped[answer] += 1
    write_shard(path, kept, notes={"part": part.name, "dropped": dropped, "scrubbed": scrubbed})


@dataclass(slots=True)
class _Copies:
    """Texts so far."""

    near: NearCopies
    digests: set[bytes] = field(default_factory=set)

    def fault(self, file: CorpusFile) -> str:
        if file.digest in self.digests:
            return DUPLICATE
        return NEAR if len(file.sketch) and self.near.has_near(file.sketch) else ""

    def add(self, file: CorpusFile) -> None:
        self.digests.add(file.digest)
        if len(file.sketch):
            self.near.add(file.sketch)


def _write_shards(
    parts: Sequence[Path], out: Path, settings: BuildSettings, dropped: Counter[str], progress: ProgressCallback
) -> dict[str, Any]:
    """Write the files of all parts as shards; return the manifest."""
    opened = lru_cache(_OPEN_PARTS)(lambda number: list(Shard(parts[number]).files()))
    scrubbed: Counter[str] = Counter()
    order = []
    for number, path in enumerate(parts):
        notes = Shard(path).index()
        dropped.update(notes["dropped"])
        scrubbed.update(notes["scrubbed"])
        order += [(file.repository, file.path, number, row) for row, file in enumerate(opened(number))]
    order.sort()
    copies = _Copies(NearCopies(settings.near, sketch=SKETCH))
    shards: list[dict[str, Any]] = []
    files: list[CorpusFile] = []
    languages: dict[str, Counter[str]] = {}
    licences: Counter[str] = Counter()

    def close() -> None:
        path = out / f"shard-{len(shards):05d}.safetensors"
        write_shard(path, files)
        shards.append(
            {"file": path.name, "bytes": path.stat().st_size, "sha256": hash_of(path),
             "repositories": len({file.repository for file in files}), "files": len(files),
             "units": sum(len(file.units) for file in files)}
        )  # fmt: skip
        files.clear()

    done = 0
    for _, group in groupby(order, key=lambda entry: entry[0]):
        progress(Progress("write", done, len(order)))
        found = [opened(number)[row] for _, _, number, row in group]
        done += len(found)
        kept = _select(found, settings, copies, dropped)
        for file in kept:
            counts = languages.setdefault(file.language, Counter())
            counts.update(files=1, characters=file.characters, units=len(file.units))
            licences[file.licence or "unknown"] += 1
        files += kept
        if sum(len(file.units) for file in files) >= settings.shard_units:
            close()
    if files:
        close()
    if not shards:
        shutil.rmtree(out / _PARTS)  # so that the folder takes the settings that are asked for next
        raise DataError("no repository with two files is left", got=dict(dropped.most_common(5)),
                        remedy="Name other sources, or allow more: --licence any, --language.")  # fmt: skip
    totals = {name: sum(counts[name] for counts in languages.values()) for name in ("files", "characters", "units")}
    return {
        **{key: value for key, value in read_json(out / PLAN).items()},
        "repositories": sum(shard["repositories"] for shard in shards),
        **totals,
        "languages": {name: dict(languages[name]) for name in sorted(languages)},
        "licences": dict(sorted(licences.items())),
        "dropped": {reason: dropped[reason] for reason in sorted(dropped) if dropped[reason]},
        "scrubbed": dict(sorted(scrubbed.items())),
        "shards": shards,
    }


def _select(
    found: Sequence[CorpusFile], settings: BuildSettings, copies: _Copies, dropped: Counter[str]
) -> list[CorpusFile]:
    """Files of one repository without copies; none if less than two are left."""
    chosen: list[int] = []
    numbers = list(range(len(found)))
    if settings.max_files and len(found) > settings.max_files:
        numbers.sort(key=lambda number: draw(settings.seed, found[number].repository, found[number].path))
    for number in numbers:
        reason = SURPLUS if 0 < settings.max_files <= len(chosen) else copies.fault(found[number])
        if reason:
            dropped[reason] += 1
        else:
            copies.add(found[number])
            chosen.append(number)
    if len(chosen) < 2:
        dropped[SMALL] += len(chosen)
        return []
    return [found[number] for number in sorted(chosen)]


def parse_columns(text: str) -> tuple[tuple[str, str], ...]:
    """The value of ``--columns``.

    Raises:
        ConfigError: It is something else.

    Example:
        >>> parse_columns("repository=repo,path=file")
        (('repository', 'repo'), ('path', 'file'))
    """
    from mose.data.corpus.tables import COLUMNS

    found = []
    for pair in filter(None, text.split(",")):
        key, _, name = pair.partition("=")
        if key not in COLUMNS or not name:
            raise ConfigError("--columns", got=pair, allowed=", ".join(f"{key}=COLUMN" for key in COLUMNS))
        found.append((key, name))
    return tuple(found)
