"""The executor on Ray gives what the local one gives. Each test runs in a process of its own: Ray ends with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mose.cli import main

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="mose[scale] is not installed")

SAME = """
import json, pickle
from worker_functions import double, live_or_die, swell
from mose import parallel
from mose.scale import cluster
from mose.parallel import Limits
from mose.workers import Failure

def told(answers):
    return [[each.reason, each.may_pass] if isinstance(each, Failure) else str(each)[:80] for each in answers]

fates = ["a", "kill", "b", "abort", "raise", "loop", "eat", "exit", "segmentation fault", "print", "c"]
limits = Limits(memory_bytes=400_000_000, cpu_seconds=0.5, wall_seconds=10.0)
for function, items, how in (
    (double, range(300), {"shared": (1,), "num_workers": 2}),
    (double, [], {}),
    (live_or_die, fates, {"limits": limits}),
    (swell, [bytes([n]) * 50_000 for n in range(60)], {"shared": (100_000,), "weigh": len, "num_workers": 2}),
    (double, [1, lambda: None, 2], {}),
):
    ours, theirs = (told(each(function, items, **how)) for each in (parallel.run_each, cluster.run_each))
    assert len(ours) == len(items)
    assert ours == theirs, (function, ours, theirs)

taken = []
def endless():
    while True:
        taken.append(len(taken))
        yield taken[-1]
answers = cluster.run_each(double, endless(), num_workers=2)
assert [next(answers) for _ in range(100)] == [2 * n for n in range(100)]
assert len(taken) <= 100 + (cluster.BATCHES_AHEAD * 2 + 2) * cluster.BATCH_ITEMS
answers.close()
for each in (parallel, cluster):
    try:
        list(each.run_each(double, [1], shared=(lambda: None,)))
        raise SystemExit("no error")
    except (AttributeError, TypeError, pickle.PicklingError):
        pass
"""

ALONE = """
import os, sys
os.environ["MOSE_SECRET_HOME"] = "1"
from worker_functions import double
from mose.scale import cluster
assert list(cluster.run_each(double, [1])) == [2]
import ray
from ray._common.usage import usage_lib
print(usage_lib.usage_stats_enabled(), ray.get_runtime_context().worker.node.address_info["webui_url"] or "no dashboard")
found = set()
mine = {os.getpid()}
for _ in range(5):
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if b"MOSE_SECRET_HOME=1" in open(f"/proc/{entry}/environ", "rb").read() or "ray" in open(f"/proc/{entry}/cmdline").read():
                    mine.add(int(entry))
            except OSError:
                pass
inodes = {}
for pid in mine:
    try:
        for handle in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{handle}")
            if target.startswith("socket:["):
                inodes[target[8:-1]] = pid
    except OSError:
        pass
for name, loopback in (("tcp", {"0100007F"}), ("tcp6", {"00000000000000000000000001000000", "0000000000000000FFFF00000100007F"})):
    for line in open(f"/proc/net/{name}").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            address, port = fields[1].split(":")
            print("listens", "loopback" if address in loopback else f"on {name} {address}:{int(port, 16)} pid {inodes[fields[9]]}")
"""


NOT_THERE = """
from mose.errors import MoseError
from mose.scale import cluster
try:
    list(cluster.run_each(len, ["a"]))
except MoseError as error:
    print(error)
"""


def run(code, **environment):
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


@needs_ray
def test_ray_gives_the_answers_and_failures_of_the_local_executor():
    run(SAME)


@needs_ray
def test_a_cluster_started_here_reports_nothing_and_listens_on_the_loopback_interface_alone():
    said, *listening = run(ALONE, RAY_USAGE_STATS_ENABLED="1").splitlines()
    assert said == "False no dashboard"
    assert set(listening) == {"listens loopback"}


def package_to_mine(folder):
    from importlib.metadata import version

    (folder / "mine.toml").write_text(
        f'[[packages]]\nname = "filelock"\nregistry = "site-packages"\nversion = "{version("filelock")}"\nlicense = "MIT"\n'
        'languages = ["python"]\n'
    )
    return ["mine", f"{folder}/mine.toml"]


def history_to_mine(folder):
    clone = folder / "clones" / "store"
    clone.mkdir(parents=True)

    def git(*words):
        done = subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words],
                              cwd=clone, check=True, capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip()

    git("init", "-q")
    for commit in range(12):  # each changes one of six files, from the second round on
        name = ("read", "write", "load", "store", "open", "close")[commit % 6]
        body = f"    total = {commit}\n    for item in items:\n        total += item * {commit}\n    return total\n"
        (clone / f"{name}.py").write_text(f"def {name}_all(items):\n{body}")
        git("add", "-A")
        git("commit", "-q", "-m", f"Sums of the items that are {name} begin with another number")
    (folder / "histories.toml").write_text(
        f'[[repositories]]\nname = "owner/store"\ncommit = "{git("rev-parse", "HEAD")}"\nlicense = "MIT"\n'
    )
    return ["history", f"{folder}/histories.toml", "--clones", f"{folder}/clones"]


@needs_ray
@pytest.mark.parametrize(("prepare", "least"), [(package_to_mine, 10), (history_to_mine, 6)])
def test_mining_on_ray_writes_the_same_files(tmp_path, prepare, least):
    command = prepare(tmp_path)
    files = {}
    for executor in ("local", "ray"):
        words = ["pairs", *command, "--out", f"{tmp_path}/{executor}", "--executor", executor, "--quiet"]
        run(f"from mose.cli import main; assert main({words!r}) == 0")
        files[executor] = {path.name: path.read_bytes() for path in (tmp_path / executor).glob("*.*")}
    assert json.loads(files["local"]["manifest.json"])["totals"]["train"]["rows"] >= least
    assert files["local"] == files["ray"]


@needs_ray
def test_a_corpus_built_on_ray_has_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / "repositories" / name
        folder.mkdir(parents=True)
        (folder / "LICENSE").write_text("MIT License\n\nPermission is hereby granted, free of charge, to any person\n")
        for number in range(40):
            text = "".join(f"def {name}_{number}_{line}():\n    return {number} * {line}\n\n\n" for line in range(9))
            (folder / f"file_{number}.py").write_text(text)
    files = {}
    for executor in ("local", "ray"):
        words = ["corpus", "build", f"{tmp_path}/repositories", "--licence", "any", "--out", f"{tmp_path}/{executor}",
                 "--executor", executor, "--quiet"]  # fmt: skip
        run(f"from mose.cli import main; assert main({words!r}) == 0")
        files[executor] = {path.name: path.read_bytes() for path in (tmp_path / executor).glob("*.*")}
    assert json.loads(files["local"]["corpus.json"])["files"] > 10
    assert files["local"] == files["ray"]


@needs_ray
def test_a_cluster_that_is_not_there_is_told():
    said = run(NOT_THERE, RAY_ADDRESS="127.0.0.1:1")
    assert "Ray did not start" in said
    assert "Check RAY_ADDRESS (127.0.0.1:1)" in said


@pytest.mark.skipif(find_spec("ray") is not None, reason="mose[scale] is installed")
def test_without_ray_the_command_says_what_to_install(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(
        '[[packages]]\nname = "filelock"\nregistry = "site-packages"\nversion = "1"\nlicense = "MIT"\nlanguages = ["python"]\n'
    )
    assert main(["pairs", "mine", f"{tmp_path}/mine.toml", "--out", f"{tmp_path}/out", "--executor", "ray"]) == 2
    assert "pip install 'mose[scale]'" in capsys.readouterr().err
