"""Where the lines of a chat come from: a prompt with history for a person, standard input for a script."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, final

from everlearn.cli.screen import is_terminal
from everlearn.errors import InputError

Status = Callable[[], str]
STYLE = {"bottom-toolbar": "noreverse fg:ansibrightblack", "label": "fg:ansicyan bold"}


class Lines(Protocol):
    """Gives one line after the other.

    Attributes:
        personal: whether a person types them, who can be asked back.
    """

    personal: bool

    def next(self, label: str = "") -> str:
        """The next line, without its end; may hold line feeds where it was pasted.

        Raises:
            EOFError: there is none left.
            KeyboardInterrupt: Ctrl-C instead of a line.
        """
        ...


@final
class PipedLines:
    """Lines of standard input; labels are not shown."""

    personal = False

    def next(self, label: str = "") -> str:
        """The next line."""
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as cause:
            raise InputError(
                f"Standard input is not {cause.encoding.upper()}.", hint="Convert it to UTF-8 first."
            ) from cause
        if not line:
            raise EOFError
        return line.rstrip("\r\n")


@final
class PromptedLines:
    """A prompt with history, search (Ctrl-R), completion of commands and a status line.

    Args:
        history: file that keeps what was typed.
        commands: to complete.
        status: gives the text of the status line.
    """

    personal = True

    def __init__(self, history: Path, commands: Sequence[str], status: Status) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.styles import Style

        from everlearn.cli.chat_history import ChatHistory

        self._session: PromptSession[str] = PromptSession(
            history=ChatHistory(history),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            bottom_toolbar=status,
            style=(style := Style.from_dict(STYLE)),
        )
        self._asking: PromptSession[str] = PromptSession(bottom_toolbar=status, style=style)

    def next(self, label: str = "") -> str:
        """The next line; without a label it is the next message."""
        session = self._asking if label else self._session
        line: str = session.prompt([("class:label", f"{label} " if label else "› ")])
        return line


def lines_of(history: Path, commands: Sequence[str], status: Status) -> Lines:
    """A prompt on a terminal, plain lines elsewhere."""
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        return PromptedLines(history, commands, status)
    return PipedLines()
