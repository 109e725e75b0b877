"""Overlaps of training data with the test sets, as reports state them."""

from __future__ import annotations

from collections.abc import Mapping

STACK_OVERFLOW = "trained on titles and answers of Stack Exchange, from where the questions come"
MINILM = {
    "csn": "its card lists CodeSearchNet among the training data and names no split: test functions may be among them",
    "cosqa": "the functions, with their docstrings, come from CodeSearchNet, which its card lists; the queries do not",
    "conala": STACK_OVERFLOW,
}
"""Data set -> overlap of all-MiniLM-L6-v2's published training data with it."""
UNKNOWN = {"all": "not known to this program: see the model's own card"}
_OWN_CANDIDATES = "functions of the code base that no test query points at were training pairs (transductive)"


def overlaps_of(source: str) -> Mapping[str, str]:
    """Data set -> overlap of one of our models, by what its manifest says of its origin."""
    if "all-MiniLM-L6-v2" not in source:
        return UNKNOWN
    inherited = {name: f"all-MiniLM-L6-v2, where it began: {note}" for name, note in MINILM.items()}
    if "fine-tuned by MoSE" in source:
        inherited["cosqa"] += f"; in its own training, {_OWN_CANDIDATES}"
    return inherited
