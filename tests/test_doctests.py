"""Every example in a docstring runs, against the package as it is installed."""

import doctest
import importlib
import pkgutil

import pytest

import mose

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(mose.__path__, "mose.") if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["mose", *MODULES])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
