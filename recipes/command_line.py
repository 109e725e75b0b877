"""Write docs/cli.md, the reference of the command line, from the parser itself.

python recipes/command_line.py            # write it
python recipes/command_line.py --check    # say whether it is up to date
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mose.cli import COMMANDS, build_parser
from mose.cli.parser import EXIT_STATUS

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = f"""# Command line

Written from the parser by `python recipes/command_line.py`; edit `src/mose/cli/` and run it again.

PATH may come before or after options. `mose help COMMAND` shows the same. Messages and errors go to standard error,
answers to standard output.

```text
{EXIT_STATUS}
```
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *(line for parser in commands_of(build_parser(COMMANDS)) for line in section(parser))])


def commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers below one, and those below them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from commands_of(command)


def section(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A command with its example, a row for each argument, and its notes."""
    example, _, notes = (parser.epilog or "").removeprefix("example:\n").partition("\n\n")
    notes = notes.removesuffix(EXIT_STATUS).strip()
    yield from (f"## {parser.prog}", "", parser.description or "", "", "```sh", example.strip(), "```", "")
    rows = [row(action) for action in parser._actions if action.dest != "help"]
    yield from ("| argument | meaning |", "|---|---|", *rows, "")
    if notes:
        yield from ("```text", notes, "```", "")


def row(action: argparse.Action) -> str:
    """One argument, with its other names and what it takes."""
    if isinstance(action, argparse._SubParsersAction):
        return f"| `{action.metavar}` | {', '.join(action.choices)} |"
    names = action.option_strings or [""]
    words = [f"{name} {value_of(action)}".strip() for name in names]
    return f"| {', '.join(f'`{word}`' for word in words)} | {action.help} |".replace("\n", " ")


def value_of(action: argparse.Action) -> str:
    """What an argument takes, as usage lines write it."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    value = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper())
    return {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}.get(str(action.nargs), value)


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the page is out of date")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf8") != page():
        sys.exit(f"{PAGE} is out of date: write it with `python recipes/command_line.py`")


if __name__ == "__main__":
    main()
