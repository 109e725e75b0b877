"""Versioned prompts for a model that writes questions about code and translates it.

A prompt is a system message, examples as turns of the conversation, and one turn for the row. The part shared by all
rows comes first, so that a server can cache it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType

SPOKEN_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "c": "C",
        "cpp": "C++",
        "csharp": "C#",
        "elixir": "Elixir",
        "go": "Go",
        "java": "Java",
        "javascript": "JavaScript",
        "kotlin": "Kotlin",
        "php": "PHP",
        "python": "Python",
        "ruby": "Ruby",
        "rust": "Rust",
        "scala": "Scala",
        "typescript": "TypeScript",
    }
)
"""Languages as people write them."""

TARGETS = ("c", "cpp", "go", "java", "javascript", "php", "python", "ruby", "rust")
"""Languages that functions are translated into."""

_SHOWN_FOLDERS = 4

Messages = tuple[tuple[str, str], ...]
"""Role and content of each message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The part of a prompt that all rows of a task share."""

    task: str
    """Questions about a function ("function") or a file ("file"), or a translation ("translate")."""
    version: int
    """Raised after every change of the texts."""
    head: Messages
    """System message and examples."""
    labels: tuple[str, ...] = ()
    """Labels of the lines of an answer; empty if the answer is code."""
    max_tokens: int
    """Maximum length of an answer."""
    temperature: float
    """Temperature of sampling."""

    @property
    def name(self) -> str:
        """Task, version and hash of the texts: "function-1-3f2a9c01"."""
        words = json.dumps([self.head, self.labels, self.max_tokens, self.temperature])
        digest = blake2b(words.encode("utf8"), digest_size=4).hexdigest()
        return f"{self.task}-{self.version}-{digest}"


def shown_code(path: str, language: str, code: str, about: str = "") -> str:
    """The turn that shows a row.

    Args:
        path: Path of the file.
        language: Language of the code.
        code: A function, or the outline of a file.
        about: What its documentation says; left out if empty.

    Example:
        >>> print(shown_code("a.py", "python", "x = 1"))
        a.py
        ```python
        x = 1
        ```
    """
    said = f"\nIts documentation: {about}" if about else ""
    shown = "/".join(path.split("/")[-_SHOWN_FOLDERS:])
    return f"{shown}{said}\n```{language}\n{code}\n```"


def translation_order(source: str, target: str, code: str) -> str:
    """The turn that asks for a translation."""
    spoken = f"Translate this {SPOKEN_NAMES[source]} code to {SPOKEN_NAMES[target]}."
    return f"{spoken}\n```{source}\n{code}\n```"


_FUNCTION_RULES = """\
You write what developers type into a code search engine. They know the problem, but they have never seen the code and \
do not know any of its names. For each code you are shown, write three lines:
search: what the code does, 4 to 10 plain words
where: a question that starts with "where" or "how", about one detail of what the code does
problem: a bug report in one line: the wrong thing that a user would see if this code had a bug
Be concrete: say what is special about this code, so that the lines fit no other code. Never use function, class, \
variable or file names. Never write "the code", "the function" or "the class". Write nothing else."""

_RETRY = """\
def fetch_with_backoff(url, attempts=5):
    delay = 0.5
    for attempt in range(attempts):
        response = session.get(url, timeout=10)
        if response.status < 500:
            return response
        time.sleep(delay)
        delay = min(delay * 2, MAX_DELAY)
    raise GiveUp(url)"""

_VOUCHER = """\
func (c *Cart) applyVoucher(v Voucher) error {
	if time.Now().After(v.ValidUntil) {
		return errExpired
	}
	for i := range c.lines {
		if c.lines[i].category == v.category {
			c.lines[i].price -= c.lines[i].price * v.percent / 100
		}
	}
	c.used = append(c.used, v.code)
	return nil
}"""

FUNCTION = Prompt(
    task="function",
    version=1,
    head=(
        ("system", _FUNCTION_RULES),
        ("user", shown_code("src/net/download.py", "python", _RETRY)),
        (
            "assistant",
            "search: repeat a failed download with growing pauses\n"
            "where: where is it decided how long to wait before the next attempt\n"
            "problem: requests give up at once although the server is back a second later",
        ),
        ("user", shown_code("internal/shop/cart.go", "go", _VOUCHER)),
        (
            "assistant",
            "search: reduce the price of matching items by a percentage\n"
            "where: how are discounts that are out of date refused\n"
            "problem: the discount is also taken off products of other kinds",
        ),
    ),
    labels=("search", "where", "problem"),
    max_tokens=96,
    temperature=0.3,
)

_FILE_RULES = """\
You write what developers ask about a code base they do not know. They have never seen its files and know none of \
their names. For each file you are shown, by its path and its outline, write three lines:
search: what is done there, 4 to 10 plain words
how: a question that starts with "how", about the way in which its parts work together
where: a question that starts with "where", about a task that is done there
Be concrete: say what is special about this file, so that the lines fit no other file. Never use function, class, \
variable or file names. Never write "the code", "the file" or "the class". Write nothing else."""

_CACHE = """\
class PageCache:
    def __init__(self, limit_bytes: int) -> None:
    def lookup(self, key: str) -> Page | None:
    def store(self, key: str, page: Page) -> None:
    def _evict_oldest(self) -> None:
class DiskPages(PageCache):
    def flush(self) -> None:
def cache_for(settings: Settings) -> PageCache:"""

_ROUTES = """\
export interface Route
export class Router {
    add(pattern: string, handler: Handler): void
    match(url: string): Match | null
    private compile(pattern: string): RegExp
export function redirect(url: string, status = 302): Response"""

FILE = Prompt(
    task="file",
    version=1,
    head=(
        ("system", _FILE_RULES),
        ("user", shown_code("server/cache.py", "python", _CACHE, "Pages that were made before.")),
        (
            "assistant",
            "search: keep recently used pages in memory or on disk\n"
            "how: how does the server decide which stored page to throw away when memory is full\n"
            "where: where is it chosen whether pages are kept in memory or written to disk",
        ),
        ("user", shown_code("src/http/router.ts", "typescript", _ROUTES, "Routing for the HTTP server.")),
        (
            "assistant",
            "search: find the handler for a requested address\n"
            "how: how are address patterns turned into something that incoming requests are compared with\n"
            "where: where are requests sent on to another address",
        ),
    ),
    labels=("search", "how", "where"),
    max_tokens=96,
    temperature=0.3,
)

_TRANSLATE_RULES = """\
You translate code between programming languages. Keep what it does; use the names, types and library of the target \
language as its developers would. Answer with one fenced code block that holds the translated code only: no \
explanation, no comments, no tests, no usage example."""

TRANSLATE = Prompt(
    task="translate",
    version=1,
    head=(("system", _TRANSLATE_RULES),),
    max_tokens=420,
    temperature=0.0,
)

PROMPTS: Mapping[str, Prompt] = MappingProxyType({prompt.task: prompt for prompt in (FUNCTION, FILE, TRANSLATE)})
"""All prompts by task."""
