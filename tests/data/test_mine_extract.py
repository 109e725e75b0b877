"""Pairs of one file in each language, and texts that never become pairs.

``MOSE_UPDATE_GOLDEN=1 pytest tests/data/test_mine_extract.py`` writes the expected files anew; read the difference.
"""

import os
from pathlib import Path

import pytest

from mose.data.mine.extract import extract
from mose.syntax.documentation import parse_file
from mose.syntax.prose import description, fault

GOLDEN = Path(__file__).parents[1] / "golden" / "pairs"
LANGUAGES = sorted(path.suffix[1:] for path in GOLDEN.glob("sample.*"))


def mined(text, language, code_chars=1600):
    parsed = parse_file(text, language, f"sample.{language}")
    assert parsed is not None
    harvest = extract(parsed, code_chars=code_chars)
    harvest.link_declarations()
    return harvest


def shown(rows):
    return "\n".join(
        f"[{row.kind}] {row.query}\n" + "".join(f"    {line}\n" for line in row.code.split("\n")) for row in rows
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_of_a_sample_in_each_language(language):
    rows = mined((GOLDEN / f"sample.{language}").read_text(encoding="utf8"), language).rows
    expected = GOLDEN / f"{language}.expected"
    if os.environ.get("MOSE_UPDATE_GOLDEN"):
        expected.write_text(shown(rows), encoding="utf8")
    assert shown(rows) == expected.read_text(encoding="utf8")


def test_samples_cover_every_kind():
    kinds = {row.kind for name in LANGUAGES for row in mined((GOLDEN / f"sample.{name}").read_text(), name).rows}
    assert kinds == {"doc", "comment", "name", "file"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_does_not_contain_its_description(language):
    rows = mined((GOLDEN / f"sample.{language}").read_text(encoding="utf8"), language).rows
    for row in rows:
        if row.kind in ("doc", "comment"):
            assert row.query.rstrip(".") not in " ".join(row.code.split())


def test_code_is_cut_at_a_line_end():
    body = "".join(f"    value_{number} = compute({number})\n" for number in range(100))
    (row,) = [
        row
        for row in mined(f'def many(values):\n    """Computes a great many values."""\n{body}', "python", 300).rows
        if row.kind == "doc"
    ]
    assert len(row.code) <= 300
    assert row.code.split("\n")[-1].endswith(")")


def test_rejected_pairs_are_counted_by_reason():
    text = '''
def plain_function(a):
    return [one for one in a if one]


def other_function(a):
    """FIXME: broken since the last change."""
    b = [one for one in a if one]
    return b


def short_function(a):
    """Returns the first of all."""
    return a
'''
    dropped = mined(text, "python").dropped
    assert dropped["no documentation"] == 1
    assert dropped["note to developers"] == 1
    assert dropped["doc: little code"] == 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['"""Opens a file.', "", "More text.", '"""'], "Opens a file."),
        (["/**", " * Opens a {@link io.File file} again.", " * @param a b", " */"], "Opens a file again."),
        (["// Opens a file", "// and reads it."], "Opens a file and reads it."),
        (['/// <summary>Opens <see cref="T:Io.File"/> now.</summary>', '/// <param name="a"/>'], "Opens File now."),
        (['"""', "Title", "=====", "", "Opens the file for good.", '"""'], "Opens the file for good."),
        (["# Opens the +File+ with *care*."], "Opens the File with care."),
        (["/* \\brief Opens a file. */"], "Opens a file."),
        (['"""Opens :class:`~io.File` or ``None``.', "Args:", "  a: b", '"""'], "Opens File or None."),
        (["-- | Opens a file."], "Opens a file."),
        (["/** @param a only a tag */"], ""),
    ],
)
def test_description_is_the_first_paragraph_without_markup(lines, expected):
    assert description(lines) == expected


def test_long_description_keeps_whole_sentences():
    text = description(["# " + "This sentence has exactly seven words here. " * 12])
    assert text.endswith("here.")
    assert 50 < len(text.split()) <= 60


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("Opens a connection to the server.", ""),
        ("Opens it.", "too short"),
        ("See https://example.org for the reason", "link in text"),
        ("Copyright 2020 by the authors of this", "licence or credit"),
        ("return self.open(path, mode=3)", "reads like code"),
        ("Deprecated since the last version of this", "says nothing by itself"),
        ("Öffnet die Verbindung für größere Mengen überall", "not English"),
        ("word " * 61, "too long"),
    ],
)
def test_fault_names_the_reason(query, reason):
    assert fault(query.strip()) == reason
