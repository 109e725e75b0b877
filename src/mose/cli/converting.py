"""``mose convert``."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path

from mose.cli.options import add_changes, add_quiet, count, define, numbers
from mose.cli.output import ProgressBar, need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import counted, say, show

_NOTES = """Reads BERT, RoBERTa, StarCoder 2, Llama (also SmolLM2) and the released ModularStarEncoders. What the
publications on these leave open (pooling, the heads' activation, norms, the direction of attention) is found by a probe
that ranks functions by their documentation; conversion.json in OUT says what was found, and --set overrules it."""


def add_convert(command: Parser) -> None:
    """Add the arguments of ``mose convert``."""
    define(command, convert, example="mose convert all-MiniLM-L6-v2/ ladder/ --exits 0,2,3,4,6", notes=_NOTES)
    command.add_argument(
        "source", metavar="SOURCE", help="folder with config.json and safetensors weights, or owner/name on the hub"
    )
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    command.add_argument(
        "--exits", type=numbers, metavar="K,...", help="exits of the ladder (default: those that SOURCE lists)"
    )
    command.add_argument(
        "--max-tokens", type=count, metavar="N", help="tokens of a text that are read (default: as in SOURCE)"
    )
    command.add_argument(
        "--split-identifiers",
        action="store_true",
        help="read parseDate and parse_date as two words, for a tokenizer of plain language",
    )
    command.add_argument(
        "--table-share",
        type=float,
        default=0.0,
        metavar="X",
        help="share of exit 0 in the cosine at every other exit (default: 0)",
    )
    add_changes(command, "model, such as causal=false")
    command.add_argument(
        "--key-map",
        type=Path,
        metavar="FILE",
        help='TOML file with lines "their.tensor" = "our.tensor", for names that are not known; "" leaves one out',
    )
    command.add_argument("--ignore-unknown", action="store_true", help="leave tensors with unknown names out")
    command.add_argument("--pairs", type=Path, metavar="FILE", help="pair file to probe with (default: Python's own)")
    command.add_argument("--no-probe", action="store_true", help="keep the guesses")
    add_quiet(command)


def convert(arguments: Arguments) -> int:
    """``mose convert``: a checkpoint of another library as a ladder of exits."""
    need_packages("convert", "torch", "transformers")
    from mose.config import parse_overrides
    from mose.model.convert.convert import convert as convert_model
    from mose.model.convert.convert import read_key_map
    from mose.model.convert.recipe import ConvertRecipe

    recipe = ConvertRecipe(
        exits=None if arguments.exits is None else tuple(arguments.exits),
        max_tokens=arguments.max_tokens,
        split_identifiers=arguments.split_identifiers,
        table_share=arguments.table_share,
        changes=parse_overrides(arguments.changes),
        key_map={} if arguments.key_map is None else read_key_map(arguments.key_map),
        ignore_unknown=arguments.ignore_unknown,
    )
    pairs: list[tuple[str, str]] | None = [] if arguments.no_probe else None
    if arguments.pairs is not None:
        from mose.data.pairs import read_rows

        pairs = [(row.text, row.code) for row in read_rows(arguments.pairs) if row.text]
    with ProgressBar(quiet=arguments.quiet) as progress:
        report = convert_model(arguments.source, arguments.out, recipe, pairs=pairs, progress=progress)
    show(f"Wrote {arguments.out}: exits {', '.join(map(str, report.settings.exits))}.")
    for note in report.notes:
        say(note)
    unused = report.unused_tensors
    if unused:
        more = ", ..." if len(unused) > 3 else ""
        say(f"{counted(len(unused), 'tensor')} of the source not used: {', '.join(unused[:3])}{more}")
    return 0
