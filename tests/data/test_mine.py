"""``mose pairs mine``: manifests, caps, copies of evaluation rows, determinism, resuming, the command itself."""

import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from mose import cli
from mose.data.mine import archives
from mose.data.mine import fetch as fetching
from mose.data.mine.build import mine
from mose.data.mine.harvest import Mined
from mose.data.mine.manifest import HELD_OUT, MineConfig, Package, held_out_name, read_manifest
from mose.data.mine.select import apply_caps, drop_copies
from mose.data.mine.trees import read_sources
from mose.data.near_copies import NearCopies, shingles
from mose.data.pairs import read_rows
from mose.errors import ConfigError, SourceError

ROOT = Path(__file__).parents[2]

QUEUE = '''
"""Jobs that wait for a worker, in the order of their arrival."""


def push_waiting_job(queue, job, limit):
    """Adds a job to the end of the queue unless it is full."""
    if len(queue) >= limit:
        raise OverflowError(limit)
    queue.append(job)
    return len(queue)


def oldest_waiting_job(queue, default=None):
    """Removes the job that has waited longest and returns it."""
    for position, job in enumerate(queue):
        # a job that was cancelled is of no interest
        if not job.cancelled and not job.finished:
            del queue[position]
            return job
    return default
'''
MATRIX = '''
def transpose_matrix(rows, columns):
    """Turns the rows of a matrix into its columns."""
    result = [[0] * rows.height for _ in range(columns)]
    for left, row in enumerate(rows):
        for right, value in enumerate(row):
            result[right][left] = value
    return result
'''
GO = """
// Package clock tells the time to tests.
package clock

// Advance moves the clock forward and wakes everyone who waits for that time.
func (c *FakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for _, waiter := range c.waiters {
		waiter.wake(c.now)
	}
}
"""


def package(name="queues", **settings):
    values = {"registry": "pypi", "version": "1.0", "license": "MIT", "languages": ("python",), **settings}
    return Package(name=name, **values)


def config(*packages, **settings):
    return MineConfig(packages=packages, **{"language_share": 1.0, "name_share": 0.5, **settings})


@pytest.fixture
def sources(tmp_path):
    """Three unpacked packages, as ``fetch`` leaves them."""
    folder = tmp_path / "sources"
    for path, text in {
        "pypi/queues-1.0/queues/core.py": QUEUE,
        "pypi/queues-1.0/tests/test_core.py": QUEUE.replace("job", "item"),
        "pypi/queues-1.0/queues/_vendor/other.py": QUEUE.replace("job", "task"),
        "pypi/queues-1.0/queues/foreign.py": "# GNU General Public License, version 3\n"
        + QUEUE.replace("job", "thing"),
        "pypi/matrices-1.0/matrices.py": MATRIX,
        "debian/clocks-2.0/usr/share/clock/clock.go": GO,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


ALL = (
    package(),
    package("matrices", split="valid"),
    package("clocks", registry="debian", version="2.0", languages=("go",)),
)


def rows_of(folder, split="train"):
    with lzma.open(folder / f"{split}.jsonl.xz", "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


def run(out, sources, *packages, exclude_near=(), **settings):
    return mine(config(*(packages or ALL), **settings), out, sources=sources, exclude_near=exclude_near, workers=1)


# -- the manifest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_held_out_repositories_are_refused(name):
    with pytest.raises(ConfigError, match="held-out benchmark"):
        package(name)


@pytest.mark.parametrize(
    "name",
    [
        *("golang-github-spf13-cobra-dev", "libcommons-lang3-java", "librust-serde-dev", "php-monolog", "ruby-redis"),
        *("@types/express", "libcurl4", "nlohmann-json3", "php-illuminate-support", "HumanEval_X", "flask-sqlalchemy"),
    ],
)
def test_held_out_repositories_are_refused_under_the_names_of_registries(name):
    assert held_out_name(name)


@pytest.mark.parametrize("name", ["rxjs", "golang-1.19", "scikit-image", "commons-io", "@cesium/engine", "clickhouse"])
def test_other_packages_are_allowed(name):
    assert held_out_name(name) == ""


def test_the_committed_manifest_is_sound():
    manifest = read_manifest(ROOT / "configs" / "mine.toml")
    assert 0 < len(manifest.packages) <= 100
    languages = {language for one in manifest.packages for language in one.languages}
    assert languages >= {"python", "javascript", "typescript", "go", "ruby", "php", "c", "cpp", "java"}
    assert len({one.languages for one in manifest.packages if one.split == "valid"}) >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"license": "GPL-3.0-only"}, "license of queues"),
        ({"license": "MIT OR GPL-2.0"}, "license of queues"),
        ({"languages": ()}, "languages of queues"),
        ({"languages": ("python", "klingon")}, "languages of queues"),
    ],
)
def test_a_bad_package_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        package(**change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("packages = []", "number of packages"),
        (
            '[[packages]]\nname = "a"\nregistry = "cargo"\nversion = "1"\nlicense = "MIT"\nlanguages = ["rust"]',
            "registry",
        ),
        ('[[packages]]\nname = "a"\nregistry = "pypi"\nlicense = "MIT"\nlanguages = ["python"]', "version is missing"),
        ('[[packages]]\nname = "a"\nlicence = "MIT"', "Did you mean packages"),
        ("packages = [", "is not TOML"),
    ],
)
def test_a_bad_manifest_names_what_is_wrong(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_manifest(tmp_path / "mine.toml")


def test_a_package_named_twice_is_refused():
    with pytest.raises(ConfigError, match="duplicate packages"):
        config(package(), package(version="2.0"))


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_rows_go_to_the_split_of_their_package(tmp_path, sources):
    summary = run(tmp_path / "out", sources)
    assert {row["source"] for row in rows_of(tmp_path / "out")} == {"pypi:queues", "debian:clocks"}
    assert {row["source"] for row in rows_of(tmp_path / "out", "valid")} == {"pypi:matrices"}
    assert summary["totals"]["train"]["rows"] == len(rows_of(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == json.loads(json.dumps(summary))


def test_a_row_has_all_fields_and_training_can_read_it(tmp_path, sources):
    run(tmp_path / "out", sources)
    row = next(row for row in rows_of(tmp_path / "out") if row["query"].startswith("Removes the job"))
    assert {key: row[key] for key in ("language", "kind", "source", "path", "license", "group")} == {
        "language": "python",
        "kind": "doc",
        "source": "pypi:queues",
        "path": "queues/core.py",
        "license": "MIT",
        "group": "queues/queues/core.py:oldest_waiting_job",
    }
    assert row["code"].startswith("def oldest_waiting_job(queue, default=None):\n    for position")
    assert len(read_rows(tmp_path / "out" / "train.jsonl.xz")) == len(rows_of(tmp_path / "out"))


def test_tests_vendored_files_and_other_licences_are_left_alone(tmp_path, sources):
    summary = run(tmp_path / "out", sources)
    assert {row["path"] for row in rows_of(tmp_path / "out") if row["language"] == "python"} == {"queues/core.py"}
    dropped = summary["packages"][0]["dropped"]
    assert dropped["file of tests"] == dropped["file vendored"] == dropped["file under another licence"] == 1


def test_the_same_sources_give_the_same_bytes(tmp_path, sources):
    for name in ("one", "two"):
        run(tmp_path / name, sources, per_package=5)
    for file in ("train.jsonl.xz", "valid.jsonl.xz", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_pool_gives_what_one_process_gives(tmp_path, sources):
    run(tmp_path / "one", sources)
    mine(config(*ALL), tmp_path / "two", sources=sources, workers=2)
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("limit", "most").replace("raise OverflowError(most)", "raise OverflowError"),
        lambda text: "import sys\n" + text.replace("    if len", "    # full?\n    if len"),
    ],
    ids=["copy", "renamed", "with a docstring and more"],
)
def test_a_near_copy_of_an_evaluation_row_is_left_out(tmp_path, sources, change):
    function = QUEUE[QUEUE.index("def oldest_waiting") :]
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": 1, "query": None, "code": change(function)}) + "\n")
    summary = run(tmp_path / "out", sources, exclude_near=(tmp_path / "test.jsonl",))
    assert summary["dropped"]["near copy of an evaluation row"] >= 2
    assert not [row for row in rows_of(tmp_path / "out") if row["group"].endswith(":oldest_waiting_job")]
    assert [row for row in rows_of(tmp_path / "out") if row["group"].endswith(":push_waiting_job")]
    assert summary["excluded_near"][0]["file"] == "test.jsonl"


def test_the_query_of_an_evaluation_row_is_left_out(tmp_path, sources):
    query = "adds a job to the end of the  queue unless it is full"
    (tmp_path / "test.jsonl").write_text(json.dumps({"query": query, "positive": "7"}) + "\n")
    run(tmp_path / "out", sources, exclude_near=(tmp_path / "test.jsonl",))
    assert not [row for row in rows_of(tmp_path / "out") if row["query"].startswith("Adds a job")]


def test_a_copy_of_a_validation_row_leaves_the_training_file(tmp_path, sources):
    copy = sources / "pypi" / "queues-1.0" / "queues" / "copied.py"
    copy.write_text(MATRIX)
    summary = run(tmp_path / "out", sources)
    assert summary["dropped"]["duplicate"] >= 1
    assert not [row for row in rows_of(tmp_path / "out") if "transpose" in row["code"]]
    assert [row for row in rows_of(tmp_path / "out", "valid") if "transpose" in row["code"]]


def row(number, **settings):
    values = {
        "kind": "doc",
        "query": f"Does the thing with number {number}.",
        "code": " ".join(f"word{number}_{place}" for place in range(40)),
        "language": "python",
        "path": "a.py",
        "symbol": f"f{number}",
    }
    return Mined(**{**values, **settings})


def test_near_copies_and_boilerplate_are_counted():
    first = row(1)
    rows = [
        first,
        row(2, code=first.code + " and one more"),
        row(3, query=first.query.upper()),
        *(row(number, query="Returns a string.") for number in range(10, 14)),
        row(5, kind="name", query="f", code=first.code),
    ]
    dropped = Counter()
    kept = drop_copies(rows, 0.7, dropped)
    assert [one.symbol for one in kept] == ["f1", "f5"]
    assert dropped == {"near copy": 1, "duplicate": 1, "boilerplate": 4}


def test_caps_hold_and_what_they_cost_is_counted():
    rows = [row(number, path=f"{number % 2}.py") for number in range(40)]
    rows += [row(number, kind="name") for number in range(40, 80)]
    dropped = Counter()
    kept = apply_caps(rows, "pypi:a", config(package(), per_file=15, per_package=20, name_share=0.2), dropped)
    kinds = Counter(one.kind for one in kept)
    assert kinds == {"doc": 16, "name": 4}
    assert dropped == {"over the cap of a file": 10, "over the cap of a package": 14, "over the share of names": 36}
    assert kept == [one for one in rows if one in kept]


def test_similarity_is_of_shingles_not_of_words():
    words = [f"w{number}" for number in range(60)]
    copies = NearCopies(0.7)
    copies.add(shingles(" ".join(words)))
    assert copies.has_near(shingles(" ".join(words[:-8])))
    assert not copies.has_near(shingles(" ".join(sorted(words, key=lambda word: word[::-1]))))


# -- fetching ----------------------------------------------------------------------------------------------------------


def test_a_failed_fetch_leaves_no_files_and_names_the_remedy(tmp_path, monkeypatch):
    program = tmp_path / "npm"
    program.write_text("#!/bin/sh\necho 'npm error 404 no such package' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    wanted = package("nothing", registry="npm", languages=("javascript",))
    with pytest.raises(SourceError, match="404 no such package") as caught:
        fetching.fetch(wanted, tmp_path / "sources")
    assert "--skip-missing" in str(caught.value)
    assert list((tmp_path / "sources" / "npm").iterdir()) == []


def test_archives_cannot_write_outside_their_folder(tmp_path):
    (tmp_path / "download").mkdir()
    with tarfile.open(tmp_path / "download" / "a.tgz", "w:gz") as archive:
        for name in ("../outside.js", "/outside.js", "package/inside.js"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"x;"))
        link = tarfile.TarInfo("package/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    archives.unpack(tmp_path / "download" / "a.tgz", tmp_path / "files", remedy="Try again.")
    assert not (tmp_path / "outside.js").exists()
    assert not (tmp_path / "files" / "package" / "link.js").exists()
    assert (tmp_path / "files" / "package" / "inside.js").read_text() == "x;"


def test_a_missing_package_stops_the_run_unless_it_may_be_skipped(tmp_path, sources):
    wanted = (*ALL, package("no-such-distribution", registry="site-packages"))
    with pytest.raises(SourceError, match="no-such-distribution is not installed"):
        run(tmp_path / "out", sources, *wanted)
    assert not (tmp_path / "out" / "manifest.json").exists()
    summary = mine(config(*wanted), tmp_path / "out", sources=sources, skip_missing=True, workers=1)
    assert list(summary["missing"]) == ["site-packages:no-such-distribution"]


def test_an_installed_package_must_have_the_pinned_version(tmp_path):
    with pytest.raises(SourceError, match="installed version of hypothesis"):
        fetching.fetch(package("hypothesis", registry="site-packages", version="0.0.1"), tmp_path)


# -- killed and resumed ------------------------------------------------------------------------------------------------


def test_a_killed_run_continues_where_it_stopped(tmp_path, sources):
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_mine import ALL, config, mine

        def kill(progress):
            if progress.stage == "mine" and progress.done == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        mine(config(*ALL), Path({str(tmp_path / "out")!r}), sources=Path({str(sources)!r}), workers=1, progress=kill)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program])
    assert killed.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "parts").glob("*.json.gz")}
    assert len(done) == 2
    assert not (tmp_path / "out" / "manifest.json").exists()

    run(tmp_path / "out", sources)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    run(tmp_path / "whole", sources)
    for file in ("train.jsonl.xz", "valid.jsonl.xz", "manifest.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_another_pin_is_mined_again(tmp_path, sources):
    run(tmp_path / "out", sources)
    moved = sources / "pypi" / "queues-1.1"
    (sources / "pypi" / "queues-1.0").rename(moved)
    (moved / "queues" / "core.py").write_text(QUEUE.replace("waited longest", "waited for the longest time"))
    run(tmp_path / "out", sources, package(version="1.1"), *ALL[1:])
    assert [one for one in rows_of(tmp_path / "out") if "longest time" in one["query"]]


def test_a_second_manifest_in_the_same_folder_loses_nothing_of_the_first(tmp_path, sources):
    run(tmp_path / "out", sources)
    files = [tmp_path / "out" / name for name in ("train.jsonl.xz", "valid.jsonl.xz", "manifest.json")]
    held = [file.read_bytes() for file in files]
    run(tmp_path / "out", sources, *ALL[:2], per_file=1)
    assert [file.read_bytes() for file in files] != held
    sources.rename(tmp_path / "gone")
    run(tmp_path / "out", sources)
    assert [file.read_bytes() for file in files] == held


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_counts_and_json(tmp_path, sources, capsys):
    (tmp_path / "mine.toml").write_text(
        "name_share = 0.5\nlanguage_share = 1.0\n"
        '[[packages]]\nname = "queues"\nregistry = "pypi"\nversion = "1.0"\nlicense = "MIT"\nlanguages = ["python"]\n'
    )
    words = ["pairs", "mine", tmp_path / "mine.toml", "--out", tmp_path / "out", "--sources", sources, "--workers", 1]
    assert cli.main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["train: 5 rows", "  kinds: doc 2, name 2, comment 1"]
    assert "left out: " in out
    assert err == ""
    assert cli.main([*(str(word) for word in words), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["train"]["languages"] == {"python": 5}


def test_the_command_explains_a_bad_manifest(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(
        '[[packages]]\nname = "ruby-sinatra"\nregistry = "debian"\nversion = "1"\nlicense = "MIT"\nlanguages = ["ruby"]'
    )
    assert cli.main(["pairs", "mine", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "ruby-sinatra belongs to a held-out benchmark (sinatra)" in capsys.readouterr().err


# --- source trees --------------------------------------------------------------------------------------------

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software"


def trees(folder):
    for path, text in {"queues/core.py": QUEUE, "queues/LICENSE": MIT, "my clock/clock.go": GO}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_folders_are_mined_as_packages_and_read_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # as a user types them
    trees(tmp_path)
    rest = ["--out", "pairs", "--quiet"]
    assert cli.main(["pairs", "mine", "queues/", *rest]) == 0
    with lzma.open("pairs/train.jsonl.xz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert {(row["source"], row["license"], row["path"]) for row in rows} == {("folder:queues", "MIT", "core.py")}
    assert "Removes the job that has waited longest and returns it." in {row["query"] for row in rows}
    (tmp_path / "queues" / "core.py").write_text(QUEUE.replace("Removes the job", "Drops the job"))
    assert cli.main(["pairs", "mine", "queues", "my clock", "--license", "LicenseRef-own", *rest]) == 0
    with lzma.open("pairs/train.jsonl.xz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert {(row["source"], row["license"]) for row in rows} == {
        ("folder:queues", "LicenseRef-own"), ("folder:my_clock", "LicenseRef-own"),
    }  # fmt: skip
    assert "Drops the job that has waited longest and returns it." in {row["query"] for row in rows}
    assert str(tmp_path) not in Path("pairs/manifest.json").read_text(), "where a tree lies is nobody's business"


def test_a_checkout_is_known_by_its_commit(tmp_path):
    trees(tmp_path)
    tree = tmp_path / "queues"
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tree, *words], check=True)
    head = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert [one.version for one in read_sources([tree]).packages] == [f"0+{head[:12]}"]


def test_folders_that_cannot_be_mined_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trees(tmp_path)
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "LICENSE").write_text(MIT)
    for words, said in {
        ("my clock",): "license of my clock: got 'unknown', allowed: 0BSD, ",
        ("click",): "package click belongs to a held-out benchmark (click)",
        ("queues", "queues"): "duplicate packages: got ['folder:queues'], allowed: each once",
        ("queues", "mine.toml"): "source tree: got 'mine.toml', allowed: a folder, as the others",
        ("mine.toml", "other.toml"): "allowed: one TOML file, or folders",
        ("nowhere",): "no settings file nowhere",
    }.items():
        assert cli.main(["pairs", "mine", *words, "--out", "pairs"]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()
