"""Templates, truncation and padding, readable by eye."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from mose.errors import ConfigError, ModelError
from mose.tokenizer import CodeTokenizer, TokenizerSettings, pad_batch

WORDS = ["<pad>", "<cls>", "<sep>", "<mask>", "?", "query", ":", "read", "this", "python", "source", "code",
         "open", "a", "proxy", "now", "##s", "<", ">", "cls", "sep"]  # fmt: skip
PLAIN = {
    "query_template": "{cls}{text}{sep}",
    "code_template": "{sep}read this {language} code{sep}{text}{cls}",
    "cls_token": "<cls>",
    "sep_token": "<sep>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
    "padding_side": "left",
    "max_tokens": 9,
}


def make(**changes: object) -> CodeTokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["<pad>", "<cls>", "<sep>", "<mask>"])
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(max_length=2)
    return CodeTokenizer(tokenizer, TokenizerSettings(**{**PLAIN, **changes}))


def words(ids: list[int]) -> str:
    return " ".join(WORDS[token_id] for token_id in ids)


@pytest.mark.parametrize(
    ("kind", "language", "text", "expected"),
    [
        ("query", None, "open a proxy", "<cls> open a proxy <sep>"),
        ("query", "python", "open a proxy", "<cls> open a proxy <sep>"),
        ("code", "Python", "open", "<sep> read this python code <sep> open <cls>"),
        ("code", None, "open", "<sep> read this source code <sep> open <cls>"),
        ("code", "python", "open a proxy now", "<sep> read this python code <sep> open a <cls>"),
        ("query", None, "", "<cls> <sep>"),
        ("query", None, "proxys", "<cls> proxy ##s <sep>"),
    ],
)
def test_template_golden(kind: str, language: str | None, text: str, expected: str) -> None:
    assert [words(ids) for ids in make().encode([text], kind=kind, language=language)] == [expected]


def test_each_text_may_have_its_own_language() -> None:
    encoded = make().encode(["open", "now", "a"], kind="code", language=["python", "a", "python"])
    assert [words(ids) for ids in encoded] == [
        "<sep> read this python code <sep> open <cls>",
        "<sep> read this a code <sep> now <cls>",
        "<sep> read this python code <sep> a <cls>",
    ]


def test_text_before_the_text_is_tokenised_with_it() -> None:
    tokenizer = make(query_template="{cls}query: {text}{sep}")
    assert words(tokenizer.encode(["open"], kind="query")[0]) == "<cls> query : open <sep>"
    joined = make(query_template="{cls}proxy{text}{sep}")
    assert words(joined.encode(["s"], kind="query")[0]) == "<cls> proxy ##s <sep>"


def test_special_tokens_in_a_text_stay_plain_text() -> None:
    assert words(make().encode(["a <cls>"], kind="query")[0]) == "<cls> a < cls > <sep>"


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=60), limit=st.integers(8, 30))
def test_truncation_keeps_what_surrounds_the_text(text: str, limit: int) -> None:
    ids = make().encode([text], kind="code", max_tokens=limit)[0]
    assert len(ids) <= limit
    assert words(ids).startswith("<sep> read this source code <sep>")
    assert WORDS[ids[-1]] == "<cls>"
    assert not {0, 1, 2, 3} & set(ids[6:-1])


def test_length_that_the_template_fills_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_tokens: got 7, allowed: more than the template's 7"):
        make().encode(["open"], kind="code", max_tokens=7)


def test_wrong_number_of_languages_is_refused() -> None:
    with pytest.raises(ConfigError, match="languages: got 2, allowed: one, or one for each of 3 texts"):
        make().encode(["a", "a", "a"], kind="code", language=["python", "c"])


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="kind: got 'text', allowed: query, code"):
        make().encode(["a"], kind="text")


def test_unknown_special_token_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cls_token is not in tokenizer\.json: got '\[CLS\]'"):
        make(cls_token="[CLS]")


def test_identifiers_are_split_where_the_model_says_so() -> None:
    text = "readThis(source_code)"
    plain, split = make(), make(split_identifiers=True)
    assert split.encode([text], kind="code") == plain.encode(["read This(source code)"], kind="code")
    assert split.encode([text], kind="query") == plain.encode(["read This(source code)"], kind="query")
    assert split.plain_ids([text]) == plain.plain_ids(["read This(source code)"])
    assert plain.encode([text], kind="code") != split.encode([text], kind="code")


def test_words_have_no_special_tokens_and_repeat_freely() -> None:
    ids = make().word_ids(["proxys", "open", "proxys", "<cls>"])
    assert [words(one) for one in ids] == ["proxy ##s", "open", "proxy ##s", "< cls >"]


def test_special_ids_are_all_of_them() -> None:
    assert make(mask_token=None).special_ids() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["config.json", "mose.json"])
def test_loaded_from_either_settings_file(tmp_path: Path, name: str) -> None:
    make()._tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / name).write_text(json.dumps({**PLAIN, "other": 1}))
    tokenizer = CodeTokenizer.load(tmp_path)
    assert words(tokenizer.encode(["open"], kind="query")[0]) == "<cls> open <sep>"
    assert (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (0, 1, 2, 3)
    assert (tokenizer.padding_side, tokenizer.max_tokens) == ("left", 9)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has neither config\.json nor mose\.json"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config\.json has no query_template, code_template"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(PLAIN))
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        CodeTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged"):
        CodeTokenizer.load(tmp_path)


@given(
    rows=st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=5),
    side=st.sampled_from(["left", "right"]),
)
def test_padding_is_undone_by_keep(rows: list[list[int]], side: str) -> None:
    token_ids, keep = pad_batch(rows, pad_id=0, side=side)
    assert token_ids.dtype == np.int64
    assert keep.dtype == np.bool_
    assert [ids[real].tolist() for ids, real in zip(token_ids, keep, strict=True)] == rows
    assert not token_ids[~keep].any()
    if rows and min(map(len, rows)) > 0:
        assert keep[:, -1 if side == "left" else 0].all()


def test_tokenizer_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, mose.tokenizer\nprint(sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
