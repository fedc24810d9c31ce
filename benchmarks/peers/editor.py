"""What a way to put facts into a model must be able to do, to be measured beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, final

from everlearn.evaluation.asking import Given
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.records import Message
from everlearn.text.chat import ChatText
from peers.decoding import Decoder, Forced


class Editor(Protocol):
    """A way to put facts into a base model.

    Attributes:
        name: as the results name it.
        own_bare: whether its untaught answers must be asked for in the very batches of its taught ones. So it is for
            weights that changed: in bfloat16 another batch can turn an answer that the weights did not.
    """

    name: str
    own_bare: bool

    def begin(self) -> None:
        """Forget everything."""
        ...

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """Put facts in, one after another where the way knows order.

        Returns:
            Milliseconds of each edit; one for all, divided, where they go in together.
        """
        ...

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Whether the model that answers each question differs at all from the bare one."""
        ...

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers of at most `most` tokens, behind the chat template."""
        ...

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers."""
        ...

    def settings(self) -> dict[str, Any]:
        """What its results depend on, as JSON can hold it."""
        ...

    def close(self) -> None:
        """Leave the base model as it was found."""
        ...


def prompt_of(text: ChatText, question: str) -> list[int]:
    """Token ids [T] of a question, behind the chat template."""
    return text.prompt_ids([Message("user", question)])


@final
class Bare:
    """The base model, which is taught nothing."""

    name = "bare"
    own_bare = False

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def begin(self) -> None:
        """Nothing to forget."""

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """Nothing is taught, so there is nothing to time."""
        del edits
        return []

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Never."""
        return [False] * len(questions)

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers."""
        return self._decoder.free([prompt_of(self._decoder.text, q.text) for q in questions], most)

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers."""
        text = self._decoder.text
        return self._decoder.forced([(prompt_of(text, q.text), text.answer_ids(q.wanted)) for q in questions])

    def settings(self) -> dict[str, Any]:
        """None."""
        return {}

    def close(self) -> None:
        """Nothing to undo."""
