from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
from worker_functions import (
    die_once,
    double,
    imported,
    live_or_die,
    log_and_live_or_die,
    memory_limit,
    process_id,
    swell,
)

from mose import parallel, workers
from mose.parallel import Limits, run_each
from mose.search.chunking.prepare import cut_file
from mose.workers import CRASHED, KILLED, NO_PROCESS, TOO_LARGE, TOO_LONG, Failure

QUICK = Limits(memory_bytes=400_000_000, cpu_seconds=0.5, wall_seconds=3.0)


@pytest.fixture(autouse=True)
def _no_process_is_left():
    workers.stop_idle()
    yield
    workers.stop_idle()


@pytest.mark.parametrize("num_workers", [1, 3])
def test_answers_come_in_order(num_workers):
    assert list(run_each(double, range(200), shared=(1,), num_workers=num_workers)) == [2 * n + 1 for n in range(200)]
    assert list(run_each(double, [])) == []


def test_heavy_items_are_not_all_taken_at_once():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    answers = run_each(double, items(), weigh=lambda _: parallel.MAX_AHEAD_WEIGHT // 2)
    assert next(answers) == 0
    assert len(taken) < 5
    assert list(answers) == [2 * n for n in range(1, 50)]


@pytest.mark.parametrize(
    ("how", "reason", "may_pass"),
    [
        ("kill", KILLED, True),
        ("abort", TOO_LARGE, False),
        ("segmentation fault", CRASHED, False),
        ("exit", CRASHED, False),
        ("raise", "failed (ValueError)", False),
        ("loop", TOO_LONG, False),
        ("eat", TOO_LARGE, False),
        ("stop", TOO_LONG, True),
        ("close pipes", CRASHED, None),
    ],
)
def test_an_item_that_goes_wrong_takes_no_other_with_it(how, reason, may_pass):
    first, failure, *rest = run_each(live_or_die, ["a", how, "b", "c"], limits=QUICK)
    assert (first, rest) == ("a", ["b", "c"])
    assert isinstance(failure, Failure)
    if how == "close pipes":  # killed by us
        assert failure.reason in (CRASHED, KILLED)
        return
    assert (failure.reason, failure.may_pass) == (reason, may_pass)
    assert failure.detail


@pytest.mark.parametrize("num_workers", [1, 2])
def test_who_dies_among_items_sent_ahead_is_known_and_no_answer_is_lost_or_asked_for_twice(tmp_path, num_workers):
    fates = {3: "abort", 4: "kill", 11: "loop", 12: "raise", 30: "exit", 59: "segmentation fault"}
    logs = [(str(tmp_path / str(number)), fates.get(number, "live")) for number in range(60)]
    answers = list(run_each(log_and_live_or_die, logs, limits=QUICK, num_workers=num_workers))
    failures = {number: answer.reason for number, answer in enumerate(answers) if isinstance(answer, Failure)}
    reasons = {"kill": KILLED, "abort": TOO_LARGE, "loop": TOO_LONG, "raise": "failed (ValueError)"}
    assert failures == {number: reasons.get(fate, CRASHED) for number, fate in fates.items()}
    times_run = [(tmp_path / str(number)).stat().st_size for number in range(60)]
    tried_again = {number for number, fate in fates.items() if fate not in ("loop", "raise")}
    assert times_run == [2 if number in tried_again else 1 for number in range(60)]


def test_large_items_and_large_answers_do_not_wait_for_each_other():
    items = [bytes([number % 256]) * 1_000 for number in range(300)] + [b"x" * 300_000] * 3
    answers = run_each(swell, items, shared=(200_000,))
    first = next(answers)
    time.sleep(0.5)  # the pipes fill
    assert [first, *answers] == [item + bytes(200_000) for item in items]


def test_what_cannot_be_sent_for_any_item_is_an_error_of_the_caller():
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        list(run_each(double, [1], shared=(lambda: None,)))


def test_talk_of_a_function_is_not_taken_for_an_answer():
    assert list(run_each(live_or_die, ["print", "a"])) == ["print", "a"]


def test_item_whose_process_was_killed_by_somebody_else_is_tried_again(tmp_path):
    marks = [str(tmp_path / f"{number}") for number in range(4)]
    assert list(run_each(die_once, marks, num_workers=2)) == ["alive"] * 4


def test_processes_have_limits_and_leave_no_core_files():
    assert list(run_each(memory_limit, [0], limits=QUICK)) == [(400_000_000, 0)]


def test_processes_that_cut_load_neither_numpy_nor_an_encoder():
    workers.start_early(cut_file.__module__)
    assert list(run_each(imported, [0])) == [[]]


def test_idle_process_is_used_again_and_ends_with_its_owner():
    (first,) = run_each(process_id, [0])
    assert list(run_each(process_id, [0])) == [first]
    os.kill(first, signal.SIGKILL)
    (second,) = run_each(process_id, [0])
    assert second != first
    code = (
        "from mose.parallel import run_each; from mose.search.chunking.chunk import embedding_key as f\n"
        "import mose.workers; list(run_each(f, ['a'], shared=('b',)))\n"
        "print(mose.workers._idle[0]._child.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    _ends(int(done.stdout))


def _ends(process: int) -> None:
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} is left")


def test_caller_that_takes_no_more_answers_leaves_no_process_at_work():
    answers = run_each(live_or_die, ["a", "loop", "loop"], limits=Limits(cpu_seconds=100))
    assert next(answers) == "a"
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 20
    assert not workers._idle


def test_where_no_process_can_be_started_every_item_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    failures = list(run_each(double, [1, 2]))
    assert [(failure.reason, failure.may_pass) for failure in failures] == [(NO_PROCESS, True)] * 2


def test_what_cannot_be_sent_to_a_process_is_a_failure_and_no_wait():
    assert [type(answer) for answer in run_each(double, [1, lambda: None], shared=(1,))] == [int, Failure]


def test_fork_does_not_use_the_process_of_its_parent():
    (first,) = run_each(process_id, [0])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (own,) = run_each(process_id, [0])
            code = 0 if own != first else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(run_each(process_id, [0])) == [first]
