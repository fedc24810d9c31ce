"""A running chat: its conversation, the tables it asks, and what was taught in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from everlearn.cli.ask import write_answer
from everlearn.cli.chat_input import Lines
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.receipts import citations, lessons_of, silence, tokens_per_second
from everlearn.cli.screen import one_line, show, text
from everlearn.errors import ConversationError, NotFoundError
from everlearn.records import DEFAULT_TABLE, Answer, Lesson, Taught
from everlearn.store.port import LessonQuery, LessonStore

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.engine.session import Session
    from everlearn.learning.keeping import TurnKeeper
    from everlearn.learning.learner import Learner


@dataclass(slots=True)
class ChatRoom:
    """What the commands of a chat work on.

    Attributes:
        learner: changes what the engine knows.
        session: the conversation.
        lines: where the user's lines come from.
        keeper: keeps what leaves the window of an endless conversation; None where it has none.
        taught: ids of lessons taught here, the newest last.
        status: text of the status line; brought up to date after each turn.
    """

    learner: Learner
    session: Session
    lines: Lines
    keeper: TurnKeeper | None = None
    taught: list[str] = field(default_factory=list)
    status: str = ""

    @property
    def engine(self) -> Engine:
        """Who answers."""
        return self.learner.engine

    @property
    def store(self) -> LessonStore:
        """What was taught."""
        return self.engine.memory.store

    @property
    def last_question(self) -> str:
        """The question of the last answer.

        Raises:
            ConversationError: nothing was answered yet.
        """
        if self.session.last is None:
            raise ConversationError("Nothing was answered yet.", hint="Ask something first.")
        return next(m.content for m in reversed(self.session.messages) if m.role == "user")

    @property
    def last_turn(self) -> str:
        """Id of the last answer's turn; "" where it went with a lesson that was forgotten since."""
        try:
            return self.store.turn(self.session.last_turn).id
        except NotFoundError:
            return ""

    @property
    def table(self) -> str:
        """Where lessons of this chat go: "default" where it is asked, else the first table that is.

        Raises:
            ConversationError: no table is asked, so that a lesson would not be heard.
        """
        tables = self.session.tables
        if tables is not None and not tables:
            raise ConversationError("This chat asks no look-up table.", hint="Turn one on: /tables on NAME")
        return DEFAULT_TABLE if tables is None or DEFAULT_TABLE in tables else tables[0]

    def ask(self, question: str) -> None:
        """Answer, as part of the conversation."""
        answer = write_answer(self.session.stream(question))
        if self.keeper is not None:
            self.keeper.keep()
        if self.lines.personal:
            self._footnote(answer)
        self.refresh_status(answer)

    def teach(self, lesson: Lesson) -> None:
        """Learn a lesson and say what became of it."""
        self.say_taught(self.learner.teach(lesson))

    def say_taught(self, taught: Taught) -> None:
        """Say what became of a lesson."""
        lesson = taught.lesson
        if not taught.known:
            self.taught.append(lesson.id)
        shown = short_ids(self.store, [lesson.id, *taught.superseded])
        show(Text.assemble(("known already " if taught.known else "learned ", "green"), (shown[lesson.id], "cyan")))
        for old in self.store.lessons_by_id(taught.superseded).values():
            show(Text.assemble(("replaces ", "yellow"), (shown[old.id], "cyan"), f"  {one_line(old.answer)}"))
        self.refresh_status(self.session.last)

    def refresh_status(self, answer: Answer | None) -> None:
        """Bring the status line up to date."""
        tables = self.session.tables
        asked = "all tables" if tables is None else ", ".join(tables) or "no memory"
        lessons = self.store.count(LessonQuery(status="active"))
        speed = f" · {tokens_per_second(answer):.0f} tok/s" if answer else ""
        window = self.session.window
        held = f" · {self.session.cached_tokens:,} of {window.capacity:,} tokens held" if window else ""
        self.status = f" {self.engine.name} · {asked} · {lessons:,} lesson{'s' * (lessons != 1)}{held}{speed} · /help"

    def _footnote(self, answer: Answer) -> None:
        """Below an answer, in small: that it ended early, and which lesson spoke, or would have."""
        if answer.finish_reason == "cancelled":
            show(Text("(stopped)", "dim"))
        elif answer.finish_reason == "length":
            show(Text("(cut off at the most tokens)", "dim"))
        for line in citations(answer.receipt, lessons_of(answer.receipt, self.store)):
            show(text(line, "dim"))
        spoke = answer.receipt.spoke
        hushed = next((r for r in answer.receipt.recalled if r.decision == "silent"), None)
        nearest = spoke or hushed
        if nearest is not None:
            shown = short_ids(self.store, [nearest.lesson_id])[nearest.lesson_id]
            what = f"from lesson {shown}" if spoke else f"not from lesson {shown}, {silence(nearest.table)}"
            show(Text(f"↳ {what}, probability {nearest.probability:.2f} · /why", "dim"))
