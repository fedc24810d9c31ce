"""What may be asked: prompts and messages as they come, checked and in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, get_args

from everlearn.errors import ConversationError
from everlearn.records import Message, Role
from everlearn.text.clean import MAX_MESSAGE_CHARACTERS, checked

Prompt = str | Sequence[Message | Mapping[str, str]]


def messages_of(prompt: Prompt) -> list[Message]:
    """A prompt as messages: a string is one user message; mappings have the keys role and content.

    Raises:
        ConversationError: empty, of another form, or not ending in a user message.
    """
    if isinstance(prompt, str):
        return [_checked(Message("user", prompt))]
    messages = [_checked(_message(m)) for m in prompt]
    if not messages or messages[-1].role != "user":
        raise ConversationError("The last message is not the user's.", hint="End with a message of role user.")
    return messages


def question_of(messages: Sequence[Message]) -> tuple[str, str]:
    """The last user message, and the user message before it ("" where there is none)."""
    said = [m.content for m in messages if m.role == "user"]
    return said[-1], said[-2] if len(said) > 1 else ""


def _message(message: Message | Mapping[str, str]) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
        raise ConversationError(f"A message is {message!r}.", hint='Wanted {"role": ..., "content": ...} or a Message.')
    if message["role"] not in get_args(Role):
        raise ConversationError(
            f"A message has the role {message['role']!r}.", hint="Wanted system, user or assistant."
        )
    return Message(cast(Role, message["role"]), message["content"])


def _checked(message: Message) -> Message:
    what = f"The {message.role} message"
    limit = MAX_MESSAGE_CHARACTERS
    return Message(message.role, checked(message.content, what=what, limit=limit, error=ConversationError))
