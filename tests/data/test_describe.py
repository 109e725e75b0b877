from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mose.config import DataConfig, SourceConfig
from mose.data.describe import add_description
from mose.data.sources import open_sources

TEXT = " ".join(f"word{n}" for n in range(400))


@pytest.mark.parametrize(("language", "mark"), [("python", "# "), ("ruby", "# "), ("go", "// "), ("java", "// ")])
def test_comment_holds_half_the_words_in_their_order(language: str, mark: str) -> None:
    first, _, rest = add_description("f(x)\ng(x)", TEXT, language, np.random.default_rng(0)).partition("\n")
    assert rest == "f(x)\ng(x)" and first.startswith(mark)
    numbers = [int(word.removeprefix("word")) for word in first.removeprefix(mark).split()]
    assert numbers == sorted(set(numbers)) and 160 < len(numbers) < 240


def test_text_without_words_leaves_the_code_alone() -> None:
    assert add_description("f(x)", " ", "go", np.random.default_rng(0)) == "f(x)"


def test_comments_come_as_often_as_asked_and_never_between_two_codes(tmp_path: Path) -> None:
    rows = [
        {"query": f"{TEXT} {n}", "code": f"{language} body of {n}", "language": language, "group": f"g{n}"}
        for n in range(300)
        for language in ("go", "java")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(
        folder=str(tmp_path),
        describe=0.3,
        rename=0.0,
        hide_name=0.0,
        sources=(
            SourceConfig(name="texts", file="rows.jsonl"),
            SourceConfig(name="plain", file="rows.jsonl", describe=0.0),
            SourceConfig(name="codes", file="rows.jsonl", task="code-code"),
        ),
    )
    rng = np.random.default_rng(1)
    share = {}
    for source in open_sources(config, batch_pairs=4, mixed=False):
        pairs = [source.pair(source.pick(unit, rng), rng) for unit in range(len(source))]
        share[source.name] = sum(pair.code.startswith("// ") for pair in pairs) / len(pairs)
    assert 0.24 < share["texts"] < 0.36
    assert share["plain"] == share["codes"] == 0
