"""The far past of an endless conversation: turns that have left its window become passages of its own look-up table.

The window forgets them; the table finds them again when a question asks for what they said, and they are read with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from everlearn.learning.documents import lessons_of, text_document
from everlearn.records import Lesson, Message, TableSettings

if TYPE_CHECKING:
    from everlearn.engine.session import Session
    from everlearn.learning.learner import Learner

TITLE = "Said earlier in this conversation"
SOURCE = "conversation"


@final
class TurnKeeper:
    """Keeps what leaves the window of one conversation. Its table belongs to that conversation and goes with it.

    Args:
        learner: who teaches.
        session: an endless conversation; its table is asked besides those that it asks already.
    """

    def __init__(self, learner: Learner, session: Session) -> None:
        assert session.window is not None, "nothing leaves a conversation without a window"
        self.table = f"conversation-{session.id}"
        self.turns = 0
        self._learner, self._session = learner, session

    def keep(self) -> int:
        """Learn the turns that have left since this was called last; returns how many."""
        gone = self._session.departed()
        if gone and not self.turns:
            # Personal to the conversation: no other one, and no question outside of it, asks this table.
            self._learner.put_table(self.table, TableSettings(layer="personal", owner=self._session.id))
            self._session.own_tables = (self.table,)
        for question, answer in gone:
            self.turns += 1
            like = Lesson("", "", self.table, SOURCE, source=f"{SOURCE} {self._session.id}, turn {self.turns}")
            document = text_document(_told(question, answer), TITLE)
            self._learner.learn_passages(lessons_of(document, self._learner.engine.text, like))
        return len(gone)

    def close(self) -> None:
        """Forget the conversation's table."""
        if self.turns:
            self._session.own_tables = ()
            self._learner.delete_table(self.table)
            self.turns = 0


def _told(question: Message, answer: Message) -> str:
    """A turn as a text: lines that begin with # are no headings, and bytes that no lesson may hold are replaced."""
    said = f"User: {question.content.strip()}\nAssistant: {answer.content.strip()}".replace(
        "\0", "\N{REPLACEMENT CHARACTER}"
    )
    return "\n".join(f" {line}" if line.startswith("#") else line for line in said.splitlines())
