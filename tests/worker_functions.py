"""What the tests of `mose.parallel` run in its processes."""

import os
import signal
import time
from pathlib import Path

from mose.search.chunking.prepare import cut_file


def double(number, extra=0):
    return 2 * number + extra


def live_or_die(how):  # noqa: C901
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "abort":
        os.abort()
    elif how == "segmentation fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "exit":
        os._exit(3)
    elif how == "raise":
        raise ValueError("\ud800 is no text")
    elif how == "loop":
        while True:
            pass
    elif how == "eat":
        eaten = []
        while True:
            eaten.append(bytearray(50_000_000))
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "close pipes":
        os.closerange(0, 50)
        time.sleep(60)
    elif how == "print":
        print("talk " * 50_000)
    return how


def log_and_live_or_die(log_and_fate):
    log, fate = log_and_fate
    with open(log, "a", encoding="utf-8") as file:
        file.write("1")
    return live_or_die(fate)


def swell(data, num_bytes):
    return data + bytes(num_bytes)


def die_once(mark):
    """Killed the first time, as by somebody else."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def memory_limit(_):
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CORE)[0]


def imported(_):
    import sys

    return sorted(name for name in sys.modules if name.split(".")[0] in ("numpy", "onnxruntime", "tokenizers", "torch"))


def process_id(_):
    return os.getpid()


def cut_or_die(task, root, limits, config):
    """As `cut_file`, but a file may say what is to become of the process: "ABORT", "KILL ALWAYS", ..."""
    head = (root / task.file.path).read_text(encoding="utf-8").partition("\n")[0]
    if not task.trouble or "ALWAYS" in head:
        for how in ("abort", "kill", "raise"):
            if how.upper() in head:
                live_or_die(how)
    return cut_file(task, root, limits, config)
