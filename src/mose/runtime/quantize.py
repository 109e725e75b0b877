"""Float weights to int8.

Matrices that are multiplied use half the range. Processors without a fused 8-bit dot product (AVX2) add two
products of an unsigned and a signed byte in 16 bits; 2 * 255 * 64 still fits there, 2 * 255 * 127 does not.
Tables that are only looked up use the full range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MATRIX_LIMIT = 64
TABLE_LIMIT = 127


def quantize_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """An int8 matrix [in, out] and the scale of each column [out]: ``weight`` is about ``matrix * scale``."""
    scale = _scales(weight, axis=0, limit=MATRIX_LIMIT)
    return _round(weight / scale, MATRIX_LIMIT), scale


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """An int8 table [rows, width] and the scale of each row: ``table`` is about ``rows * scale[:, None]``."""
    scale = _scales(table, axis=1, limit=TABLE_LIMIT)
    return _round(table / scale[:, None], TABLE_LIMIT), scale


def _scales(array: NDArray[np.float32], *, axis: int, limit: int) -> NDArray[np.float32]:
    largest = np.abs(array).max(axis=axis).astype(np.float32)
    scales: NDArray[np.float32] = np.maximum(largest / np.float32(limit), np.finfo(np.float32).tiny)
    return scales


def _round(array: NDArray[np.float32], limit: int) -> NDArray[np.int8]:
    return np.clip(np.rint(array), -limit, limit).astype(np.int8)
