"""How errors leave the program: a message and a hint on stderr, or one JSON document on stdout; exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from everlearn.cli.screen import err, show_json, visible

GLOBAL_OPTIONS = ("--home", "--model", "--version")


def wants_json(args: Sequence[str]) -> bool:
    """Whether a script reads the result. `bench` takes a file with its --json; only "-" means stdout there."""
    own = list(args[: args.index("--")] if "--" in args else args)
    if "--json" not in own:
        return False
    return "bench" not in own or own[own.index("--json") + 1 :][:1] == ["-"]


def report(code: str, message: str, hint: str, *, json: bool) -> None:
    """Say what is wrong and how to mend it."""
    if json:
        show_json({"error": {"code": code, "message": message, "hint": hint}})
        return
    console = err()
    console.print(Text.assemble(("error: ", "bold red"), visible(message)))
    if hint:
        console.print(Text.assemble(("hint:  ", "cyan"), visible(hint)))


def usage_hint(message: str, command: str) -> str:
    """How to mend a wrong command line.

    Args:
        message: what is wrong with it.
        command: whose options they were, e.g. "everlearn ask".
    """
    misplaced = next((o for o in GLOBAL_OPTIONS if message.startswith(f"No such option: {o}")), None)
    if misplaced is not None:
        return f"{misplaced} stands before the command: everlearn {misplaced} ... {command.removeprefix('everlearn ')}"
    return f"See: {command} --help"


def quiet_broken_pipe() -> None:
    """The reader has gone: nothing more can be said on stdout, not even by the interpreter when it ends."""
    import os

    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
