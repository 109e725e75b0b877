"""``mose eval-repo`` on a tiny repository: the golden set, what is searched, the table, and baselines."""

import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest

from mose.errors import ConfigError, DataError
from mose.evaluate.repository import copying, run
from mose.evaluate.repository.baseline import load_baseline, save_baseline
from mose.evaluate.repository.benchmark import Location
from mose.evaluate.repository.comparison import check
from mose.evaluate.repository.golden import blanked_lines
from mose.evaluate.repository.measure import scores
from mose.evaluate.repository.values import GoldenQuery
from mose.search.hits import Hit, Parts

POOL = '''
"""Connections to other machines."""


class ProxyPool:
    def acquire(self, host, port):
        """Take an idle connection, or open a new one.

        Args:
            host: Where to.
        """
        if self.idle:
            return self.idle.pop()
        return connect(host, port)

    def release(self, connection):
        """Give it back."""
        if len(self.idle) < self.size:
            self.idle.append(connection)
'''
DATES = '''
def parse_iso_date(text):
    """Read a date in ISO 8601 form."""
    year, month, day = text.split("-")
    return int(year), int(month), int(day)


def format_duration(seconds):
    # not its documentation
    return f"{seconds // 3600}h {seconds % 3600 // 60}m"
'''
CACHE = """
package store

// Evict removes the entry that was not used for the longest time.
func (c *Cache) Evict() {
    for key := range c.items {
        delete(c.items, key)
        return
    }
}
"""
TESTS = """
from pool import ProxyPool
from dates import parse_iso_date


def test_parse_iso_date_needs_three_parts():
    assert parse_iso_date("2024-05-01") == (2024, 5, 1)


class TestProxyPool:
    def test_acquire_after_release(self):
        assert ProxyPool().acquire("host", 1)

    def test_empty(self):
        assert ProxyPool()

    def test_nothing_that_is_defined_here(self):
        assert format(1)
"""
COMMITS = [
    ("Initial commit", {"README.md": "# A sample\n"}),
    ("feat: open connections through a proxy (#1)", {"pool.py": POOL, "README.md": "# A sample\n\nOpens.\n"}),
    ("Read dates as people write them", {"dates.py": DATES, "tests/test_pool.py": TESTS, "old.py": "x = 1\n"}),
    ("Drop what is oldest from the cache", {"cache.go": CACHE}),
    ("Remove the old module at last", {"old.py": None}),
    ("Count lines in every file", {f"data/{number}.txt": f"{number}\n" for number in range(6)}),
    ("Fix typo", {"README.md": "# Sample\n"}),
    ("Bump version to 1.1", {"README.md": "# Sample 1.1\n"}),
]


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "shop"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for subject, files in COMMITS:
        for path, text in files.items():
            (root / path).parent.mkdir(exist_ok=True)
            if text is None:
                (root / path).unlink()
            else:
                (root / path).write_text(text.lstrip("\n"))
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", subject)
    return root


def git(root, *words):
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", root, *words], check=True, env={**os.environ, **who, **alone})


def lines(path, first, last):
    return (Location(path=path, start_line=first, end_line=last),)


GOLDEN = {
    GoldenQuery(
        kind="docs",
        text="Take an idle connection, or open a new one",
        targets=lines("pool.py", 5, 13),
        blanked=(6, 7, 8, 9, 10),
    ),
    GoldenQuery(kind="docs", text="Give it back", targets=lines("pool.py", 15, 18), blanked=(16,)),
    GoldenQuery(kind="docs", text="Read a date in ISO 8601 form", targets=lines("dates.py", 1, 4), blanked=(2,)),
    GoldenQuery(
        kind="docs",
        text="removes the entry that was not used for the longest time",
        targets=lines("cache.go", 4, 9),
        blanked=(3,),
    ),
    GoldenQuery(kind="history", text="open connections through a proxy", targets=(Location(path="pool.py"),)),
    GoldenQuery(kind="history", text="Read dates as people write them", targets=(Location(path="dates.py"),)),
    GoldenQuery(kind="history", text="Drop what is oldest from the cache", targets=(Location(path="cache.go"),)),
    GoldenQuery(
        kind="tests",
        text="parse iso date needs three parts",
        targets=lines("dates.py", 1, 4),
        left_out="tests/test_pool.py",
    ),
    GoldenQuery(
        kind="tests",
        text="proxy pool acquire after release",
        targets=lines("pool.py", 5, 13),
        left_out="tests/test_pool.py",
    ),
    GoldenQuery(kind="tests", text="proxy pool empty", targets=lines("pool.py", 4, 18), left_out="tests/test_pool.py"),
}


def test_golden_set_comes_from_the_tree_itself(repository):
    _, golden = run.golden_set(repository)
    assert set(golden.queries) == GOLDEN
    assert {kind: (report.num_found, dict(report.dropped)) for kind, report in golden.reports.items()} == {
        "docs": (4, {}),
        "history": (
            8,
            {"files no longer there": 1, "more than 5 files": 1, "tidying": 2, "versions and dependencies": 1},
        ),
        "tests": (4, {"calls nothing that it names": 1}),
    }


def test_golden_set_of_a_folder_inside_the_repository(repository):
    (repository / "web").mkdir()
    (repository / "web" / "login.py").write_text('def sign_in(user):\n    """Start a session."""\n    return user\n')
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Sessions begin with a password")
    _, golden = run.golden_set(repository / "web")
    assert [(query.kind, query.targets[0].path) for query in golden.queries] == [
        ("docs", "login.py"),
        ("history", "login.py"),
    ]


def test_sample_is_seeded_and_kept_when_the_tree_grows(repository):
    def sample(seed):
        return {query.key for query in run.golden_set(repository, num_queries=2, seed=seed)[1].queries}

    assert len(sample(0)) == 6
    assert sample(0) == sample(0)
    assert len({frozenset(sample(seed)) for seed in range(8)}) > 1
    before = sample(0)
    (repository / "more.py").write_text('def f(x):\n    """Quite another thing."""\n    return x\n')
    assert len(before - sample(0)) <= 1


def test_text_of_queries_is_not_in_the_copy_and_lines_stay(repository, tmp_path):
    files, golden = run.golden_set(repository)
    copy = tmp_path / "copy"
    copy.mkdir()
    copying.copy_tree(repository, files, blanked_lines(golden.queries), copy)
    for query in golden.queries:
        path = query.targets[0].path
        before, after = (repository / path).read_text().split("\n"), (copy / path).read_text().split("\n")
        assert len(before) == len(after)
        if query.kind == "docs":
            assert query.text.split(",")[0] not in (copy / path).read_text()
        blank = blanked_lines(golden.queries)[path]
        assert [line for at, line in enumerate(after, 1) if at not in blank] == [
            line for at, line in enumerate(before, 1) if at not in blank
        ]
    assert "Take an idle" in (repository / "pool.py").read_text()
    assert not (copy / ".git").is_dir()


def test_the_whole_command(mose, repository, home):
    code, out, err = mose("eval-repo", repository, "--exit", 0)
    assert code == 0, err
    assert re.sub(r"model [\da-f]{16}", "model ID", out) == TABLE
    assert not list((home / "trees").glob("*")), "the user's indexes are untouched"
    assert sorted(path.name for path in repository.iterdir()) == [
        ".git", "README.md", "cache.go", "data", "dates.py", "pool.py", "tests"
    ]  # fmt: skip
    assert mose("eval-repo", repository, "--exit", 0)[1] == out


TABLE = """\
shop: 11 files, 11 chunks; model ID
  docs        4 queries; 4 of 4 usable
  history     3 queries; 3 of 8 usable (2 tidying, 1 files no longer there, 1 more than 5 files, 1 versions and dependencies)
  tests       3 queries; 3 of 4 usable (1 calls nothing that it names)

all, 10 queries          NDCG@10  95 % interval   Recall@10  in 4,000 tokens
  lexical                  0.800  0.500 to 1.000      0.800            0.800
  dense 0                  0.893  0.720 to 1.000      1.000            1.000
  fused 0                  0.893  0.720 to 1.000      1.000            1.000

docs, 4 queries          NDCG@10  95 % interval   Recall@10  in 4,000 tokens
  lexical                  0.500  0.000 to 1.000      0.500            0.500
  dense 0                  0.733  0.466 to 1.000      1.000            1.000
  fused 0                  0.733  0.466 to 1.000      1.000            1.000

history, 3 queries       NDCG@10  95 % interval   Recall@10  in 4,000 tokens
  lexical                  1.000  1.000 to 1.000      1.000            1.000
  dense 0                  1.000  1.000 to 1.000      1.000            1.000
  fused 0                  1.000  1.000 to 1.000      1.000            1.000

tests, 3 queries         NDCG@10  95 % interval   Recall@10  in 4,000 tokens
  lexical                  1.000  1.000 to 1.000      1.000            1.000
  dense 0                  1.000  1.000 to 1.000      1.000            1.000
  fused 0                  1.000  1.000 to 1.000      1.000            1.000
"""


def test_json_is_one_object(mose, repository):
    code, out, _ = mose("eval-repo", repository, "--exit", 0, "--json")
    assert code == 0
    (line,) = out.splitlines()
    found = json.loads(line)
    assert [block["name"] for block in found["scores"]] == ["all", "docs", "history", "tests"]
    assert [row["system"] for row in found["scores"][0]["rows"]] == ["lexical", "dense 0", "fused 0"]
    assert found["commit"] == head(repository)
    assert (found["dirty"], found["check"], found["budget_tokens"]) == (False, None, 4000)


def head(repository):
    done = subprocess.run(["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_default_exits_are_the_shallowest_and_the_deepest(repository):
    report = run.evaluate_tree(run.TreeRequest(path=repository))
    assert [system.name for system in report.systems] == ["lexical", "dense 0", "dense 6", "fused 0", "fused 6"]
    assert report.values.shape == (5, 10, 3)
    assert report.values[-1, :, 1].mean() > 0.8


def test_list_shows_queries_without_measuring(mose, repository, monkeypatch):
    monkeypatch.setattr(run, "CodeIndex", None)
    code, out, err = mose("eval-repo", repository, "--list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {(row["kind"], row["query"]) for row in rows} == {query.key for query in GOLDEN}
    assert {"kind": "docs", "query": "Give it back", "targets": ["pool.py:15-18"]} in rows
    assert "tests: 3 of 4 usable (1 calls nothing that it names)" in err
    assert "docs     Give it back\n         pool.py:15-18\n" in mose("eval-repo", repository, "--list")[1]


def test_save_and_check_pass_on_the_same_tree(mose, repository, tmp_path):
    baseline = tmp_path / "baseline.json"
    code, _, err = mose("eval-repo", repository, "--exit", 0, "--save", baseline)
    assert (code, f"Saved {baseline}.\n" in err) == (0, True)
    assert [path.name for path in tmp_path.iterdir() if "baseline" in path.name] == ["baseline.json"]
    code, out, err = mose("eval-repo", repository, "--check", baseline)
    assert code == 0, err
    assert "10 queries as before" in out
    assert re.search(r"fused 0 +(\d\.\d{3}) +\1 +\+0\.000, \+0\.000 to \+0\.000\n", out)


def test_check_leaves_out_queries_that_are_gone(mose, repository, tmp_path):
    baseline = tmp_path / "baseline.json"
    mose("eval-repo", repository, "--exit", 0, "--save", baseline)
    (repository / "cache.go").unlink()
    (repository / "new.py").write_text('def f(x):\n    """Quite another thing."""\n    return x\n')
    code, out, _ = mose("eval-repo", repository, "--check", baseline)
    assert code == 0
    assert "8 queries as before" in out
    assert "2 are gone" in out


def test_a_broken_ranking_fails_the_check(mose, repository, tmp_path, monkeypatch):
    from mose.search.index import CodeIndex

    baseline = tmp_path / "baseline.json"
    mose("eval-repo", repository, "--exit", 0, "--save", baseline)
    whole = CodeIndex.search
    monkeypatch.setattr(CodeIndex, "search", lambda *words, **options: whole(*words, **options)[::-1])
    code, out, err = mose("eval-repo", repository, "--check", baseline)
    assert code == 1
    assert "  worse\n" in out
    assert re.search(
        r"Regression: NDCG@10 of fused 0 fell from 0\.\d{3} to 0\.\d{3} "
        r"\(by 0\.\d{3}; 95 % interval 0\.\d{3} to 0\.\d{3}\)\.\n",
        err,
    )


def test_one_query_that_falls_is_noise(repository, tmp_path):
    report = run.evaluate_tree(run.TreeRequest(path=repository, exits=[0]))
    save_baseline(report, tmp_path / "baseline.json")
    report.values[:, 0, 0] = 0.0
    assert not check(report, load_baseline(tmp_path / "baseline.json")).regressions
    report.values[:, :6, 0] = 0.0
    assert len(check(report, load_baseline(tmp_path / "baseline.json")).regressions) == 3


def hit(path, first, last, num_chars=40):
    text = "x" * num_chars
    return Hit(
        path=path, start_line=first, end_line=last, symbol="", language="python", score=0.0, text=text, parts=Parts()
    )


@pytest.mark.parametrize(
    ("hits", "targets", "values"),
    [
        ([hit("a.py", 1, 10)], lines("a.py", 3, 4), (1.0, 1.0, 1.0)),
        ([hit("b.py", 1, 10), hit("a.py", 3, 3)], lines("a.py", 3, 4), (1 / math.log2(3), 1.0, 0.5)),
        ([hit("a.py", 4, 9), hit("a.py", 1, 3)], lines("a.py", 2, 5), (1.0, 1.0, 1.0)),
        ([hit("a.py", 5, 9)], lines("a.py", 3, 4), (0.0, 0.0, 0.0)),
        ([hit("b/a.py", 3, 4)], lines("a.py", 3, 4), (0.0, 0.0, 0.0)),  # the same name in another folder
        ([hit("test.py", 1, 9), hit("a.py", 3, 4)], lines("a.py", 3, 4), (1.0, 1.0, 1.0)),  # where the text stands
        ([hit("b.py", 1, 9, 300), hit("a.py", 3, 4, 101)], lines("a.py", 3, 4), (1 / math.log2(3), 1.0, 0.0)),
        ([hit("b.py", 1, 9, 300), hit("a.py", 3, 4, 100)], lines("a.py", 3, 4), (1 / math.log2(3), 1.0, 1.0)),
        ([hit(f"{n}.py", 1, 1) for n in range(10)] + [hit("a.py", 3, 4, 0)], lines("a.py", 3, 4), (0.0, 0.0, 1.0)),
        (
            [hit("a.py", 7, 9)],
            (Location(path="a.py"), Location(path="b.py")),
            (1 / (1 + 1 / math.log2(3)), 0.5, 0.5),
        ),
    ],
)
def test_scores_by_hand(hits, targets, values):
    query = GoldenQuery(kind="docs", text="q", targets=targets, left_out="test.py")
    assert scores(hits, query, budget_tokens=100) == pytest.approx(values)


def test_a_tree_without_queries_is_an_error_with_reasons(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    return 1\n")
    with pytest.raises(DataError) as error:
        run.golden_set(tmp_path)
    assert str(error.value).startswith(
        f"nothing in {tmp_path} makes a query.\n  docs: no function has documentation\n"
        "  history: there is no git history\n  tests: there are no tests"
    )


def test_baseline_of_another_tree(repository, tmp_path):
    save_baseline(run.evaluate_tree(run.TreeRequest(path=repository, exits=[0])), tmp_path / "baseline.json")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text('def f(x):\n    """Quite another thing."""\n    return x\n')
    with pytest.raises(DataError, match=r"of another tree: 0 of its 10 queries are found here"):
        run.evaluate_tree(run.TreeRequest(path=other), baseline=load_baseline(tmp_path / "baseline.json"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "{", r"baseline\.json, line 1 is not JSON"),
        (lambda text: "[]", r"is not a baseline: got 'list'"),
        (lambda text: "{}", r"is not a baseline"),
        (lambda text: text.replace('"seed"', '"sed"'), r"is damaged: no field 'seed'"),
        (lambda text: text.replace('"fused 0"', '"fused 1"', 1), r"is damaged: "),
        (lambda text: re.sub(r'"lexical": \[\s*[\d.]+', '"lexical": [7', text, count=1), r"between 0 and 1"),
        (lambda text: re.sub(r'"lexical": \[\s*[\d.]+,', '"lexical": [', text, count=1), r"is damaged: "),
        (lambda text: re.sub(r'"kind": "docs"', '"kind": "dogs"', text, count=1), r"query 1 has no kind"),
        (lambda text: re.sub(r'"queries": \[.*\]', '"queries": []', text, flags=re.DOTALL), r"has no queries"),
    ],
)
def test_damaged_baseline(saved, damage, message):
    saved.write_text(damage(saved.read_text()))
    with pytest.raises(DataError, match=message):
        load_baseline(saved)


@pytest.fixture
def saved(repository, tmp_path):
    path = tmp_path / "baseline.json"
    save_baseline(run.evaluate_tree(run.TreeRequest(path=repository, exits=[0], num_queries=1)), path)
    assert load_baseline(path).exits == (0,)
    return path


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "SourceError: there is no folder nowhere."),
        (["README.md"], 2, "SourceError: README.md is not a folder"),
        ([".", "--exit", "5"], 2, "ConfigError: --exit: got 5, allowed: 0, 2, 3, 4, 6."),
        ([".", "--queries", "0"], 2, "ConfigError: --queries: got 0, allowed: 1 or more."),
        ([".", "--budget-tokens", "0"], 2, "ConfigError: --budget-tokens: got 0, allowed: 1 or more."),
        ([".", "--check", "none.json"], 2, "DataError: there is no baseline none.json."),
        ([".", "--save", "none/b.json"], 2, "DataError: there is no folder none."),
        ([".", "--save", "a.json", "--check", "a.json"], 2, "not allowed with argument"),
        ([".", "--model", "nowhere"], 2, "ModelError: "),
    ],
)
def test_errors_name_the_value_and_the_remedy(mose, repository, monkeypatch, words, code, message):
    monkeypatch.chdir(repository)
    got, out, err = mose("eval-repo", *words)
    assert (got, out) == (code, "")
    assert message in err


def test_budget_must_be_that_of_the_baseline(repository, saved):
    with pytest.raises(ConfigError, match=r"--budget-tokens: got 9, allowed: 4000, as the baseline has it"):
        run.evaluate_tree(run.TreeRequest(path=repository, budget_tokens=9), baseline=load_baseline(saved))


def test_a_text_with_several_locations_is_not_a_query(repository):
    (repository / "more.py").write_text(DATES.replace("parse_iso_date", "other"))
    _, golden = run.golden_set(repository)
    assert "Read a date in ISO 8601 form" not in {query.text for query in golden.queries}
    assert golden.reports["docs"].dropped == {"the same text more than once": 2}


def test_an_interrupted_run_embeds_no_text_twice(repository, monkeypatch):
    from mose.runtime.encoder import Encoder
    from mose.search.index import CodeIndex

    whole, search = Encoder.encode, CodeIndex.search
    monkeypatch.setattr(CodeIndex, "search", lambda *_, **__: 1 / 0)  # all chunks are read by then
    with pytest.raises(ZeroDivisionError):
        run.evaluate_tree(run.TreeRequest(path=repository, exits=[2]))

    def no_code(encoder, texts, *, kind="code", **options):
        assert kind == "query" or encoder.exit == 0
        return whole(encoder, texts, kind=kind, **options)

    monkeypatch.setattr(CodeIndex, "search", search)
    monkeypatch.setattr(Encoder, "encode", no_code)
    assert run.evaluate_tree(run.TreeRequest(path=repository, exits=[2])).values.shape == (3, 10, 3)


def test_help_shows_an_example(mose):
    assert "example:\n  mose eval-repo path/to/tree --save baseline.json" in mose("eval-repo", "--help")[1]


def test_ctrl_c_leaves_no_files(mose, repository, tmp_path, monkeypatch):
    import tempfile

    from mose.search.index import CodeIndex

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    seen = []

    def interrupted(index, *_, **__):
        seen.append(Path(index.root))
        raise KeyboardInterrupt

    monkeypatch.setattr(CodeIndex, "search", interrupted)
    assert mose("eval-repo", repository, "--exit", 0)[0] == 130
    assert seen[0].is_relative_to(tmp_path / "temporary")
    assert not list((tmp_path / "temporary").iterdir())
