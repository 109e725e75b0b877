"""Rounding to int8."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mose.runtime.quantize import quantize_columns, quantize_rows

MATRICES = arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1e3, 1e3, width=32)
)


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
