"""The command ``mose``, also as ``python -m mose``."""

from mose.processes import begin_command

begin_command()  # before anything else is imported

from mose.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
