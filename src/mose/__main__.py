"""``python -m mose``: the same as the command ``mose``."""

from mose.cli import main

raise SystemExit(main())
