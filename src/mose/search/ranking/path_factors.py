"""What the path of a file says for ranking: files that are seldom meant, and files that stand for their folder."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath

from mose import languages
from mose.words import split_words

FACADE_FACTOR = 0.7
"""For the chunks of a package's own file: most of it passes on names that are defined elsewhere."""
GENERATED_FACTOR = 0.5
"""For files that a tool wrote, by their name or by the mark at their head."""
OLDER_FACTOR = 0.7
"""For what lies in ``v1`` where there is a ``v2`` beside it, unless the query says so."""
_SUPERSEDED = re.compile(r"(?i)(^|/)_?(legacy|compat|deprecated|obsolete)(/|\.\w+$)")
_PACKAGE_FACADES = frozenset({"__init__", "__main__", "package-info"})
_DATA_LANGUAGES = frozenset({"json", "yaml", "toml", "ini", "xml"})
_FACADES = {  # stem -> endings of the files that stand for their folder
    "__init__": ("py", "pyi"),
    "__main__": ("py",),
    "index": ("js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "d.ts", "vue", "html"),
    "mod": ("rs", "ts", "nu"),
    "package": ("scala",),
    "package-info": ("java",),
    "init": ("lua",),
}


@lru_cache(maxsize=200_000)
def path_factor(path: str, language: str) -> float:
    """Below 1 for files that are seldom meant, the lowest where several reasons meet.

    Example:
        >>> path_factor("src/http/client.py", "python"), path_factor("tests/test_client.py", "python")
        (1.0, 0.5)
    """
    factor = 1.0
    if languages.is_test(path) or languages.is_example(path):
        factor *= 0.5
    if languages.is_vendored(path) or _SUPERSEDED.search(path):
        factor *= 0.5
    elif languages.is_generated(path):
        factor *= GENERATED_FACTOR
    if is_package_facade(path):
        factor *= FACADE_FACTOR
    if languages.is_documentation(path):
        factor *= 0.7
    elif language in _DATA_LANGUAGES:
        factor *= 0.6
    return factor


def is_package_facade(path: str) -> bool:
    """True for the file that every package has, whatever the package is for.

    Example:
        >>> is_package_facade("http/__init__.py"), is_package_facade("http/init.py")
        (True, False)
    """
    return path.rpartition("/")[2].partition(".")[0] in _PACKAGE_FACADES


def stands_for_folder(path: str) -> bool:
    """True for a file that is known by the name of its folder.

    Example:
        >>> stands_for_folder("handler/mod.rs"), stands_for_folder("workers/init.ts")
        (True, False)
    """
    stem, _, extension = path.rpartition("/")[2].partition(".")
    return extension in _FACADES.get(stem, ())


@lru_cache(maxsize=200_000)
def path_words(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Words of a file's name, and of its folder's name. A file that stands for its folder has the folder's.

    Example:
        >>> path_words("web/url_parser.py") == (frozenset({"url", "parser"}), frozenset({"web"}))
        True
    """
    named = PurePosixPath(path)
    if stands_for_folder(path):
        named = named.parent
        stem = named.name
    else:
        stem = named.stem if named.stem.partition(".")[0] else named.name
    return frozenset(split_words(stem)), frozenset(split_words(named.parent.name))
