"""Long questions: what is found by them in a tree."""

import pytest

import mose

TREE = {
    "clock/rounding.py": '''
def round_time(time):
    """The full hour nearest to a time."""
    return time.hour + (time.minute > 30)
''',
    "clock/fold.py": '''
def fold_hours(hours):
    """Hours folded into one day."""
    if hours < 0:
        raise ValueError("negative")
    return hours % 24


def unfold(hours, days):
    """Hours of several days."""
    return hours + 24 * days
''',
    "clock/console.py": '''
def print_banner(stream):
    """Version, platform and copyright, as shown when the console starts."""
    stream.write("Python 3.12 on linux, type help, copyright, credits or license for more information")


def read_line(stream):
    """One line of the console, with its prompt."""
    return stream.readline()
''',
    "clock/alarms.py": '''
class AlarmQueue:
    """Alarms that wait, the earliest first."""

    def push(self, alarm):
        self.alarms.append(alarm)

    def next_alarm(self):
        return min(self.alarms)
''',
    "tests/test_fold.py": """
from clock.fold import fold_hours


def test_fold_hours():
    assert fold_hours(25) == 1
""",
}


@pytest.fixture
def index(tmp_path):
    root = tmp_path / "tree"
    for path, text in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text.lstrip("\n"))
    with mose.CodeIndex.open(root) as opened:
        yield opened


def first(index, query):
    return index.search(query)[0]


BANNER = """
```
Python 3.12 on linux
Type help, copyright, credits or license for more information, the version and the platform of the console.
>>> console.start(stream, banner, prompt)
Python 3.12 on linux, type help, copyright, credits or license for more information
```
"""


def test_a_long_body_does_not_drown_the_title(index):
    hit = first(index, f"The nearest full hour of a time is wrong\n\nHere is what I see:\n{BANNER * 5}")
    assert hit.path == "clock/rounding.py"


def test_the_innermost_call_that_lies_in_the_tree_is_found_first(index):
    trace = """It fails

What I see with my own script:
Traceback (most recent call last):
  File "/home/me/run.py", line 3, in <module>
    main()
  File "/usr/lib/python3/site-packages/clock/console.py", line 9, in read_line
    step()
  File "/usr/lib/python3/site-packages/clock/fold.py", line 900, in fold_hours
    raise ValueError
  File "/usr/lib/python3/other/fold_it.py", line 4, in unknown
    raise ValueError
"""
    hits = index.search(trace, mose.SearchOptions(per_file=False))
    assert (hits[0].path, hits[0].symbol) == ("clock/fold.py", "fold_hours")
    pointed = {path: max((hit.parts.asked for hit in hits if hit.path == path), default=0.0) for path in TREE}
    assert pointed["clock/fold.py"] > pointed["clock/console.py"] > 0 == pointed["clock/rounding.py"]


def test_a_line_that_is_named_is_found(index):
    hit = first(index, "Strange\n\nI do not understand it.\nLook at clock/alarms.py:5, please.")
    assert hit.path == "clock/alarms.py" and hit.parts.asked > 0


@pytest.mark.parametrize(
    "mention", ["`unfold`", "unfold()", "clock.fold.unfold", "'unfold'"], ids=["ticks", "call", "dotted", "quotes"]
)
def test_a_name_of_the_tree_is_found_in_the_spelling_of_code(index, mention):
    hits = index.search(f"Wrong answer\n\nI get this with {mention} here.\nEvery day again.")
    assert hits[0].path == "clock/fold.py" and hits[0].parts.definition > 0


def test_a_name_of_the_title_says_more_than_one_of_quoted_code(index):
    text = "AlarmQueue gives the wrong one\n\nLike so:\n```\nx = round_time(fold_hours(now))\n```\n"
    assert first(index, text).path == "clock/alarms.py"


def test_names_that_the_tree_lacks_and_files_are_no_names(index):
    hits = index.search("It is wrong\n\nSee `numpy.array`, `push_all()` and\nthe page fold.html, please")
    assert all(hit.parts.definition == 0 for hit in hits)


@pytest.mark.parametrize("mode", ["fused", "lexical", "dense"])
def test_a_long_question_is_answered_in_every_mode(index, mode):
    text = f"The nearest full hour of a time is wrong\n\nIt is `round_time`.\n{BANNER}"
    assert index.search(text, mose.SearchOptions(mode=mode))[0].path == "clock/rounding.py"


def test_a_question_of_code_alone_is_answered(index):
    assert first(index, "```\nhours = hours % 24\nraise ValueError('negative')\n```\n").path == "clock/fold.py"


def test_the_same_long_question_has_the_same_answer(index):
    text = f"The nearest full hour is wrong\n\nIt is `round_time`, I think.\n{BANNER}"
    before = index.search(text)
    index.search("alarms")
    index.deepen()
    assert index.search(text) == before


def test_code_ranks_above_prose_and_templates_that_share_its_words(index):
    root = index.root
    (root / ".github").mkdir()
    (root / ".github" / "report.md").write_text("The nearest full hour of a time is wrong? Say what you expected.\n")
    (root / "CHANGES.rst").write_text("The nearest full hour of a time was wrong at half past, and is right now.\n")
    index.refresh()
    hits = index.search("The nearest full hour of a time is wrong\n\nI expected\nanother one.")
    assert hits[0].path == "clock/rounding.py"
    assert {"CHANGES.rst"} <= {hit.path for hit in hits[1:]}
