"""What can be typed in a chat besides questions: lines that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from rich.text import Text

from everlearn.cli.chat_room import ChatRoom
from everlearn.cli.forget import proof_line
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.receipts import lessons_of, receipt_view
from everlearn.cli.screen import grid, one_line, show, text
from everlearn.errors import ConversationError, InputError, TableNotFoundError
from everlearn.records import Feedback, Lesson

ARROW = "=>"


class Leave(Exception):  # noqa: N818  no error: the user has done
    """Ends the chat."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a chat.

    Attributes:
        usage: how it is typed.
        help: what it does.
        run: does it, with what was typed behind its name.
    """

    usage: str
    help: str
    run: Callable[[ChatRoom, str], None]


def run_command(room: ChatRoom, line: str) -> None:
    """Run a line that begins with a slash.

    Raises:
        InputError: there is no such command; the hint names the nearest.
        Leave: the chat is to end.
    """
    name, _, rest = line.partition(" ")
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else "See /help."
        raise InputError(f"There is no command {name}.", hint=f"{hint} A space before it sends it as a question.")
    COMMANDS[name].run(room, rest.strip())


def _teach(room: ChatRoom, rest: str) -> None:
    question, arrow, answer = (part.strip() for part in rest.partition(ARROW))
    table = room.table
    question = question or room.lines.next("question:").strip()
    answer = answer if arrow else room.lines.next("answer:").strip()
    room.teach(Lesson(question, answer, table=table, source="chat"))


def _wrong(room: ChatRoom, rest: str) -> None:
    question, table = room.last_question, room.table  # the table only counts where no lesson spoke
    right = rest or room.lines.next("right answer:").strip()
    taught = room.learner.learn_from_feedback(
        Feedback(question, "wrong", correction=right, table=table, turn=room.last_turn)
    )
    assert taught is not None, "a correction is a lesson"
    room.say_taught(taught)
    if taught.lesson.prompt != question:
        show(Text.assemble(("as ", "green"), f"“{one_line(taught.lesson.prompt)}”"))
    room.session.undo()
    room.ask(question)


def _why(room: ChatRoom, _rest: str) -> None:
    answer = room.session.last
    if answer is None:
        raise ConversationError("Nothing was answered yet.", hint="Ask something first.")
    lessons = lessons_of(answer.receipt, room.store)
    show(receipt_view(answer, lessons, short_ids(room.store, lessons)))


def _forget(room: ChatRoom, rest: str) -> None:
    lesson = room.store.lesson(_meant(room, rest))
    if room.lines.personal:
        question = f"Forget “{one_line(lesson.prompt)}” ({one_line(lesson.answer)}) for good? [y/N]"
        if room.lines.next(question).strip().lower() not in ("y", "yes"):
            show(Text("Nothing was changed.", "dim"))
            return
    show(proof_line(room.learner.forget(lesson.id)))
    room.taught = [each for each in room.taught if each != lesson.id]
    room.refresh_status(room.session.last)


def _meant(room: ChatRoom, rest: str) -> str:
    """The id of the lesson that is meant by an id, by "last", or by nothing: the one that the last answer rests on."""
    if rest == "last":
        if not room.taught:
            raise ConversationError("No lesson was taught in this chat.", hint="Name it by its id: /forget ID")
        return room.taught[-1]
    if rest:
        return room.store.resolve(rest)
    resting = room.session.last.receipt.rests_on if room.session.last else ()
    if not resting:
        raise ConversationError("The last answer rests on no lesson.", hint="Name one by its id, or say: /forget last")
    return resting[0].lesson_id


def _tables(room: ChatRoom, rest: str) -> None:
    verb, _, name = rest.partition(" ")
    infos = room.store.tables()
    names = [info.name for info in infos]
    asked = names if room.session.tables is None else list(room.session.tables)
    if verb in ("on", "off"):
        if name.strip() not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."
            raise TableNotFoundError(f"There is no look-up table {name.strip()!r}.", hint=hint)
        asked = [each for each in names if (each in asked or verb == "on") and (each != name.strip())] + (
            [name.strip()] if verb == "on" else []
        )
        room.session.tables = None if set(asked) == set(names) else tuple(asked)
        room.refresh_status(room.session.last)
    elif rest:
        raise InputError(
            f"/tables {rest} cannot be understood.", hint="Say /tables, /tables on NAME or /tables off NAME."
        )
    view = grid("table", "asked", ">lessons", ">threshold")
    for info in infos:
        on = Text("on", "green") if info.name in asked else Text("off", "dim")
        view.add_row(text(info.name), on, f"{info.active:,}", f"{info.settings.threshold:g}")
    show(view)


def _help(_room: ChatRoom, _rest: str) -> None:
    view = grid("", "")
    view.show_header = False
    for command in COMMANDS.values():
        view.add_row(Text(command.usage, "cyan", no_wrap=True), command.help)
    view.add_row(Text("Ctrl-C", "cyan"), "stops an answer")
    view.add_row(Text("Ctrl-D", "cyan"), "leaves")
    show(view)


def _quit(_room: ChatRoom, _rest: str) -> None:
    raise Leave


COMMANDS: dict[str, Command] = {
    "/teach": Command("/teach QUESTION => ANSWER", "learns it; alone, it asks for both", _teach),
    "/wrong": Command("/wrong RIGHT ANSWER", "corrects the last answer, learns it, and answers again", _wrong),
    "/why": Command("/why", "shows what the last answer rests on", _why),
    "/forget": Command(
        "/forget [ID|last]", "forgets the lesson of the last answer, one by its id, or the last taught", _forget
    ),
    "/tables": Command("/tables [on|off NAME]", "shows the look-up tables, or asks one (no more)", _tables),
    "/help": Command("/help", "shows this", _help),
    "/quit": Command("/quit", "leaves", _quit),
}
