"""What is wrong with a question or a translation that a model wrote; "" if nothing is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from mose.data.mine import prose
from mose.data.mine.near import shingles
from mose.syntax.definitions import definitions
from mose.syntax.grammars import grammar_of
from mose.words import identifiers, parts

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 30
MIN_COMMON = 20
"""A word is plain if so many descriptions use it."""

_LENGTH_RATIOS = (0.3, 3.0)
_SAME = 0.85
_REFUSAL = re.compile(
    r"\bas an ai\b|\bi(?:'m| am) (?:sorry|unable)\b|\bi (?:cannot|can't)\b|\bcannot be translated\b", re.IGNORECASE
)
_CODE_IN_PROSE = re.compile(r"`|\(\)|::|->|==|[{};]|\w\.\w+\(|\b[a-z]+[A-Z]\w*|\b\w+_\w+|(?<!\S)/\w+/\w+|</?\w+>")
_POINTS_AT_CODE = re.compile(
    r"\b(?:the|this|that) (?:\w+ )?(?:code|function|method|class|file|module|script|snippet|interface|struct)\b",
    re.IGNORECASE,
)
_LEFT_OUT = re.compile(
    r"\bTODO\b|\bFIXME\b|not implemented|unimplemented!|todo!|your code here|rest of the code|implementation of",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[\w+#.-]*[ \t]*\n(.*?)\n?```", re.DOTALL)
_HOLDERS = frozenset({"function", "method", "class", "struct", "impl", "trait", "interface", "macro", "object"})


def common_words(descriptions: Iterable[str], least: int = MIN_COMMON) -> frozenset[str]:
    """Plain words: those of at least so many of the descriptions.

    Example:
        >>> sorted(common_words(["Opens a file", "opens it"], least=2))
        ['opens']
    """
    counts: Counter[str] = Counter()
    for text in descriptions:
        counts.update({word for word in re.findall(r"[a-z]+", text.lower())})
    return frozenset(word for word, count in counts.items() if count >= least)


def question_fault(
    question: str, *, code: str, name: str, common: frozenset[str], about: str = "", examples: frozenset[str]
) -> str:
    """Why a question cannot be used.

    Args:
        question: As the model wrote it.
        code: What it asks about.
        name: What the code defines; empty for a file.
        common: Plain words, which a question may use although the code does.
        about: What the documentation of the code says.
        examples: Questions that the prompt itself holds.
    """
    if _REFUSAL.search(question):
        return "refusal"
    if _CODE_IN_PROSE.search(question):
        return "reads like code"
    if _POINTS_AT_CODE.search(question):
        return "speaks of the code"
    words = re.findall(r"[a-z]+", question.lower())
    if len(words) > MAX_QUESTION_WORDS:
        return "too long"
    reason = prose.fault(question, min_words=MIN_QUESTION_WORDS)
    if reason:
        return reason
    if _says_name(words, name, common):
        return "says the name"
    told = {part for identifier in identifiers(code) for part in (identifier.lower(), *parts(identifier))}
    if any(word in told and word not in common for word in words):
        return "says a rare identifier"
    if about and _overlap(question, about) > _SAME:
        return "repeats the documentation"
    if any(_overlap(question, example) > 0.6 for example in examples):
        return "repeats an example"
    return ""


def _says_name(words: list[str], name: str, common: frozenset[str]) -> bool:
    wanted = [part for part in parts(name) if part.isalpha()]
    if len(wanted) < 2:
        return bool(wanted) and wanted[0] not in common and wanted[0] in words
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _overlap(one: str, other: str) -> float:
    """Jaccard similarity of two texts' words."""
    first, second = (set(re.findall(r"[a-z]+", text.lower())) for text in (one, other))
    return len(first & second) / max(1, len(first | second))


def fenced(answer: str) -> str:
    r"""The code of the only fenced block, "" if there is none or there are several.

    Example:
        >>> fenced("Here:\n```go\nfunc a() {}\n```")
        'func a() {}'
    """
    found = _FENCE.findall(answer)
    return str(found[0]).strip("\n") if len(found) == 1 and answer.count("```") == 2 else ""


def translation_fault(translated: str, *, code: str, language: str, target: str) -> str:
    """Why a translation cannot be used.

    Args:
        translated: The code that the model wrote.
        code: What it was to translate.
        language: Of ``code``.
        target: Language asked for.
    """
    if not translated.strip():
        return "no fenced code"
    if _REFUSAL.search(translated):
        return "refusal"
    if _LEFT_OUT.search(translated) and not _LEFT_OUT.search(code):
        return "left something out"
    ratio = len("".join(translated.split())) / max(1, len("".join(code.split())))
    if not _LENGTH_RATIOS[0] <= ratio <= _LENGTH_RATIOS[1]:
        return "far shorter or longer"
    one, other = set(shingles(translated).tolist()), set(shingles(code).tolist())
    if len(one & other) > _SAME * len(one | other):
        return "echo"
    return syntax_fault(translated, target)


def syntax_fault(code: str, language: str) -> str:
    """Why a text is no complete piece of source in a language: an error in it, or no definition.

    Example:
        >>> syntax_fault("def a(): return 1", "python"), syntax_fault("def a( return", "python")
        ('', 'does not parse')
    """
    if language == "php" and "<?" not in code:
        code = f"<?php\n{code}"
    grammar = grammar_of(language, code)
    if grammar is None:
        return "no grammar of its language"
    tree = grammar.parse(code.encode("utf8", "replace"))
    if tree is None or tree.root_node.has_error:
        return _member_fault(code, language)
    return "" if _defines(code, language) else "defines nothing"


def _member_fault(code: str, language: str) -> str:
    """Java has no functions: a method by itself is put into a class before it is judged."""
    if language in ("java", "csharp") and not re.match(r"\s*(?:import|package|using)\b", code):
        grammar = grammar_of(language)
        wrapped = f"class Holder {{\n{code}\n}}"
        tree = grammar.parse(wrapped.encode("utf8", "replace")) if grammar else None
        if tree is not None and not tree.root_node.has_error:
            return "" if _defines(wrapped, language, but="Holder") else "defines nothing"
    return "does not parse"


def _defines(code: str, language: str, but: str = "") -> bool:
    found = definitions(code, language) or []
    return any(definition.kind in _HOLDERS and definition.name != but for definition in found)
