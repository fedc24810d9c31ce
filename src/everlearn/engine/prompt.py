"""What may be asked: prompts and messages as they come, checked and in one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import cast, get_args

from everlearn.errors import ConversationError, SettingsError
from everlearn.records import Message, Role
from everlearn.text.clean import MAX_MESSAGE_CHARACTERS, checked
from everlearn.text.dates import moment_of

_LIST = 'For example: [{"role": "user", "content": "..."}]'
_HINTS = {bytes: "Decode it first, usually with .decode().", Message: "Put it in a list."}

Prompt = str | Sequence[Message | Mapping[str, str]]
AsOf = datetime | date | str | None
"""A moment to answer as of: with its zone, or in UTC; text as in "2018" or "2018-05-31"; None = now."""


def moment(as_of: AsOf) -> datetime | None:
    """The moment that is asked about, in UTC; None = now.

    Raises:
        SettingsError: it is none.
    """
    try:
        return None if as_of is None else moment_of(as_of)
    except ValueError as cause:
        raise SettingsError(
            f"as_of is {as_of!r}, wanted a moment: {cause}.", hint="For example: 2018, 2018-05-31, or a datetime."
        ) from cause


def messages_of(prompt: Prompt) -> list[Message]:
    """A prompt as messages: a string is one user message; mappings have the keys role and content.

    Raises:
        ConversationError: empty, of another form, or not ending in a user message.
    """
    if isinstance(prompt, str):
        return [_checked(Message("user", prompt))]
    if isinstance(prompt, bytes | bytearray | Message | Mapping) or not isinstance(prompt, Iterable):
        raise ConversationError(
            f"The prompt is {_kind(prompt)}, wanted text or a list of messages.", hint=_HINTS.get(type(prompt), _LIST)
        )
    messages = [_checked(_message(m)) for m in prompt]
    if not messages or messages[-1].role != "user":
        raise ConversationError("The last message is not the user's.", hint="End with a message of role user.")
    return messages


def question_of(messages: Sequence[Message]) -> tuple[str, list[str]]:
    """The last user message, and those before it, oldest first."""
    said = [m.content for m in messages if m.role == "user"]
    return said[-1], said[:-1]


def _message(message: Message | Mapping[str, str]) -> Message:
    if not isinstance(message, Message):
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise ConversationError(
                f"A message is {message!r}.", hint='Wanted {"role": ..., "content": ...} or a Message.'
            )
        message = Message(cast(Role, message["role"]), message["content"])
    if message.role not in get_args(Role):
        raise ConversationError(f"A message has the role {message.role!r}.", hint="Wanted system, user or assistant.")
    return message


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _checked(message: Message) -> Message:
    what = f"The {message.role} message"
    limit = MAX_MESSAGE_CHARACTERS
    return Message(message.role, checked(message.content, what=what, limit=limit, error=ConversationError))
