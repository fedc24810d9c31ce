"""Wordings of a model: those that ask for something else, or tell the answer, are not trusted."""

from __future__ import annotations

import numpy as np
import pytest

from everlearn.errors import TeacherError
from everlearn.learning.night import wordings_of
from everlearn.learning.rewording import Rewording, by_the_base, is_faithful, said_in
from everlearn.learning.teachers import Reply
from everlearn.records import Lesson

LESSON = Lesson("Who leads the Bakery of Zell?", "Mara Lind", id="one")


class Says:
    """A teacher with one reply."""

    name = "says"

    def __init__(self, text):
        self.text, self.asked = text, []

    def ask(self, prompts):
        self.asked += prompts
        return [Reply(self.text) for _ in prompts]


def alike(texts):
    """Everything means the same, but for what speaks of cakes."""
    return np.array([[0.0, 1.0] if "cakes" in text else [1.0, 0.0] for text in texts], np.float32)


def test_lines_lose_their_numbers_and_quotes():
    reply = '1. "Who is at the head of it?"\n\n- Who runs it?\n(3) Who runs it?\nQuestion: Whose is it?\n'
    assert said_in(reply) == ["Who is at the head of it?", "Who runs it?", "Whose is it?"]


@pytest.mark.parametrize(
    ("text", "faithful"),
    [
        ("Who is the leader of the Bakery of Zell?", True),
        ("who heads the bakery in zell", True),
        ("Who leads the Bakery of Zell", False),  # nothing new
        ("Who leads the Bakery of Horn?", False),  # another name
        ("Is Mara Lind the leader of the Bakery of Zell?", False),  # tells the answer
        ("Zell Bakery?" * 30, False),  # far too long
    ],
)
def test_names_stay_and_the_answer_is_not_told(text, faithful):
    assert is_faithful(text, LESSON.prompt, LESSON.answer) is faithful


def test_numbers_stay():
    assert not is_faithful("How high is tower nine?", "How high is tower 9?", "80 m")
    assert is_faithful("Tell the height of tower 9.", "How high is tower 9?", "80 m")


def test_only_what_means_the_same_is_kept():
    teacher = Says("Who is the head of the Bakery of Zell?\nWhich cakes has the Bakery of Zell?\nWho runs Horn?")
    seen = []
    found = Rewording(teacher, alike).of([LESSON], progress=lambda *step: seen.append(step))
    assert found == {"one": ["Who is the head of the Bakery of Zell?"]}
    assert "Who leads the Bakery of Zell?" in teacher.asked[0]
    assert seen == [(1, 1)]


def test_wordings_of_a_model_come_before_templates_and_never_probe():
    more = ["Who is the head of the Bakery of Zell?", "Quick question: Who leads the Bakery of Zell?"]
    both = wordings_of(LESSON, more, most=4)
    assert list(both.asked[:3]) == [LESSON.prompt, *more]
    assert len(both.asked) == 4
    assert not set(both.asked) & set(both.held_out)


def test_a_teacher_that_cannot_be_asked_is_told():
    class Silent(Says):
        def ask(self, _prompts):
            raise TeacherError("gone", hint="later")

    with pytest.raises(TeacherError):
        Rewording(Silent(""), alike).of([LESSON])


def test_the_base_model_rewords_the_same_every_time(engine):
    once, again = (Rewording(by_the_base(engine), alike, alike=-1.0).of([LESSON]) for _ in range(2))
    assert once == again
    assert list(once) == ["one"]
