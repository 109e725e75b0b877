"""Commits and the functions that they changed."""

import json
import subprocess

import pytest

from mose.cli import main
from mose.data.mine.commit_subjects import clean_subject, subject_fault
from mose.data.pairs import read_objects

BEFORE = """\
import os


class Store:
    def load(self, path):
        with open(path) as file:
            return file.read()

    def save(self, path, text):
        with open(path, "w") as file:
            file.write(text)


def remove_all(paths):
    for path in paths:
        os.remove(path)
"""


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def clones(tmp_path):
    folder = tmp_path / "clones" / "store"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")

    def commit(subject, **files):
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_py", ".py").replace("_md", ".md")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", subject)

    commit("initial import of everything there is", store_py=BEFORE)
    text = BEFORE.replace("os.remove(path)", "os.unlink(path)")
    commit("fix(store): remove links and not what they point to (#12)", store_py=text)
    two = text.replace("return file.read()", "return file.read().strip()").replace(
        "import os\n", "import os\nimport re\n"
    )
    commit("Loaded texts keep no white space at their ends", store_py=two, tests__test_store_py="def test(): pass")
    commit("Describe how texts are loaded and saved", README_md="words")
    commit("Put spaces around what is written there", store_py=two.replace("file.write(text)", "file.write( text )"))
    commit("Bump version to 1.2.3", store_py=two)
    many = two.replace("path", "place")
    commit("Paths of files are called places in all of it", store_py=many)
    four = many + "".join(f"\n\ndef f{n}():\n    return {n}\n" for n in range(4))
    commit("Four functions that return a small number", store_py=four)
    commit("Numbers that functions return grow by ten each", store_py=four.replace("return 0", "return 10")
           .replace("return 1\n", "return 11\n").replace("return 2", "return 12").replace("return 3", "return 13"))  # fmt: skip
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    (tmp_path / "histories.toml").write_text(
        f'[[repositories]]\nname = "owner/store"\ncommit = "{head.strip()}"\nlicense = "MIT"\n'
    )
    return tmp_path


def run(folder, *more):
    return main(["pairs", "history", f"{folder}/histories.toml", "--clones", f"{folder}/clones", "--out",
                 f"{folder}/out", "--workers", "1", "--quiet", *more])  # fmt: skip


def test_subjects_are_paired_with_functions_as_they_were_before(clones, capsys):
    assert run(clones, "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    rows = [row for _, row in read_objects(clones / "out" / "train.jsonl.xz")]
    assert [(row["query"], row["func"]) for row in rows] == [
        ("Paths of files are called places in all of it", "Store.load"),
        ("Paths of files are called places in all of it", "Store.save"),
        ("Paths of files are called places in all of it", "remove_all"),
        ("Loaded texts keep no white space at their ends", "Store.load"),
        ("remove links and not what they point to", "remove_all"),
    ]
    assert rows[-1]["code"] == "def remove_all(paths):\n    for path in paths:\n        os.remove(path)"
    assert rows[3]["code"].splitlines()[0] == "class Store:"
    assert rows[3]["group"] != rows[4]["group"]
    assert rows[0]["group"] == rows[1]["group"]
    assert {row["source"] for row in rows} == {"git:owner/store"}
    dropped = counts["dropped"]
    assert dropped["changes more than 3 functions"] == 1
    assert dropped["commit: versions and dependencies"] == 1
    assert dropped["commit: changes no code that was there"] >= 1


def test_a_bare_clone_gives_the_same(clones, tmp_path):
    assert run(clones) == 0
    first = list(read_objects(clones / "out" / "train.jsonl.xz"))
    (clones / "bare").mkdir()
    git(clones, "clone", "-q", "--bare", f"{clones}/clones/store", f"{clones}/bare/store")
    (clones / "clones").rename(clones / "away")
    (clones / "bare").rename(clones / "clones")
    assert run(clones) == 0
    assert list(read_objects(clones / "out" / "train.jsonl.xz")) == first


def test_copies_of_evaluation_rows_are_left_out(clones):
    code = "def remove_all(paths):\n    for path in paths:\n        os.remove(path)"
    (clones / "DATA").mkdir()
    (clones / "DATA" / "test.jsonl").write_text(json.dumps({"code": code, "query": "x", "language": "python"}) + "\n")
    assert run(clones, "--exclude-near", f"{clones}/DATA") == 0
    rows = [row for _, row in read_objects(clones / "out" / "train.jsonl.xz")]
    assert "remove links and not what they point to" not in {row["query"] for row in rows}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("owner/store", "pallets/flask", "belongs to a held-out benchmark (flask)"),
        ('"MIT"', '"GPL-3.0"', "license of owner/store"),
        ("owner/store", "owner/gone", "git clone https://github.com/owner/gone"),
        ("commit =", f"commit = '{'f0' * 20}' #", "cannot be read from f0f0"),
        ("commit =", "commit = '--output=here' #", "a whole hash"),
        ("commit =", "commit = 'HEAD' #", "a whole hash"),
        ("owner/store", "owner/..", "repository name"),
        ("[[repositories]]", "near = nan\n[[repositories]]", "near: got nan"),
    ],
)
def test_a_bad_manifest_is_told(clones, capsys, old, new, said):
    file = clones / "histories.toml"
    file.write_text(file.read_text().replace(old, new))
    assert run(clones) == 2
    assert said in capsys.readouterr().err
    assert not (clones / "out").exists()


def test_marks_in_subjects_and_names_that_git_quotes_change_nothing(clones):
    """A subject with the sign that commits were told apart by, and a file that git names in quotes."""
    folder = clones / "clones" / "store"
    name = "sch\N{LATIN SMALL LETTER O WITH DIAERESIS}n.py"
    for subject, text in (("a file with a name of its own", BEFORE), ("Loaded \x01texts keep no space at their ends",
                           BEFORE.replace("file.read()", "file.read().strip()"))):  # fmt: skip
        (folder / name).write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", subject)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    (clones / "histories.toml").write_text(
        f'[[repositories]]\nname = "owner/store"\ncommit = "{head.strip()}"\nlicense = "MIT"\n'
    )
    assert run(clones) == 0
    first = next(row for _, row in read_objects(clones / "out" / "train.jsonl.xz"))
    assert (first["path"], first["func"]) == (name, "Store.load")


def test_subjects_are_cleaned_and_refused():
    assert clean_subject("[parser] Accept empty lists, closes #3") == "Accept empty lists,"
    assert subject_fault("update dev dependencies", "update dev dependencies", ()) == "versions and dependencies"


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("tpl/os: Revert to the old reading of folders", "reverts and reverted"),
        ("Update babel to v8.0.0-rc.5", "versions and dependencies"),
        ("deps: Upgrade to libwebp 1.3.2", "versions and dependencies"),
        ("Renamed wrapper to adapter for clarity", "tidying"),
        ("graph.cc: constify the scan of dependencies", "tidying"),
        ("Cleaned up the exception message", "tidying"),
        ("Refactoring of the settings page", "tidying"),
        ("Updated Javadoc for new public types", "documentation"),
        ("Better docs for the body of a response", "documentation"),
        ("globset: expand docs of the builder", "documentation"),
        ("Clean caches that nobody uses before a download", ""),
        ("Fix parsing of documentation comments in lists", ""),
        ("Update the list of files to 3 columns when it is wide", ""),
        ("Simplify analysis of locked packages", ""),
    ],
)
def test_subjects_that_say_nothing_of_the_code_are_refused(subject, reason):
    assert subject_fault(subject, clean_subject(subject), ()) == reason


def test_tests_inside_a_source_of_rust_are_no_answer(tmp_path):
    folder = tmp_path / "clones" / "store"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    code = (
        "pub fn trim(text: &str) -> &str {\n    text.trim()\n}\n\n"
        '#[cfg(test)]\nmod tests {\n    #[test]\n    fn trims() {\n        assert_eq!(trim(" a"), "a");\n    }\n}\n'
    )
    for subject, text in (
        ("initial import of everything there is", code),
        (
            "White space at the beginning of a text is kept",
            code.replace("trim()", "trim_end()").replace('" a"', '"b "'),
        ),
    ):
        (folder / "lib.rs").write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", subject)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    (tmp_path / "histories.toml").write_text(
        f'[[repositories]]\nname = "owner/store"\ncommit = "{head.strip()}"\nlicense = "MIT"\n'
    )
    assert run(tmp_path) == 0
    assert [row["func"] for _, row in read_objects(tmp_path / "out" / "train.jsonl.xz")] == ["trim"]
