"""The layers of the package: who may import whom, and what a bare import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mose

ROOT = Path(mose.__file__).parent
HEAVY = ("torch", "transformers", "onnx")

ALLOWED = {
    "processes": set(),
    "git": {"processes"},
    "limited": set(),
    "workers": {"processes", "limited"},
    "parallel": {"limited", "workers"},
    "escaping": set(),
    "errors": {"escaping"},
    "parsing": set(),
    "storage": {"errors", "parsing"},
    "words": set(),
    "framing": set(),
    "strict_toml": {"errors"},
    "config": {"errors", "strict_toml"},
    "languages": set(),
    "wildmatch": set(),
    "ignore": {"errors", "wildmatch"},
    "files": {"errors", "ignore", "languages"},
    "syntax": {"errors", "languages"},
    "tokenizer": {"errors", "parsing", "words"},
    "data": {
        "errors",
        "parsing",
        "parallel",
        "workers",
        "processes",
        "storage",
        "config",
        "files",
        "syntax",
        "languages",
        "tokenizer",
        "words",
        "framing",
    },
    "model": {"errors", "parsing", "storage", "config", "tokenizer", "words"},
    "train": {
        "errors",
        "parsing",
        "storage",
        "config",
        "strict_toml",
        "tokenizer",
        "words",
        "framing",
        "data",
        "model",
        "evaluate.metrics",
        "evaluate.decisions",
        "evaluate.adaptive",
    },
    "runtime": {"errors", "parsing", "storage", "tokenizer", "words", "model.settings", "model.folder", "model.shapes"},
    "search": {
        "errors",
        "processes",
        "parallel",
        "workers",
        "storage",
        "files",
        "ignore",
        "syntax",
        "languages",
        "words",
        "framing",
        "tokenizer",
        "runtime",
    },
    "evaluate": {
        "errors",
        "parsing",
        "parallel",
        "workers",
        "processes",
        "git",
        "storage",
        "config",
        "words",
        "languages",
        "files",
        "syntax",
        "tokenizer",
        "runtime",
        "search",
        "data.pairs",
        "model",
    },
}


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_module_imports_only_the_layers_below(path):
    name = name_of(path)
    layer = name.split(".")[0]
    if layer not in ALLOWED:
        assert layer in ("", "cli", "__main__"), f"say in ALLOWED what mose.{layer} may import"
        return
    for imported in imports_of(path):
        if not imported.startswith("mose."):
            continue
        target = imported.removeprefix("mose.")
        own = target.split(".")[0] == layer
        known = any(target == rule or target.startswith(rule + ".") for rule in ALLOWED[layer])
        package = target in {rule.split(".")[0] for rule in ALLOWED[layer]}
        assert own or known or package, f"{name} imports {imported}"


def test_nothing_imports_the_command_line():
    for path in modules():
        if name_of(path).split(".")[0] not in ("__main__", "cli"):
            assert not any(name.startswith("mose.cli") for name in imports_of(path)), name_of(path)


def test_metrics_are_a_leaf():
    path = ROOT / "evaluate" / "metrics.py"
    if path.exists():
        assert not [name for name in imports_of(path) if name.startswith("mose.") and name != "mose.errors"]


@pytest.mark.parametrize("path", [p for p in modules() if name_of(p).split(".")[0] != "cli"], ids=name_of)
def test_only_the_command_line_prints(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name_of(path)}, line {node.lineno}"


def loaded_by(code, *names):
    script = f"{code}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_bare_import_and_help_load_nothing_heavy():
    names = (*HEAVY, "onnxruntime", "numpy", "tokenizers", "tree_sitter")
    assert loaded_by("import mose", *names) == "[]"
    assert loaded_by("import mose.cli; mose.cli._build_parser().format_help()", *names) == "[]"


def test_search_loads_neither_torch_nor_transformers(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "home"))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "dates.py").write_text("def parse_iso_date(text):\n    return text.split('-')\n")
    code = f"from mose.cli import main; main(['search', 'parse an ISO date', {str(tmp_path / 'tree')!r}])"
    assert loaded_by(code, *HEAVY) == "[]"
