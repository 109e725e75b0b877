"""Find faults in questions and translations that a model wrote."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from mose.data.near_copies import shingles
from mose.languages.content import is_cpp
from mose.languages.tables import word_set
from mose.syntax import prose
from mose.syntax.definitions import definitions
from mose.syntax.grammars import ParsingError, grammar_of, has_grammar
from mose.words import STOP_WORDS, identifiers, parts

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 30
MIN_CONTENT_WORDS = 2
"""Least number of content words in a question."""
MIN_COMMON = 20
"""A word is plain if at least this many descriptions use it."""
MIN_PACKAGES = 3
"""A word is plain if texts about at least this many packages use it."""

_TOKENIZER = Path(__file__).parents[2] / "shipped" / "small" / "tokenizer.json"
_OPENINGS = {
    "search": r"(?!what|why|does|is|are)\b",
    "where": r"(?:where|how|when|which)\b",
    "how": r"(?:how|where|when|which)\b",
    "problem": r"(?!what|why|does|how|where|when|which)\b",
}
_LENGTH_RATIOS = (0.3, 3.0)
_SAME = 0.85
_REFUSAL = re.compile(
    r"\bas an ai\b|\bi(?:'m| am) (?:sorry|unable)\b|\bi (?:cannot|can't)\b|\bcannot be translated\b", re.IGNORECASE
)
_CODE_IN_PROSE = re.compile(r"`|\(\)|::|->|==|[{};]|\w\.\w+\(|\b[a-z]+[A-Z]\w*|\b\w+_\w+|(?<!\S)/\w+/\w+|</?\w+>")
# "the error code" and "the configuration file" are data of the code; "the code" is the code itself.
_POINTS_AT_CODE = re.compile(
    r"\b(?:the|this|that) (?:(?:\w+ )?(?:function|method|class|module|script|snippet|interface|struct)|code)\b"
    r"|\bthis (?:\w+ )?file\b|\bthe header file\b",
    re.IGNORECASE,
)
_POINTS_AT_FILE = re.compile(r"\bthe file\b", re.IGNORECASE)
_LEFT_OUT = re.compile(
    r"\bTODO\b|\bFIXME\b|not implemented|unimplemented!|todo!|your code here|rest of the code|implementation of"
    r"|^[ \t]*(?://|#|/\*|--)(?:[ \t]*(?:implement|define|assum)"
    r"|[^\n]*\b(?:implementation|here|for simplicity)[. \t]*(?:\*/)?$)",
    re.IGNORECASE | re.MULTILINE,
)
_PROGRAM = re.compile(r"\bmain\s*\(|\b__main__\b|\bexample usage\b|\busage example\b", re.IGNORECASE)
_FENCE = re.compile(r"```[\w+#.-]*[ \t]*\n(.*?)\n?```", re.DOTALL)
_HOLDERS = frozenset({"function", "method", "class", "struct", "impl", "trait", "interface", "macro", "object"})
_EMPTY = STOP_WORDS | word_set(
    """
    able about actually after all always before being both but cannot correct correctly decide decided determine
    determined did different done either even every expected find found function get gets give given gives got
    handle handled handles happen happens implement implementation implemented incorrect incorrectly intended
    located location made make makes more most must off one only other out own perform performed proper properly
    purpose right same shall something specific specified stuff thing things through until uses way well within work
    working works wrong yet
    """
)


def plain_words(
    said: Iterable[tuple[str, str]], *, least_common: int = MIN_COMMON, least_packages: int = MIN_PACKAGES
) -> frozenset[str]:
    """Words that a question may share with the code: everyday English, or used for several packages.

    Args:
        said: Packages, each with a text about it.
        least_common: A word is plain if at least this many of the texts use it,
        least_packages: or texts about at least this many packages.

    Example:
        >>> words = plain_words([("a", "Opens xattrs"), ("a", "opens it"), ("b", "xattrs of b")], least_packages=2)
        >>> "xattrs" in words, "jpeg" in words, "calendar" in words, "opens" in words, "btree" in words
        (True, False, True, True, False)
    """
    counts: Counter[str] = Counter()
    packages: defaultdict[str, set[str]] = defaultdict(set)
    for package, text in said:
        for word in set(_words(text)):
            counts[word] += 1
            packages[word].add(package)
    return everyday_words() | {
        word
        for word, count in counts.items()
        if count >= least_common or (len(word) > 2 and len(packages[word]) >= least_packages)
    }


@cache
def everyday_words() -> frozenset[str]:
    """Words of three letters and more that the shipped tokenizer, trained on English prose, keeps whole."""
    known = json.loads(_TOKENIZER.read_text(encoding="utf8"))["model"]["vocab"]
    return frozenset(word for word in known if len(word) > 2 and word.isascii() and word.isalpha())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def question_fault(
    question: str,
    *,
    label: str = "",
    code: str,
    name: str,
    common: frozenset[str],
    about: str = "",
    examples: frozenset[str],
) -> str:
    """Why a question cannot be used; empty if it can.

    Args:
        question: As the model wrote it.
        label: Kind of line that was asked for; any if empty.
        code: Code that the question is about.
        name: Name that the code defines; empty for a file.
        common: Words that a question may share with the code; see ``plain_words``.
        about: Documentation of the code.
        examples: Questions in the prompt itself.
    """
    reason = _wording_fault(question, of_file=not name)
    if reason:
        return reason
    if not re.match(_OPENINGS.get(label, ""), question, re.IGNORECASE):
        return "another kind of line"
    words = _words(question)
    if _says_name(words, name, common):
        return "says the name"
    used = {part for identifier in identifiers(code) for part in (identifier.lower(), *parts(identifier))}
    if any(word in used and word not in common for word in words):
        return "says a rare identifier"
    if about and _overlap(question, about) > _SAME:
        return "repeats the documentation"
    if any(_overlap(question, example) > 0.6 for example in examples):
        return "repeats an example"
    return ""


def _wording_fault(question: str, *, of_file: bool) -> str:
    """Why a question cannot be used for any code; empty if it can."""
    if _REFUSAL.search(question):
        return "refusal"
    if _CODE_IN_PROSE.search(question):
        return "reads like code"
    if _POINTS_AT_CODE.search(question) or (of_file and _POINTS_AT_FILE.search(question)):
        return "speaks of the code"
    words = _words(question)
    if len(words) > MAX_QUESTION_WORDS:
        return "too long"
    reason = prose.fault(question, min_words=MIN_QUESTION_WORDS)
    if reason:
        return reason
    if len({word for word in words if len(word) > 1} - _EMPTY) < MIN_CONTENT_WORDS:
        return "says nothing by itself"
    return ""


def _says_name(words: list[str], name: str, common: frozenset[str]) -> bool:
    wanted = [part for part in parts(name) if part.isalpha()]
    if len(wanted) < 2:
        return bool(wanted) and wanted[0] not in common and wanted[0] in words
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _overlap(first: str, second: str) -> float:
    """Jaccard similarity of two texts' words."""
    first_words, second_words = set(_words(first)), set(_words(second))
    return len(first_words & second_words) / max(1, len(first_words | second_words))


def fenced(answer: str) -> str:
    r"""The code of the only fenced block, "" if there is none or there are several.

    Example:
        >>> fenced("Here:\n```go\nfunc a() {}\n```")
        'func a() {}'
    """
    found = _FENCE.findall(answer)
    return str(found[0]).strip("\n") if len(found) == 1 and answer.count("```") == 2 else ""


def translation_fault(translated: str, *, code: str, target: str, examples: Sequence[str] = ()) -> str:
    """Why a translation cannot be used; empty if it can.

    Args:
        translated: As the model wrote it.
        code: What it was made from.
        target: Its language.
        examples: Translations in the prompt itself.
    """
    if not translated.strip():
        return "no fenced code"
    if _REFUSAL.search(translated):
        return "refusal"
    if _LEFT_OUT.search(translated) and not _LEFT_OUT.search(code):
        return "left something out"
    if _PROGRAM.search(translated) and not _PROGRAM.search(code):
        return "adds a usage example"
    ratio = len("".join(translated.split())) / max(1, len("".join(code.split())))
    if not _LENGTH_RATIOS[0] <= ratio <= _LENGTH_RATIOS[1]:
        return "far shorter or longer"
    for reason, others in (("echo", [code]), ("repeats an example", examples)):
        if any(_is_copy(translated, other) for other in others):
            return reason
    return syntax_fault(translated, target)


def _is_copy(text: str, other: str) -> bool:
    new, old = set(shingles(text).tolist()), set(shingles(other).tolist())
    return len(new & old) > _SAME * len(new | old)


def syntax_fault(code: str, language: str) -> str:
    """Why a text is not a complete piece of source in a language: a syntax error, or no definition.

    Example:
        >>> syntax_fault("def a(): return 1", "python"), syntax_fault("def a( return", "python")
        ('', 'does not parse')
    """
    if language == "php" and "<?" not in code:
        code = f"<?php\n{code}"
    if not has_grammar(language):
        return "no grammar of its language"
    if language == "c" and is_cpp(code):
        return "another language"
    candidates = [(code, "")]
    if language in ("java", "csharp") and not re.match(r"\s*(?:import|package|using)\b", code):
        candidates.append((f"class Holder {{\n{code}\n}}", "Holder"))  # a method alone does not parse
    for text, holder in candidates:
        if _parses(text, language):
            found = definitions(text, language) or []
            is_defined = any(definition.kind in _HOLDERS and definition.name != holder for definition in found)
            return "" if is_defined else "defines nothing"
    return "does not parse"


def _parses(code: str, language: str) -> bool:
    try:
        grammar = grammar_of(language, code)
        return grammar is not None and not grammar.parse(code.encode("utf8", "replace")).root_node.has_error
    except ParsingError:
        return False
