"""How exit 0 is made: directions, frequencies, weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mose.errors import ConfigError
from mose.model.convert.distill_table import (
    TableRecipe,
    fill_table,
    principal_components,
    standard_library,
    token_frequencies,
)
from mose.model.encoder import MoseModel
from mose.model.transformers_config import MoseConfig
from mose.tokenizer import CodeTokenizer


@pytest.fixture
def tokenizer(tokenizer_file: Path) -> CodeTokenizer:
    return CodeTokenizer.build(tokenizer_file, MoseConfig.preset("tiny").settings.tokenizer_settings())


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    ours = principal_components(rows, torch.ones(50), 3, whitening=0.0).numpy()
    centred = rows.numpy() - rows.numpy().mean(axis=0)
    _, _, directions = np.linalg.svd(centred)
    np.testing.assert_allclose(np.abs(ours), np.abs(centred @ directions[:3].T), rtol=1e-3, atol=1e-3)


def test_whitening_makes_variances_alike() -> None:
    rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    spread = [principal_components(rows, torch.ones(500), 4, whitening=power).std(dim=0) for power in (0.0, 0.5, 1.0)]
    assert spread[0][0] / spread[0][3] == pytest.approx(8, rel=0.1)
    assert spread[1][0] / spread[1][3] == pytest.approx(8**0.5, rel=0.1)
    assert spread[2][0] / spread[2][3] == pytest.approx(1, rel=1e-3)


def test_rows_without_importance_have_no_effect() -> None:
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    importance = torch.ones(20).index_fill(0, torch.tensor([3, 7]), 0.0)
    other = rows.clone()
    other[[3, 7]] = 100.0
    kept = importance > 0
    first = principal_components(rows, importance, 2, whitening=0.5)
    assert torch.equal(first[kept], principal_components(other, importance, 2, whitening=0.5)[kept])


def test_frequency_is_between_zipf_and_the_sample(tokenizer: CodeTokenizer) -> None:
    size = 512
    sample = ["open_proxy(); openProxy()", "date"]
    (proxy,) = tokenizer.word_ids(["proxy"])[0]
    (date,) = tokenizer.word_ids(["date"])[0]
    code = token_frequencies(tokenizer, size, TableRecipe(code_share=1.0), code_sample=sample)
    assert code[proxy] / code[date] == pytest.approx(3 / 2)  # each seen once more than counted
    language = token_frequencies(tokenizer, size, TableRecipe(code_share=0.0), code_sample=sample)
    assert language[2] / language[6] == pytest.approx(8 / 4)
    both = token_frequencies(tokenizer, size, TableRecipe(code_share=0.25), code_sample=sample)
    torch.testing.assert_close(both, code**0.25 * language**0.75)


def test_frequent_tokens_weigh_less_and_special_tokens_weigh_zero(tokenizer: CodeTokenizer) -> None:
    model = MoseModel(MoseConfig.preset("tiny", exits=(0, 4), table_width=8)).eval()
    fill_table(model, tokenizer, TableRecipe(width=8), code_sample=["proxy " * 900])
    weights = model.table.token_weights
    (proxy,) = tokenizer.word_ids(["proxy"])[0]
    assert weights[tokenizer.special_ids()].eq(0).all()
    assert weights[proxy] < weights[proxy + 1]
    assert weights[proxy] < weights[proxy - 1]
    assert weights.max() <= 1


def test_wrong_width_is_refused(tokenizer: CodeTokenizer) -> None:
    model = MoseModel(MoseConfig.preset("tiny", exits=(0, 4), table_width=8))
    with pytest.raises(ConfigError, match="table width: got 9, allowed: the table's 8, at most the encoder's 32"):
        fill_table(model, tokenizer, TableRecipe(width=9))


def test_standard_library_is_the_default_sample() -> None:
    assert any("def " in text for _, text in zip(range(5), standard_library(), strict=False))
