"""The language of a file by its content, where several languages share an extension.

Every rule reads the beginning of the text only, line by line. Raise ``ChunkerConfig.version`` after a change: an index
stores the labels.
"""

from __future__ import annotations

import re

from mose.languages.tables import LANGUAGE_OF_EXTENSION, LANGUAGE_OF_INTERPRETER

_HEAD_CHARS = 65_536
_C_LINE = r"^[ \t]*(?://|/\*|#[ \t]*(?:include|define|undef|pragma|if|ifdef|ifndef|else|endif)\b)"
_CPP = re.compile(
    r"^[ \t]*(?:class[ \t]+(?:\w+[ \t]+)?\w+[ \t]*(?:final[ \t]*)?(?:[:{;]|\n[ \t]*[:{])|template[ \t]*<"
    r"|(?:inline[ \t]+)?namespace\b[\w \t:]*(?:\{|$)|using[ \t]+(?:namespace\b|\w+[ \t]*=|\w+::)"
    r"|(?:public|private|protected)[ \t]*:|virtual\b|constexpr\b|#[ \t]*include[ \t]*<[a-z_]+>[ \t]*$)|\bstd::\w",
    re.MULTILINE,
)
_OBJECTIVE_C = r"^@(?:interface|implementation|protocol|class|import|end)\b|^[ \t]*#[ \t]*import[ \t]*[<\"]"

_BY_CONTENT: dict[
    str, tuple[tuple[str, str], ...]
] = {  # extension -> languages and their patterns; the first match counts
    "h": (
        ("objective-c", r"^@(?:end\b|class[ \t][\w, \t]*;)|^[ \t]*#[ \t]*import[ \t]*[<\"][^\">\n]*\.h[>\"]"),
        ("cpp", _CPP.pattern),
    ),
    "m": (
        ("objective-c", _OBJECTIVE_C),
        ("mercury", r"^[ \t]*:-[ \t]*(?:module|interface|implementation|import_module|pred|func)\b"),
        ("mathematica", r"^[ \t]*\(\*|^[ \t]*BeginPackage\["),
        ("matlab", r"^[ \t]*(?:%|function\b|classdef\b)"),
        ("objective-c", _C_LINE),
    ),
    "inc": (
        ("php", r"<\?(?:php|=)"),
        ("assembly", r"^[ \t]*(?:%(?:macro|define|ifdef|ifndef|if|include)\b|\.(?:macro|globa?l|equ|text|data)\b|;)"),
        ("c", _C_LINE + r"|;[ \t]*$"),
        ("bitbake", r"^(?:[A-Z][A-Z0-9_]*(?::[\w-]+)*[ \t]*[?.+:]{0,2}=|(?:inherit|require)[ \t]|do_\w[^(\n]*\()"),
        ("html", r"^[ \t]*<[!a-zA-Z]"),
    ),
    "pl": (
        ("perl", r"\A#!.*perl|^[ \t]*(?:use|package|sub|my|our|require)[ \t]+[\w:$%@(]|^=(?:pod|head1|cut)\b"),
        ("prolog", r"^[ \t]*:-|^[a-z]\w*(?:\([^)\n]*\))?[ \t]*(?::-|-->)|^[a-z]\w*\([^)\n]*\)\.[ \t]*$"),
    ),
    "pro": (
        ("qmake", r"^[ \t]*(?:TEMPLATE|QT|TARGET|SOURCES|HEADERS|CONFIG|SUBDIRS|INCLUDEPATH|LIBS|FORMS)[ \t]*[-+*]?="),
        ("proguard", r"^-(?:keep|dontwarn|assume|optimiz)"),
        ("prolog", r"^[ \t]*:-|^[a-z]\w*(?:\([^)\n]*\))?[ \t]*:-"),
        ("idl", r"(?i)^[ \t]*(?:pro|function)[ \t]+\w+"),
    ),
    "cl": (
        ("lisp", r"^[ \t]*(?:;|\((?:defun|defmacro|defpackage|in-package|defvar|defclass|defparameter)\b)"),
        ("opencl", r"\b(?:__kernel|__global|__local|get_global_id)\b|\bkernel[ \t]+void\b|" + _C_LINE),
    ),
    "scm": (("tree-sitter-query", r"^[^;\n]*[)\]\"_][ \t]+@[a-z_]|^;+[ \t]*inherits[ \t]*:"),),
    "v": (
        ("coq", r"^[ \t]*(?:Require|From|Theorem|Lemma|Definition|Inductive|Fixpoint|Proof)\b|^[ \t]*\(\*"),
        ("v", r"^(?:pub[ \t]+)?fn[ \t]|^module[ \t]+\w+[ \t]*$"),
    ),
    "t": (
        ("cram", r"^  \$ "),
        ("perl", r"^[ \t]*(?:use|my|our|package|require)[ \t]|\A#!.*perl"),
    ),
    "d": (
        ("make", r"\A[^\s:#]{1,300}\.(?:o|lo|obj|d)[ \t:]"),
        ("dtrace", r"\A#!.*dtrace|^[ \t]*#pragma[ \t]+D\b|^[\w$]*:[\w.*$]*:[\w.*$]*:[\w.*-]*"),
    ),
    "r": (("rebol", r"^[ \t]*(?:REBOL|Red)[ \t]*\["),),
    "fs": (
        ("glsl", r"^[ \t]*(?:#version\b|precision[ \t]|uniform[ \t]|varying[ \t])"),
        ("forth", r"^: \S|^\\ "),
    ),
    "ts": (("xml", r"\A\s{0,80}<(?:\?xml|!DOCTYPE|TS)\b"),),
    "sc": (("supercollider", r"\bSynthDef\b|^[ \t]*~\w+[ \t]*=|\.play;"),),
    "pp": (("pascal", r"(?i)^[ \t]*(?:unit|program|library|uses|procedure)[ \t]+\w[^{\n]*[;,]"),),
    "cls": (("tex", r"^[ \t]*(?:%|\\)"), ("visual-basic", r"\AVERSION[ \t]|^Attribute[ \t]+VB_")),
}
_COMPILED = {
    extension: tuple((language, re.compile(pattern, re.MULTILINE)) for language, pattern in rules)
    for extension, rules in _BY_CONTENT.items()
}
LABELS = frozenset(language for rules in _BY_CONTENT.values() for language, _ in rules)
"""Languages found by content; some have no extension of their own."""
_SCRIPTS = frozenset(LANGUAGE_OF_INTERPRETER.values())


def is_cpp(text: str) -> bool:
    r"""True if a C header reads like C++.

    Example:
        >>> is_cpp("class Socket {\npublic:\n};\n"), is_cpp("\n" * 100_000 + "int f(void);\n")
        (True, False)
    """
    return _CPP.search(text, 0, _HEAD_CHARS) is not None


def by_content(extension: str, text: str) -> str | None:
    """Language of a text with this file extension, None if no rule matches."""
    head = text[:_HEAD_CHARS]
    return next((language for language, pattern in _COMPILED.get(extension, ()) if pattern.search(head)), None)


def of_shebang(line: str) -> str | None:
    """Language named by the first line of a script, None if there is none.

    Example:
        >>> of_shebang("#!/usr/bin/env -S python3 -u")
        'python'
    """
    if not line.startswith("#!"):
        return None
    for word in line[2:].split():
        command = word.rpartition("/")[2]
        if command == "env" or word.startswith("-") or "=" in word:
            continue
        return LANGUAGE_OF_INTERPRETER.get(command.rstrip("0123456789.").lower())
    return None


def candidates(extension: str) -> frozenset[str]:
    """Every language that `by_content` or `of_shebang` may find for this file extension."""
    if extension not in LANGUAGE_OF_EXTENSION:
        return _SCRIPTS
    return frozenset(language for language, _ in _BY_CONTENT.get(extension, ()))
