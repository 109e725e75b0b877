"""Classify files by path and content: language, test, documentation, generated, vendored."""

from mose.languages.path_kinds import (
    extension_of,
    is_binary,
    is_binary_or_data,
    is_documentation,
    is_example,
    is_generated,
    is_test,
    is_vendored,
    label_of,
    labels_named,
    language_of,
    may_be,
)
from mose.languages.tables import TEXT

__all__ = [
    "TEXT",
    "extension_of",
    "is_binary",
    "is_binary_or_data",
    "is_documentation",
    "is_example",
    "is_generated",
    "is_test",
    "is_vendored",
    "label_of",
    "labels_named",
    "language_of",
    "may_be",
]
