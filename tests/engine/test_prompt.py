"""Prompts in every form, and what none is."""

import pytest

from everlearn.engine.prompt import messages_of, question_of
from everlearn.errors import ConversationError
from everlearn.records import Message


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (None, "The prompt is None"),
        (5, "of type int"),
        (b"hello", "of type bytes.*Decode it"),
        (bytearray(b"hello"), "of type bytearray"),
        ({"role": "user", "content": "x"}, "of type dict.*For example"),
        (Message("user", "x"), "of type Message.*list"),
        ([], "not the user's"),
        ([None], "A message is None"),
        (["x"], "A message is 'x'"),
        ([{"role": "user"}], "A message is"),
        ([{"role": "robot", "content": "x"}], "the role 'robot'"),
        ([{"role": ["user"], "content": "x"}], "the role"),
        ([Message("robot", "x")], "the role 'robot'"),
        ([{"role": "user", "content": None}], "NoneType, wanted text"),
        ([Message("user", b"x")], "bytes, wanted text"),
        ([Message("user", "x"), Message("assistant", "y")], "not the user's"),
    ],
)
def test_what_is_no_prompt_is_explained(prompt, says):
    with pytest.raises(ConversationError, match=says):
        messages_of(prompt)


def test_every_form_gives_messages():
    wanted = [Message("user", "Who?")]
    assert messages_of("Who?") == messages_of(wanted) == messages_of(tuple(wanted)) == wanted
    assert messages_of([{"role": "user", "content": " Who? "}]) == wanted
    assert question_of([Message("user", "a"), Message("assistant", "b"), Message("user", "c")]) == ("c", ["a"])
