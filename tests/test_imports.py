"""The layers of the package: who may import whom, and what a bare import costs."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import mose

ROOT = Path(mose.__file__).parent
HEAVY = ("torch", "transformers", "onnx")
MOST_MODULES = 15

LAYERS = """
escaping json_reading processes limited progress words framing
errors
storage workers git database
parallel
scale
languages config metrics
files syntax tokenizer
data model
runtime train
export
search
evaluate integrations serve
"""
"""From the lowest to the highest: a room imports only rooms of lower lines."""

ALLOWED = {
    "errors": {"escaping"},
    "storage": {"errors", "json_reading"},
    "workers": {"processes", "limited"},
    "parallel": {"limited", "workers"},
    "scale": {"errors", "parallel", "workers"},
    "git": {"processes"},
    "config": {"errors"},
    "files": {"errors", "languages"},
    "syntax": {"languages", "words"},
    "tokenizer": {"errors", "json_reading", "words"},
    "data": {
        "errors", "progress", "json_reading", "parallel", "workers", "processes", "storage", "git", "config", "files", "syntax",
        "languages", "tokenizer", "words", "framing",
    },
    "model": {"errors", "progress", "json_reading", "storage", "config", "tokenizer", "words"},
    "train": {
        "errors", "progress", "json_reading", "storage", "config", "tokenizer", "words", "framing", "data", "model",
        "metrics.ranking", "metrics.decisions", "metrics.adaptive",
    },
    "runtime": {
        "errors", "progress", "json_reading", "storage", "tokenizer", "words", "model.settings", "model.folder", "model.shapes",
    },
    "export": {
        "errors", "storage", "tokenizer", "runtime", "model.settings", "model.folder", "model.shapes",
    },
    "search": {
        "database", "errors", "progress", "processes", "parallel", "workers", "storage", "files", "syntax", "languages", "words",
        "framing", "tokenizer", "runtime",
    },
    "evaluate": {
        "database", "errors", "progress", "json_reading", "parallel", "workers", "processes", "git", "storage", "metrics", "config",
        "words", "languages", "files", "syntax", "tokenizer", "runtime", "export", "search", "data.pairs", "data.curate", "data.mine.commit_subjects", "model",
    },
    "integrations": {"errors", "model", "runtime", "search", "tokenizer", "words"},
    "serve": {
        "errors", "escaping", "parallel", "processes", "progress", "workers", "storage", "runtime", "search", "files.watch",
    },
}  # fmt: skip
"""What a room imports of the lower ones; a room without a line imports nothing."""


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {f"mose.{name_of(path)}" for path in modules()}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in NAMES else node.module


def own_imports(path):
    """Modules of the package that one imports, wherever in the file and whatever for."""
    for imported in imports_of(path):
        if imported in NAMES and imported != f"mose.{name_of(path)}":
            yield imported.removeprefix("mose.")


def layer_of(name):
    return name.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_module_imports_only_the_layers_below(path):
    name = name_of(path)
    layer = layer_of(name)
    if layer in ("", "cli", "__main__"):
        return
    assert layer in LAYERS.split(), f"say in LAYERS where mose.{layer} stands"
    for target in own_imports(path):
        allowed = ALLOWED.get(layer, set())
        known = any(target == rule or target.startswith(rule + ".") for rule in allowed)
        package = target in {layer_of(rule) for rule in allowed}
        assert layer_of(target) == layer or known or package, f"{name} imports {target}"


def test_rules_name_lower_layers_alone():
    height = {room: number for number, line in enumerate(LAYERS.split("\n")) for room in line.split()}
    for layer, allowed in ALLOWED.items():
        for rule in allowed:
            assert height[layer_of(rule)] < height[layer], f"{layer} may not import {rule}"


def test_no_circles():
    targets = {name_of(path): set(own_imports(path)) for path in modules()}
    while free := {name for name, needed in targets.items() if not needed & targets.keys()}:
        targets = {name: needed for name, needed in targets.items() if name not in free}
    assert not targets, "a circle is among these modules"


def test_only_the_start_of_the_program_imports_the_command_line():
    for path in modules():
        if layer_of(name_of(path)) not in ("__main__", "cli"):
            assert not any(layer_of(target) == "cli" for target in own_imports(path)), name_of(path)


def test_rooms_can_be_looked_over():
    rooms = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {room.name: count for room, count in rooms.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("path", [p for p in modules() if name_of(p).startswith("metrics.")], ids=name_of)
def test_metrics_are_a_leaf(path):
    assert all(target == "errors" or layer_of(target) == "metrics" for target in own_imports(path))


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
    families = ("mose.cli.search.command", "mose.cli.evaluating", "mose.search", "mose.storage")
    families = (*families, "dataclasses", "inspect", "json")  # a third of the time of all the others
    assert loaded_by("import mose.cli; mose.cli.build_parser(['--help']).format_help()", *names, *families) == "[]"


def test_search_loads_neither_torch_nor_transformers(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "home"))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "dates.py").write_text("def parse_iso_date(text):\n    return text.split('-')\n")
    code = f"from mose.cli import main; main(['search', 'parse an ISO date', {str(tmp_path / 'tree')!r}])"
    assert loaded_by(code, *HEAVY) == "[]"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_progress_is_reported_in_one_way(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.arg) and node.annotation is not None:
            kind = ast.unparse(node.annotation)
            allowed = ("ProgressCallback", "Progress") if node.arg == "progress" else ()
            assert ("Progress" in kind or node.arg == "progress") == (kind in allowed), f"line {node.lineno}"


@pytest.mark.parametrize(
    ("written", "owners"),
    [
        ("ProcessPoolExecutor", set()),
        ("multiprocessing", {"data.prefetch"}),  # its processes live as long as the training
        ("sqlite3.connect(", {"database", "search.store.reader"}),  # the latter in memory
        ("BEGIN IMMEDIATE", {"database", "search.store.prune"}),  # a dry run of the latter ends in a rollback
    ],
)
def test_what_is_hard_to_do_right_is_done_once(written, owners):
    assert {name_of(path) for path in modules() if written in path.read_text(encoding="utf8")} == owners
