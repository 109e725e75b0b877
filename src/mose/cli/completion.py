"""``mose completion``: scripts by which a shell completes commands, options and their values.

They are written from the parser, so they have what this version has. Where none of these fits, files are completed.
"""

from __future__ import annotations

import argparse
from argparse import Namespace as Arguments
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mose.cli.options import define
from mose.cli.parser import Parser
from mose.cli.terminal import show_lines

_NOTES = """for other shells:
  zsh   mose completion zsh > "${fpath[1]}/_mose"
  fish  mose completion fish > ~/.config/fish/completions/mose.fish"""

_BASH = """\
_mose() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= words= position
    [[ $current == "=" ]] && current=
    [[ $before == "=" ]] && before=${COMP_WORDS[COMP_CWORD-2]}
    for ((position = 1; position < COMP_CWORD; position++)); do
        case "$command ${COMP_WORDS[position]}" in
            %(paths)s) command="${command:+$command }${COMP_WORDS[position]}";;
        esac
    done
    case "$command $before" in
%(values)s
        *) case "$command/${current:0:1}" in
%(words)s
        esac;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _mose mose"""

_ZSH = """\
#compdef mose
_mose() {
    local command= word
    local -a found
    for word in ${words[2,CURRENT-1]}; do
        case "$command $word" in
            %(paths)s) command="${command:+$command }$word";;
        esac
    done
    case "$command ${words[CURRENT-1]}" in
%(values)s
    esac
    case "$command/${PREFIX[1]}" in
%(words)s
        *) _files; return;;
    esac
    _describe mose found || _files
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _mose "$@"; else compdef _mose mose; fi"""

_FISH = """\
function __mose_at
    set -l command
    for word in (commandline -opc)[2..]
        switch "$command $word"
            case %(paths)s
                set command (string trim "$command $word")
        end
    end
    test "$command" = "$argv"
end"""


class _Command(NamedTuple):
    """What may stand behind a command."""

    path: str
    """Its words, such as "pairs mine"; "" for what stands behind ``mose``."""
    options: list[argparse.Action]
    words: dict[str, str]
    """Commands and values that are not options, and what they mean."""


def add_completion(command: Parser) -> None:
    """Add the arguments of ``mose completion``."""
    define(
        command,
        completion,
        example="mose completion bash > ~/.local/share/bash-completion/completions/mose",
        notes=_NOTES,
    )
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that reads the script")


def completion(arguments: Arguments) -> int:
    """``mose completion``: the script on stdout."""
    from mose.cli import COMMANDS, build_parser

    commands = list(_commands(build_parser(COMMANDS)))
    show_lines({"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell](commands))
    return 0


def _commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[_Command]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    options = [action for action in parser._actions if action.option_strings]
    words = {
        str(word): ""
        for action in parser._actions
        if not action.option_strings and action not in below
        for word in action.choices or ()
    }
    words |= {word: _about(command.description) for action in below for word, command in action.choices.items()}
    yield _Command(path, options, words)
    for action in below:
        for word, command in action.choices.items():
            yield from _commands(command, f"{path} {word}".strip())


def _about(text: str | None) -> str:
    return (text or "").rstrip(".")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _paths(commands: Sequence[_Command]) -> list[str]:
    """Every command behind a blank, as the scripts read them word by word."""
    return [f'"{command.path if " " in command.path else " " + command.path}"' for command in commands if command.path]


def _values(commands: Sequence[_Command]) -> Iterator[tuple[str, str]]:
    """Patterns of a command and its option, and the values of that option; none where it takes any."""
    for command in commands:
        for option in command.options:
            if option.nargs != 0:
                pattern = "|".join(f'"{command.path} {name}"' for name in option.option_strings)
                yield pattern, " ".join(map(str, option.choices or ()))


def _bash(commands: Sequence[_Command]) -> str:
    values = [f'        {pattern}) words="{choices}";;' for pattern, choices in _values(commands)]
    words = []
    for command in commands:
        options = " ".join(name for option in command.options for name in option.option_strings)
        words.append(f'            "{command.path}/-") words="{options}";;')
        if command.words:
            words.append(f'            "{command.path}/"*) words="{" ".join(command.words)}";;')
    return _BASH % {"paths": "|".join(_paths(commands)), "values": "\n".join(values), "words": "\n".join(words)}


def _zsh(commands: Sequence[_Command]) -> str:
    values = [
        f"        {pattern}) {f'compadd {choices}' if choices else '_files'}; return;;"
        for pattern, choices in _values(commands)
    ]
    words = []
    for command in commands:
        options = {name: option.help or "" for option in command.options for name in option.option_strings}
        words.append(f'        "{command.path}/-") found=({_described(options)});;')
        if command.words:
            words.append(f'        "{command.path}/"*) found=({_described(command.words)});;')
    return _ZSH % {"paths": "|".join(_paths(commands)), "values": "\n".join(values), "words": "\n".join(words)}


def _described(words: dict[str, str]) -> str:
    return " ".join(_quoted(f"{word}:{about}" if about else word) for word, about in words.items())


def _fish(commands: Sequence[_Command]) -> str:
    lines = [_FISH % {"paths": " ".join(_paths(commands))}]
    for command in commands:
        at = f"complete -c mose -n {_quoted(f'__mose_at {command.path}'.strip())}"
        lines += [f"{at} -f -a {_quoted(word)} -d {_quoted(about)}" for word, about in command.words.items()]
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.option_strings
            )
            takes = (
                ""
                if option.nargs == 0
                else f" -x -a {_quoted(' '.join(map(str, option.choices)))}"
                if option.choices
                else " -r"
            )
            lines.append(f"{at} {names}{takes} -d {_quoted(option.help or '')}")
    return "\n".join(lines)
