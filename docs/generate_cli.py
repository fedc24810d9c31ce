"""Writes docs/cli.md from the help texts of the commands themselves; a test sees that it is up to date.

python docs/generate_cli.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from everlearn.cli.main import app

Part = Any  # a command or a parameter; their classes differ between versions of typer
TARGET = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made from the help texts by `python docs/generate_cli.py`; do not edit.

Global options stand before the command: `everlearn --home FOLDER ask "..."`. They may come from the environment
instead (`EVERLEARN_HOME`, `EVERLEARN_MODEL`). Results go to standard output, everything else to standard error; colours
are left out where the output is no terminal or `NO_COLOR` is set.

Exit codes: 0 done; 1 a check failed, or a question was answered with no; 2 it could not be done (with `--json` the
reason is the one document on standard output: `{"error": {"code", "message", "hint"}}`); 130 stopped by Ctrl-C.
"""
GENERATED = ("--install-completion", "--show-completion", "--help")


def document() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(path, command) for path, command in commands())])


def commands() -> Iterator[tuple[str, Part]]:
    """Every command and group with its path, in the order of the help."""
    yield from _below("everlearn", typer.main.get_command(app))


def parameters(command: Part) -> list[Part]:
    """Its own arguments and options, without those that every program has."""
    return [p for p in command.params if not set(p.opts) & set(GENERATED)]


def help_of(part: Part) -> str:
    """Help text of a command or a parameter."""
    return inspect.cleandoc(getattr(part, "help", None) or "")


def _below(path: str, command: Part) -> Iterator[tuple[str, Part]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _below(f"{path} {name}", child)


def _section(path: str, command: Part) -> str:
    arguments = [p for p in parameters(command) if p.param_type_name == "argument"]
    options = [p for p in parameters(command) if p.param_type_name == "option"]
    rest = "COMMAND" if hasattr(command, "commands") else " ".join(map(_usage, arguments))
    usage = " ".join(filter(None, (path, "[OPTIONS]" if options else "", rest)))
    rows = [*(_row(f"`{_name(p)}`", p) for p in arguments), *(_row(_flags(p), p) for p in options)]
    table = "\n".join(["| | |", "| --- | --- |", *rows, ""]) if rows else ""
    return f"## {path}\n\n```\n{usage}\n```\n\n{help_of(command)}\n\n{table}"


def _name(argument: Part) -> str:
    return (argument.metavar or argument.name.upper()).rstrip(".")


def _usage(argument: Part) -> str:
    name = _name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _flags(option: Part) -> str:
    value = "" if getattr(option, "is_flag", False) else f" {option.metavar}"
    return ", ".join(f"`{flag}{value}`" for flag in option.opts)


def _row(name: str, parameter: Part) -> str:
    notes = [help_of(parameter)]
    if getattr(parameter, "envvar", None):
        notes.append(f"Environment: `{parameter.envvar}`.")
    if parameter.required and parameter.param_type_name == "option":
        notes.append("Required.")
    default = getattr(parameter.default, "value", parameter.default)
    if isinstance(parameter.show_default, str):
        notes.append(f"Default: `{parameter.show_default}`.")
    elif isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        notes.append(f"Default: `{default}`.")
    text = " ".join(notes).replace("|", "\\|")
    return f"| {name.replace('|', chr(92) + '|')} | {text} |"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
