"""The command ``mose``, also ``python -m mose``: one process, from its first moment to its last.

Until a verb runs there is nothing to clean up, and Ctrl-C ends the process on the spot. From then on it is a
`KeyboardInterrupt`; the second one ends the process, whatever it is doing.
"""

# Until `begin_command` has run, imports nothing but what every Python process has loaded already.
import os
import sys

try:
    from mose.processes import begin_command

    begin_command()
    import signal
except KeyboardInterrupt:
    os._exit(130)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_received: "list[int]" = []


def main() -> None:
    """Run one command and end the process with its exit status."""
    try:
        _handle_signals(_leave)
        for number in range(3):  # a file that is opened later must not become standard output
            _open_if_closed(number)
        from mose import cli
        from mose.cli import terminal

        terminal.prepare()
        sys.unraisablehook = _unraisable
        _handle_signals(_interrupt)
        status: int | str | None = _run(cli.main, terminal.say)
    except KeyboardInterrupt:
        status = 130
    _handle_signals(_leave)
    sys.exit(128 + _received[0] if _received else status)


def _run(command: "Callable[[], int]", say: "Callable[[str], None]") -> "int | str | None":
    """The exit status of the command; an unexpected exception is reported in two lines."""
    try:
        return command()
    except SystemExit as stop:
        return stop.code
    except Exception as error:
        if _received:  # an import or a library has replaced the interruption
            say("Interrupted.")
            return 130
        if os.environ.get("MOSE_DEBUG"):
            raise
        say(f"mose: this should not have happened: {type(error).__name__}: {error}")
        say("  Please report it, with what the same command shows behind MOSE_DEBUG=1.")
        return 2


def _handle_signals(handler: "Callable[[int, FrameType | None], None]") -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, handler)


def _leave(number: int, _: "FrameType | None") -> None:
    os._exit(128 + number)


def _interrupt(number: int, _: "FrameType | None") -> None:
    if _received:
        _leave(number, None)
    _received.append(number)
    raise KeyboardInterrupt


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """End the process for an interruption that arrived where exceptions cannot propagate; ignore all else."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _leave(_received[0] if _received else signal.SIGINT, None)


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
