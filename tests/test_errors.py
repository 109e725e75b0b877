"""Errors: each says what is allowed or what to do, and reads the same wherever it is raised."""

import ast
from pathlib import Path

import mose
from mose import errors

SOURCE = Path(mose.__file__).parent
WITHIN = {"IndexReplacedError"}
"""Never shown: who meets one opens the index again."""


def kinds():
    """Names of all our errors, also of those that a room defines for itself."""
    found = {name for name, value in vars(errors).items() if isinstance(value, type)}
    while True:
        more = {
            node.name
            for file in SOURCE.rglob("*.py")
            for node in ast.walk(ast.parse(file.read_text(encoding="utf8")))
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & found
        }
        if more <= found:
            return found - WITHIN
        found |= more


def test_every_error_says_what_is_allowed_or_what_to_do():
    shown, lacking = kinds(), []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in shown:
                continue
            helps = {keyword.arg for keyword in node.keywords} & {"allowed", "remedy"}
            if not helps and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
                lacking.append(f"{file.relative_to(SOURCE)}:{node.lineno}: {ast.unparse(node)}")
    assert not lacking, "\n".join(lacking)
