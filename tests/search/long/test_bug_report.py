"""A long question split into its parts."""

import pytest

from mose.search.long.bug_report import Frame, first_sentences, read_report
from mose.search.query import is_long

REPORT = """\
Times in the past are rounded up

<!-- Thanks for the report!
### Please search first -->
### Describe the bug

- [x] I have searched
`round_time` rounds 10:29 to 11:00, see [the manual](https://example.com/manual) and https://example.com/x/1.

**Steps to reproduce**

```pycon
>>> round_time("10:29")
'11:00'
```

    round_time("10:31")

It should be 10:00.

#### Environment
<details><summary>versions</summary>

Python 3.12 on Linux
clock: 4.5.1
</details>
```
numpy 1.2
```
### Anything else
No.
"""


def test_a_report_is_taken_apart():
    report = read_report(REPORT)
    assert report.title == "Times in the past are rounded up"
    assert report.prose.split("\n") == [
        "`round_time` rounds 10:29 to 11:00, see the manual and",
        "It should be 10:00.",
        "No.",
    ]
    assert report.code.split("\n") == ['>>> round_time("10:29")', "'11:00'", '    round_time("10:31")']
    assert report.traces == ()


@pytest.mark.parametrize(
    "line",
    [
        "clock: 4.5.1",
        "- Python version: 3.11.2",
        "numpy==1.26.0",
        "OS: Linux 5.4",
        "scipy: None",
        "- [ ] tested",
        "-----",
    ],
)
def test_versions_checklists_and_dividers_are_not_prose(line):
    assert read_report(f"A title\n\nIt fails.\n{line}").prose == "It fails."


@pytest.mark.parametrize("line", ["The limit: 3 of 4 fail.", "Use 2.5 instead of 2.4 here", "What: nothing happens"])
def test_sentences_with_numbers_are_prose(line):
    assert read_report(f"A title\n\n{line}").prose == line


TRACES = {
    "python": """\
Traceback (most recent call last):
  File "<stdin>", line 1, in <module>
  File "/home/a/lib/clock/rounding.py", line 12, in round_time
    return fold(time)
  File "C:\\\\lib\\\\clock\\\\fold.py", line 40, in fold
    raise ValueError
ValueError""",
    "python behind a log's prefix": """\
ERROR> Traceback (most recent call last):
ERROR>   File "clock/rounding.py", line 12, in round_time
ERROR>     return fold(time)
ERROR>   File "clock/fold.py", line 40, in fold""",
    "pytest": "clock/rounding.py:12: in round_time\n    return fold(time)\nclock/fold.py:40: ValueError",
    "javascript": "TypeError: x\n    at fold (/app/clock/fold.js:40:7)\n    at Clock.round (/app/clock/rounding.js:12:3)",
    "java": "\tat org.clock.Fold.fold(Fold.java:40)\n\tat app//org.clock.Clock.round(Rounding.java:12)",
    "c#": "   at Clock.Fold.Apply(Int32 x) in C:\\\\src\\\\Fold.cs:line 40\n   at Clock.Round() in /src/Rounding.cs:line 12",
    "ruby": "lib/clock/fold.rb:40:in `fold': x (ArgumentError)\n\tfrom lib/clock/rounding.rb:12:in `round_time'",
    "php": "#0 /app/clock/fold.php(40): Clock\\\\fold()\n#1 /app/clock/rounding.php(12): Clock->round(1)",
    "go": "clock.Fold(0x1)\n\t/src/clock/fold.go:40 +0x1d\nclock.Round()\n\t/src/clock/rounding.go:12 +0x2a",
}


@pytest.mark.parametrize("language", TRACES)
def test_the_innermost_call_of_a_trace_stands_first(language):
    traces = read_report(f"It fails\n\nLike so:\n```\n{TRACES[language]}\n```\n").traces
    lines = [frame.line for trace in traces for frame in trace if frame.path != "<stdin>"]
    assert lines == [40, 12]
    first = traces[0][0]
    assert first.path.lower().rpartition("/")[2].startswith("fold.") and "\\" not in first.path


def test_two_traces_are_two():
    trace = (
        'Traceback (most recent call last):\n  File "{0}.py", line 1, in f\n    g()\n  File "{0}2.py", line 2, in g\n'
    )
    report = read_report("It fails\n\n" + trace.format("a") + "ValueError\n\n" + trace.format("b"))
    assert [[frame.path for frame in trace] for trace in report.traces] == [["a2.py", "a.py"], ["b2.py", "b.py"]]


def test_a_line_that_the_writer_names_is_a_trace_of_one():
    text = "It fails\n\nSee https://github.com/a/clock/blob/1f0c/src/fold.py#L40 and src/rounding.py:12, not 10:30."
    assert read_report(text).traces == (
        (Frame(path="src/fold.py", line=40),),
        (Frame(path="src/rounding.py", line=12),),
    )


def test_a_first_line_without_end_is_cut_at_a_sentence():
    report = read_report("It fails. " + "Nobody knows why it does. " * 20)
    assert report.title.startswith("It fails. Nobody") and len(report.title) <= 150 and report.title.endswith(".")
    assert report.prose.startswith("Nobody knows why")


def test_a_title_stands_before_or_in_the_first_heading():
    assert read_report("## Describe the bug\nTimes are wrong\n\nAlways.").title == "Times are wrong"
    assert read_report("# Times are wrong\n\nAlways.").title == "Times are wrong"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parse a date", False),
        ("word " * 40, False),
        ("word " * 41, True),
        ("one\n\ntwo", False),
        ("one\ntwo\nthree", True),
    ],
)
def test_what_is_long(text, expected):
    assert is_long(text) is expected


def test_of_a_sentence_without_end_the_beginning_is_kept():
    assert first_sentences("a" * 50, 20) == "a" * 20
    assert first_sentences("", 20) == ""


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit",
    ["a-", "[", "[a](", "<!--", "a.b/", "at ", "<a ", "- [", "a: 1.", "`", 'File "', "#0 a(", "https://blob/", "** "],
)
def test_hostile_lines_take_no_time(unit):
    for text in (unit * (20_000 // len(unit)), f"title\n\n{unit * (20_000 // len(unit))}\nend"):
        read_report(text)
