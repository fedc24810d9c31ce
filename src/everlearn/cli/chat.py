"""`everlearn chat`: a conversation that can be corrected while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.chat_commands import COMMANDS, Leave, run_command
from everlearn.cli.chat_input import lines_of
from everlearn.cli.chat_room import ChatRoom
from everlearn.cli.errors import report
from everlearn.cli.opening import choice_of, open_learner, settings_of
from everlearn.cli.screen import note, show
from everlearn.errors import EverlearnError

if TYPE_CHECKING:
    from everlearn.engine.session import Session
    from everlearn.learning.keeping import TurnKeeper
    from everlearn.learning.learner import Learner

HISTORY = "chat_history"


def chat(
    ctx: typer.Context,
    table: options.Tables = None,
    no_memory: options.NoMemory = False,
    as_of: options.AsOf = None,
    system: Annotated[str, typer.Option("--system", metavar="TEXT", help="System message of the conversation.")] = "",
    context: options.ContextChoice = None,
    window: options.Window = None,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    top_k: options.TopK = 0,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    seed: options.Seed = None,
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
) -> None:
    """Talk with the model, and correct it on the way.

    In the chat: /teach QUESTION => ANSWER, /wrong RIGHT ANSWER, /why, /forget, /tables, /help, /quit. Ctrl-C stops an
    answer, Ctrl-D leaves. Lines may also come from a pipe.
    """
    tables = options.asked_tables(table, no_memory=no_memory)
    sampling = options.sampling_of(temperature, top_p, top_k, min_p, repetition_penalty, seed, max_new_tokens, stop)
    choice = choice_of(ctx)
    with open_learner(choice, background=True) as learner:
        for name in tables or ():
            learner.engine.memory.store.table(name)  # a wrong name ends the chat before it begins
        session = learner.engine.session(
            system=system,
            tables=tables,
            sampling=sampling,
            as_of=as_of,
            context=context.chosen() if context else None,
            window=window,
        )
        history = settings_of(choice).state_folder / HISTORY
        lines = lines_of(history, list(COMMANDS), lambda: room.status)
        with kept_turns(learner, session, no_memory=no_memory) as keeper:
            room = ChatRoom(learner, session, lines, keeper)
            room.refresh_status(None)
            if lines.personal:
                show(Text(f"{learner.engine.name}. Ask, or /help.", "dim"))
            talk(room)


@contextmanager
def kept_turns(learner: Learner, session: Session, *, no_memory: bool) -> Iterator[TurnKeeper | None]:
    """Within this context, turns that leave the window of an endless conversation are kept; then they go."""
    from everlearn.learning.keeping import TurnKeeper

    keeper = None if session.window is None or no_memory else TurnKeeper(learner, session)
    try:
        yield keeper
    finally:
        if keeper is not None:
            keeper.close()


def talk(room: ChatRoom) -> None:
    """Take line after line until there is none."""
    while True:
        try:
            line = room.lines.next()
        except EOFError:
            return
        except KeyboardInterrupt:
            if not room.lines.personal:
                raise
            note("Ctrl-D leaves.")
            continue
        try:
            take(room, line)
        except Leave:
            return


def take(room: ChatRoom, line: str) -> None:
    """Do what a line says. An error is shown and the chat goes on.

    Raises:
        Leave: the chat is to end.
    """
    if not line.strip():
        return
    try:
        if line.startswith("/"):
            run_command(room, line)
        else:
            room.ask(line)
    except EverlearnError as error:
        report(error.code, error.message, error.hint, json=False)
    except EOFError:
        raise Leave from None  # the lines ended in the middle of a command
    except KeyboardInterrupt:
        if not room.lines.personal:
            raise
        note("(stopped)")
