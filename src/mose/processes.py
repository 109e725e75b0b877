"""How our own processes start, and how they find programs: never in a searched tree.

In a cloned tree, an import could come from that tree (``python -m`` and an empty entry of ``PYTHONPATH`` put the
current folder before the standard library), and so could a program (an empty entry of ``PATH``).
"""

# Imports nothing but what every Python process has loaded already, not even `__future__`: this runs before the current
# folder leaves `sys.path`.
import os
import sys

PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder this package is imported from."""
ROOT = os.path.abspath(os.sep)
"""Working directory of our background processes: a core dump or a relative name must not land in a tree."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
"""Read by the libraries of the extras: no model hub is asked, no use is reported."""


def begin_command() -> None:
    """Make this process, and all that it starts, import nothing from the current folder and ask no hub.

    Call it in processes of our own alone: it changes ``sys.path`` and ``os.environ``.
    """
    sys.path[:] = import_path()
    os.environ.update(OFFLINE)
    os.environ["PYTHONSAFEPATH"] = "1"
    for name in ("PATH", "PYTHONPATH"):
        if name in os.environ:
            os.environ[name] = _absolute_entries(os.environ[name])


def import_path() -> list[str]:
    """``sys.path`` without the current folder and without what is named from there.

    Python has made absolute what ``PYTHONPATH`` names from there. The folder that this package is imported from stays,
    wherever it is, and so do Python's own folders.
    """
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    from_here = {_absolute(entry) for entry in named if not os.path.isabs(entry)}
    kept = []
    for entry in sys.path:
        if _absolute(entry) == PACKAGES:
            kept.append(PACKAGES)
        elif os.path.isabs(entry) and (_is_of_python(entry) or not (entry in from_here or _is_current_folder(entry))):
            kept.append(entry)
    return kept


def python_command(code: str) -> list[str]:
    """The command of a Python process that imports what this one can, and nothing of its working directory.

    Args:
        code: What it runs. Further words of the command are its ``sys.argv[1:]``.
    """
    return [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {import_path()!r}; {code}"]


def mose_command(*arguments: str) -> list[str]:
    """The command of a process that runs ``mose`` with these arguments; see `python_command`."""
    return [*python_command("from mose.__main__ import main; main()"), *arguments]


def find_program(name: str) -> str | None:
    """The full path of a program on ``PATH``, None if there is none; the current folder does not count."""
    from shutil import which

    found = which(name, path=_absolute_entries(os.environ.get("PATH", os.defpath)))
    return found if found is not None and os.path.isabs(found) else None


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:  # the current folder is gone
        return entry


def _absolute_entries(path: str) -> str:
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if os.path.isabs(entry))


def _is_of_python(entry: str) -> bool:
    """True for the standard library and the packages of this installation or virtual environment."""
    folders = {
        os.path.join(prefix, name) for prefix in (sys.prefix, sys.base_prefix) for name in ("lib", "lib64", "Lib")
    }
    return any(os.path.normcase(entry).startswith(os.path.normcase(folder + os.sep)) for folder in folders)


def _is_current_folder(entry: str) -> bool:
    try:
        return os.path.samefile(entry, os.curdir)
    except OSError:  # one of them is gone
        return False
