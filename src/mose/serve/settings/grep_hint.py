"""A hook of Claude Code: an agent that is about to grep a phrase is told of the search by meaning.

Claude Code starts this file before each call of its tools Grep and Bash (``python -I -S grep_hint.py``) and waits for
it, so it imports nothing of this package and little else. It only ever adds a remark: it refuses no call, and whatever
goes wrong in it goes unnoticed.
"""

import json
import re
import sys

MAX_BYTES = 200_000
HINT = (
    "grep finds this phrase only where it stands word for word. For code that does this, in whatever words, give the "
    "phrase to `search` of the MCP server `mose`."
)
_GREP = re.compile(
    r"""(?:^|[;\n]|&&|\|\|)[ \t]*(?:git[ \t]+)?(?:[ef]?grep|rg|ag|ack)[ \t]((?:[^|;&\n'"]|'[^']*'|"[^"]*")*)"""
)
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_GAP = re.compile(r" +|\.\*\??|\\s[*+]")
_CODE = re.compile(
    "async|await|class|const|def|elif|enum|export|extends|extern|fn|func|function|impl|import|isinstance|private|public"
    "|pub|return|self|static|struct|typedef|var|void"
)


def is_phrase(pattern: str) -> bool:
    """Whether a pattern, or one of its alternatives, is three plain words or more, none of them a word of code."""
    return any(_are_words(_GAP.split(part.strip())) for part in pattern.split("|"))


def _are_words(words: "list[str]") -> bool:
    return len(words) > 2 and not any(_CODE.fullmatch(word) or not _is_plain(word) for word in words)


def _is_plain(word: str) -> bool:
    return word.isalpha() and (word.islower() or word.istitle())


def patterns(tool: str, given: "dict[str, object]") -> "list[str]":
    """What a call looks for: the pattern of Grep, or what is in quotes behind the grep of a shell command."""
    if tool == "Grep":
        return [str(given.get("pattern"))]
    searches = _GREP.findall(str(given.get("command")))
    return [single or double for search in searches for single, double in _QUOTED.findall(search)]


def main() -> None:
    """Answer one call, from standard input to standard output."""
    try:
        call = json.loads(sys.stdin.buffer.read(MAX_BYTES))
        if any(map(is_phrase, patterns(call["tool_name"], call["tool_input"]))):
            said = {"hookEventName": "PreToolUse", "additionalContext": HINT}
            sys.stdout.write(json.dumps({"hookSpecificOutput": said}))
    except Exception:  # whatever it is, the agent goes on
        pass


if __name__ == "__main__":
    main()
