"""Renaming in code: frequent identifiers, and the name of the definition.

The paper replaces frequent words of the code with probability 0.3, so that the encoder cannot rely on
names alone. It does not say which words are frequent and what replaces them; here they are the most frequent
variables of the snippet, each replaced everywhere by one new name. The rule works on text, not syntax, so it covers
every language and fragments.
"""

from __future__ import annotations

import re
from collections import Counter

from numpy.random import Generator

_NAME = re.compile(r"(?<![\w$])[A-Za-z_$][\w$]*")
_KEYWORDS_TEXT = """
abstract and as assert async await auto base begin bool boolean break byte case catch char class
const continue def default defer del delete do double elif else elsif end ensure enum except export
extends extern false False final finally float fn for foreach from fun func function global go goto
if implements import in include inline instanceof int integer interface internal is lambda let list
long map match mod module mut namespace new next nil None nonlocal not null object of open operator
or out override package pass print private protected public raise range readonly rescue return self
short signed sizeof static str string String struct super switch synchronized template then this
throw throws trait true True try type typedef typeof undefined union unless unsigned until use using
val var vector virtual void volatile when where while with yield size_t std echo array interface
printf println console log Math System out err Integer List ArrayList HashMap Map Set HashSet Object
len puts
Int Float Double Long Char Boolean Bool Any Unit Array number any IEnumerable Dictionary Optional Promise
"""
_KEYWORDS = frozenset(_KEYWORDS_TEXT.split())
_DEFINED = re.compile(
    r"\b(?:def|fun|fn|sub)\s+(?:self\.)?(?P<plain>[A-Za-z_]\w*)"
    r"|\bfunc\s+(?:\([^)]*\)\s*)?(?P<go>[A-Za-z_]\w*)"
    r"|\bfunction\s*&?\s*(?P<function>[A-Za-z_$][\w$]*)"
    r"|\b(?:var|let|const)\s+(?P<bound>[A-Za-z_$][\w$]*)\s*=\s*(?:async\s*)?(?:function\b|\([^)]*\)\s*=>)"
    r"|(?:^|[{;}])[ \t]*(?:[\w<>\[\],:*&?]+[ \t]+)+[*&]*(?P<typed>[A-Za-z_]\w*)\s*\([^;{}]*\)[^;{}]*\{",
    re.MULTILINE,
)
_CLASS = re.compile(r"\b(?:class|object|struct)\s+([A-Z]\w*)")
_IMPORT = re.compile(
    r"^[ \t]*(?:import\b.*|from\s+[\w.]+\s+import\b.*|#\s*include\b.*|using\s+[\w.]+\s*;|using namespace\b.*"
    r"|package\s+[\w.]+\s*;?|<\?php|require(?:_once)?\b.*|use\s+[\w\\]+\s*;)[ \t]*\n",
    re.MULTILINE,
)
_COMMENT_LINE = re.compile(r"^[ \t]*(?:///?|#[ !#]|--[ ]|/?\*).*$", re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<name>[A-Za-z_$][\w$]*)|(?P<value>\d[\w.]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)|(?P<sign>[^\w\s])"
)
_NEUTRAL = ("solution", "solve", "f", "func", "method", "run", "process", "fn")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def defined_name(code: str) -> str:
    r"""Name of the first function that the code defines, "" if none is found.

    Example:
        >>> defined_name("def add(a, b):\n    return a + b")
        'add'
        >>> defined_name("public static int addUp(int a) {\n return a; }")
        'addUp'
    """
    for found in _DEFINED.finditer(code):
        name = next(part for part in found.groups() if part)
        if name not in _KEYWORDS and name != "main":
            return name
    return ""


def substitute(code: str, names: dict[str, str]) -> str:
    """The code with each whole identifier in ``names`` replaced.

    Example:
        >>> substitute("total += totals", {"total": "x"})
        'x += totals'
    """
    return _NAME.sub(lambda found: names.get(found.group(), found.group()), code)


def hide_defined_name(code: str, rng: Generator, name: str = "") -> str:
    """The code with a neutral name for the function (and class) that it defines.

    Args:
        code: Source text.
        rng: Chooses the neutral name.
        name: The defined name, if known; otherwise it is searched for.
    """
    name = name if name and name in code else defined_name(code)
    neutral = _NEUTRAL[int(rng.integers(len(_NEUTRAL)))]
    names = {name: neutral} if name else {}
    for holder in _CLASS.findall(code):
        if name and holder.lower() == name.replace("_", "").lower():
            names[holder] = neutral.capitalize()
    return substitute(code, names)


def skip_imports(code: str) -> str:
    r"""The code without lines that only import, which would fill short inputs.

    Example:
        >>> skip_imports("import java.util.*;\nimport a.B;\nclass A {}")
        'class A {}'
    """
    return _IMPORT.sub("", code).lstrip("\n") or code


def rename_frequent(code: str, rng: Generator, *, most: int = 4) -> str:
    """The code with its most frequent variables renamed, each consistently.

    Names that are called or follow a dot belong to other code and stay.

    Args:
        code: Source text.
        rng: Chooses how many variables and the new names.
        most: At most this many variables.

    Example:
        >>> import numpy as np
        >>> new = rename_frequent("for item in box: use(item)", np.random.default_rng(0), most=1)
        >>> "item" in new, "use(" in new
        (False, True)
    """
    counts: Counter[str] = Counter()
    foreign: set[str] = set()
    for found in _NAME.finditer(code):
        name = found.group()
        before, after = code[: found.start()][-1:], code[found.end() : found.end() + 1]
        if before in (".", ">") or after == "(" or before == "@":
            foreign.add(name)
        counts[name] += 1
    frequent = [
        name
        for name, count in counts.most_common()
        if count > 1 and name not in foreign and name not in _KEYWORDS and not name.startswith("$")
    ][: int(rng.integers(1, most + 1))]
    names: dict[str, str] = {}
    taken = set(counts)
    for number, name in enumerate(frequent):
        new = _new_name(rng, number)
        while new in taken:
            new += _LETTERS[int(rng.integers(26))]
        taken.add(new)
        names[name] = new
    return substitute(code, names)


def renamed_form(code: str) -> str:
    r"""The code's tokens with every name as the number of its first use, so that renamed copies have one form.

    Lines of comment, white space, numbers and strings do not matter. Keywords count as names: they are not renamed, so
    their numbers agree as well.

    Example:
        >>> renamed_form("def add(left, right): return left + right")
        '0 1 ( 2 , 3 ) : 4 2 + 3'
        >>> renamed_form("def plus(a, b):  return a + b") == renamed_form("def add(x, y):\n    return x + y")
        True
    """
    numbers: dict[str, str] = {}
    tokens = []
    for found in _TOKEN.finditer(_COMMENT_LINE.sub("", code)):
        token = found.group()
        if found.lastgroup == "name":
            token = numbers.setdefault(token, str(len(numbers)))
        elif found.lastgroup == "value":
            token = "_"
        tokens.append(token)
    return " ".join(tokens)


def _new_name(rng: Generator, number: int) -> str:
    style = int(rng.integers(3))
    if style == 0:
        return f"var{number + int(rng.integers(3))}"
    if style == 1:
        return f"arg{number}"
    length = 1 if rng.random() < 0.5 else int(rng.integers(2, 6))
    return "".join(_LETTERS[int(letter)] for letter in rng.integers(26, size=length))
