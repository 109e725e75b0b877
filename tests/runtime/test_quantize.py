"""Rounding to int8."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mose.export import quantize
from mose.export.quantize import quantize_columns, quantize_rows

MATRICES = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1e3, 1e3, width=32))


@given(MATRICES)
def test_columns_are_off_by_at_most_half_a_step(weight):
    matrix, scale = quantize_columns(weight)
    assert (np.abs(matrix * scale - weight) <= scale * 0.5001 + 1e-30).all()


@given(MATRICES)
def test_pairs_of_products_fit_in_sixteen_bits(weight):
    matrix, _ = quantize_columns(weight)
    assert 2 * 255 * np.abs(matrix.astype(np.int64)).max() < 2**15


@given(MATRICES)
def test_rows_are_off_by_at_most_half_a_step(table):
    rows, scale = quantize_rows(table)
    assert (np.abs(rows * scale[:, None] - table) <= scale[:, None] * 0.5001 + 1e-30).all()


def test_zeros_stay_zeros():
    matrix, scale = quantize_columns(np.zeros((3, 2), np.float32))
    assert not matrix.any()
    assert np.isfinite(scale).all()


def correlated_inputs(seed: int, tokens: int = 400, width: int = 90) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(tokens, 12)) @ random.normal(size=(12, width)) + random.normal(size=(tokens, width)) / 4


def test_rounding_together_spares_the_product():
    inputs, fresh = np.split(correlated_inputs(0, tokens=800), 2)
    weight = np.random.default_rng(1).normal(size=(90, 20)).astype(np.float32)
    errors = {}
    for name, moment in {"plain": None, "together": inputs.T @ inputs}.items():
        matrix, scale = quantize_columns(weight, moment)
        assert np.abs(matrix.astype(int)).max() <= 64
        errors[name] = np.square(fresh @ (matrix * scale - weight)).mean()
    assert errors["together"] < errors["plain"] / 3


def test_inputs_that_are_never_used_do_not_upset_the_rest():
    inputs, weight = correlated_inputs(2), np.random.default_rng(3).normal(size=(90, 20)).astype(np.float32)
    inputs[:, 5] = 0
    matrix, scale = quantize_columns(weight, inputs.T @ inputs)
    assert np.abs(matrix * scale - weight).max() < 6 * scale.max()
    plain = quantize_columns(weight)[0]
    np.testing.assert_array_equal(quantize_columns(weight, np.zeros((90, 90)))[0], plain)


def test_size_of_blocks_changes_nothing(monkeypatch):
    inputs, weight = correlated_inputs(4), np.random.default_rng(5).normal(size=(90, 20)).astype(np.float32)
    expected, _ = quantize_columns(weight, inputs.T @ inputs)
    monkeypatch.setattr(quantize, "_BLOCK_INPUTS", 7)
    np.testing.assert_array_equal(quantize_columns(weight, inputs.T @ inputs)[0], expected)
