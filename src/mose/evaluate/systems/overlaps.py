"""What the public weights may have seen of the test sets: stated beside every number that it touches."""

STACK_OVERFLOW = "trained on titles and answers of Stack Exchange, from where the questions come"
MINILM = {
    "csn": "its card lists CodeSearchNet among the training data and names no split: test functions may be among them",
    "cosqa": "the functions, with their docstrings, come from CodeSearchNet, which its card lists; the queries do not",
    "conala": STACK_OVERFLOW,
}
"""Data set -> overlap of all-MiniLM-L6-v2's published training data with it."""
OWN_TRAINING = {
    "cosqa": "functions of the code base that no test query points at may be training pairs (transductive)",
}
"""Overlap of the training data of this project's own runs."""
