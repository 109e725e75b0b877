r"""Replace secrets and e-mail addresses in source files, by the published forms of keys and by a few rules.

A short rule set of our own: detect-secrets, the best known library for it, reads 45 kB a second and calls most lines of
a file random. These rules know keys that name themselves (private key blocks, AWS, GitHub, GitLab, Google, Slack,
Stripe, OpenAI, Anthropic, Hugging Face, npm, PyPI, SendGrid, JSON web tokens), passwords in URLs, and texts of 20
random-looking characters that are assigned to a name such as ``api_key``. A password that looks like a word is not
found, nor is a name, a postal address or a telephone number.
"""

from __future__ import annotations

import re
from typing import NamedTuple

EMAIL, SECRET = "e-mail address", "secret"


class _Rule(NamedTuple):
    kind: str
    hints: tuple[str, ...]  # one of them is in every text that has a match
    pattern: re.Pattern[str]  # group 1, if there is one, is what is replaced


def _secret(hints: str, pattern: str) -> _Rule:
    return _Rule(SECRET, tuple(hints.split()), re.compile(pattern))


_RULES = (
    _secret(
        "-----BEGIN",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[^-]{1,20000}-----END [A-Z0-9 ]{0,40}KEY",
    ),
    _secret("AKIA ASIA ABIA ACCA", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    _secret("ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})"),
    _secret(
        "glpat- xox sk_live_ rk_live_", r"\b(?:glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|[rs]k_live_[A-Za-z0-9]{20,})"
    ),
    _secret("hooks.slack.com", r"hooks\.slack\.com/services/(T\w{6,}/B\w{6,}/\w{16,})"),
    _secret("AIza ya29.", r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{30,})"),
    _secret(
        "sk- hf_ npm_ pypi-AgEI", r"\b(?:sk-(?:proj-|ant-)?[\w-]{40,}|hf_[A-Za-z]{34}|npm_\w{36}|pypi-AgEI[\w-]{50,})"
    ),
    _secret("SG.", r"\bSG\.[\w-]{22}\.[\w-]{43}"),
    _secret("eyJ", r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _secret("://", r"://[^\s:/@'\"<>{}$%()\[\]]{1,64}:([^\s:/@'\"<>{}$%()\[\]]{3,64})@(?=[\w\[])"),
    _secret(
        "word key ecret oken WORD KEY ECRET OKEN Key",
        r"(?i)(?:password|passwd|secret|token|api_?key|access_?key)\w{0,24}[\"']?\s{0,4}[:=]{1,2}\s{0,4}[\"']"
        r"(?=[^\"']{0,99}\d)(?=[^\"']{0,99}[a-z])(?-i:(?=[^\"']{0,99}[A-Z]))([A-Za-z0-9+/_=-]{20,100})[\"']",
    ),
    _Rule(
        EMAIL,
        ("@",),
        # Not git@host, an example's address, image@2x.png, or a product of two matrices.
        re.compile(
            r"(?<![\w.+%@/-])(?!git@)[\w.+%-]{2,64}@(?!example\.|localhost)(?:[A-Za-z0-9-]{1,63}\.){1,8}"
            r"(?!(?:png|jpe?g|gif|svg|webp|js|ts|css|json|html|shape|size|data|dot|py)\b)[A-Za-z]{2,24}\b(?![\w(\[]|\.\w)"
        ),
    ),
)
_MARKS = {EMAIL: "<EMAIL>", SECRET: "<KEY>"}


def scrub(text: str) -> tuple[str, dict[str, int]]:
    """The text without secrets and addresses, and how many of each kind were replaced.

    Example:
        >>> scrub("# by Ann <ann@firm.org>")
        ('# by Ann <<EMAIL>>', {'e-mail address': 1})
        >>> scrub("db = 'postgres://ann:hunter2@host/db'")[0]
        "db = 'postgres://ann:<KEY>@host/db'"
    """
    counts: dict[str, int] = {}
    for rule in _RULES:
        if any(hint in text for hint in rule.hints):
            text, number = rule.pattern.subn(lambda found, kind=rule.kind: _replaced(found, kind), text)  # type: ignore[misc]
            if number:
                counts[rule.kind] = counts.get(rule.kind, 0) + number
    return text, counts


def _replaced(found: re.Match[str], kind: str) -> str:
    if not found.re.groups:
        return _MARKS[kind]
    whole, start = found[0], found.start()
    return whole[: found.start(1) - start] + _MARKS[kind] + whole[found.end(1) - start :]
