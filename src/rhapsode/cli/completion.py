"""``rhapsode completion``: a script that lets a shell complete commands, options and their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rhapsode.cli.fields import Described, describe
from rhapsode.cli.main import COMMANDS, module_of
from rhapsode.cli.options import CommandOptions, argument
from rhapsode.cli.output import print_json


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Print the completion script for a shell.

    For bash and zsh, in ~/.bashrc or ~/.zshrc: eval "$(rhapsode completion bash)" (or zsh).
    For fish: rhapsode completion fish > ~/.config/fish/completions/rhapsode.fish
    """

    shell: Literal["bash", "zsh", "fish"] = argument("bash, zsh or fish", metavar="SHELL")


def run(options: Options) -> int:
    """Print the script."""
    commands = {name: describe(module_of(name).Options) for name in COMMANDS}
    script = fish(commands) if options.shell == "fish" else bash(commands)
    if options.shell == "zsh":
        script = "autoload -U +X bashcompinit && bashcompinit\n" + script
    if options.json:
        print_json({"shell": options.shell, "script": script})
    else:
        print(script, end="")
    return 0


def bash(commands: dict[str, list[Described]]) -> str:
    """A function that looks at the command, the word before the cursor and the word at it; else files complete."""
    values = [
        f'    "{name} {option.name}") words="{" ".join(option.choices)}" ;;'
        for name, options in commands.items()
        for option in options
        if option.choices
    ]
    names = [f'      {name}) words="{" ".join(o.name for o in options)}" ;;' for name, options in commands.items()]
    return "\n".join(
        [
            "_rhapsode() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
            '  case "${COMP_WORDS[1]} $before" in',
            *values,
            "  esac",
            '  if [ "$COMP_CWORD" -eq 1 ]; then',
            f'    words="{" ".join(commands)} --help --version"',
            '  elif [ -z "$words" ] && [ "${current#-}" != "$current" ]; then',
            '    case "${COMP_WORDS[1]}" in',
            *names,
            "    esac",
            '    words="$words --help"',
            "  fi",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            "}",
            "complete -o default -F _rhapsode rhapsode",
            "",
        ]
    )


def fish(commands: dict[str, list[Described]]) -> str:
    """A line for each command and each option."""
    lines = [
        f"complete -c rhapsode -n __fish_use_subcommand -xa {name} -d {_quoted(COMMANDS[name])}" for name in commands
    ]
    for name, options in commands.items():
        for option in options:
            value = "" if option.flag else f" -xa {_quoted(' '.join(option.choices))}" if option.choices else " -r"
            where = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c rhapsode -n {where} -l {option.name[2:]}{value} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """For fish, whose single quotes know two escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
