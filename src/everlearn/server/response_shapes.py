"""Bodies of the responses API, read into what the engine takes."""

from __future__ import annotations

import json
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field

from everlearn.errors import InputError, SettingsError
from everlearn.records import Message, Role
from everlearn.server.chat_shapes import Learning, Part, Sampled
from everlearn.server.tools import tool_said, written
from everlearn.store.ids import new_id

Item = dict[str, Any]
_KIND = ConfigDict(extra="ignore", protected_namespaces=())
_READ_OVER = frozenset({"reasoning"})  # what a model thought is not told to another


@final
class TextFormat(BaseModel):
    """The field `text`: which form the answer has."""

    model_config = _KIND
    format: dict[str, Any] = Field(default_factory=lambda: {"type": "text"})


@final
class ResponseRequest(BaseModel):
    """Body of POST /v1/responses, and of a frame `response.create`."""

    model_config = _KIND
    model: str = Field(min_length=1, max_length=512)
    input: str | list[Item]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    store: bool | None = True
    stream: bool | None = False
    background: bool | None = False
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = "auto"
    parallel_tool_calls: bool | None = True
    text: TextFormat | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    user: str | None = None
    learning: Learning = Field(default_factory=Learning)

    def checked(self) -> ResponseRequest:
        """This request.

        Raises:
            SettingsError: it wants what this server does not do.
        """
        for name, wanted in (("background", self.background), ("conversation", self.conversation)):
            if wanted:
                raise SettingsError(f"{name} is not known to this server.", hint="Leave it out.")
        if self.truncation == "auto":
            raise SettingsError("truncation is 'auto'; this server never drops a message.", hint="Send fewer messages.")
        return self

    def sampled(self) -> Sampled:
        """How the answer is sampled, as for the other kinds of answers."""
        return Sampled(
            model=self.model,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_output_tokens,
            learning=self.learning,
        )

    def items(self) -> list[Item]:
        """The input as items, each with an id.

        Raises:
            InputError: an item that this server does not know.
        """
        if isinstance(self.input, str):
            return [_item({"role": "user", "content": self.input})]
        return [_item(given) for given in self.input if given.get("type") not in _READ_OVER]


def messages_in(items: list[Item]) -> list[Message]:
    """Items as the engine takes them; calls that follow each other are one message, as the model wrote them."""
    found: list[Message] = []
    calls: list[Item] = []
    for item in [*items, {"type": "end"}]:
        if item["type"] == "function_call":
            calls.append(item)
            continue
        if calls:
            found.append(Message("assistant", written(calls)))
            calls = []
        if item["type"] == "function_call_output":
            found.append(Message("user", tool_said(item["output"])))
        elif item["type"] == "message" and (text := _text(item["content"])):
            role: Role = "system" if item["role"] == "developer" else item["role"]
            found.append(Message(role, text))
    return found


def _item(given: Item) -> Item:
    kind = given.get("type", "message")
    if kind == "function_call_output":
        output = given.get("output", "")
        text = output if isinstance(output, str) else _text(_parts(output, "input_text"))
        return {"id": _id("fco", given), "type": kind, "call_id": str(given.get("call_id", "")), "output": text} | {
            "status": "completed"
        }
    if kind == "function_call":
        said = {name: str(given.get(name, "")) for name in ("call_id", "name", "arguments")}
        return {"id": _id("fc", given), "type": kind, "status": "completed", **said}
    if kind != "message":
        raise InputError(f"An item of input has the type {kind!r}.", hint="Send messages, calls and their outputs.")
    role = given.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise InputError(f"A message of input has the role {role!r}.", hint="Use user, assistant, system or developer.")
    parts = _parts(given.get("content", ""), "output_text" if role == "assistant" else "input_text")
    return {"id": _id("msg", given), "type": "message", "role": role, "status": "completed", "content": parts}


def _parts(content: object, kind: str) -> list[Item]:
    """Text as one part of a kind, or parts checked."""
    if isinstance(content, str):
        texts = [content]
    elif isinstance(content, list):
        texts = [_part(one) for one in content]
    else:
        raise InputError(f"The content of a message is {json.dumps(content)[:80]}.", hint="Send text or parts of text.")
    more: Item = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    return [{"type": kind, "text": text, **more} for text in texts]


def _part(given: object) -> str:
    part = Part.model_validate(given) if isinstance(given, dict) and "type" in given else None
    if part is None or part.type not in ("input_text", "output_text", "text"):
        kind = given.get("type") if isinstance(given, dict) else given
        raise SettingsError(f"A message holds {kind!r}; this model reads text.", hint="Send parts of type input_text.")
    return part.text


def _text(parts: list[Item]) -> str:
    return "".join(part["text"] for part in parts)


def _id(mark: str, given: Item) -> str:
    own = given.get("id")
    return own if isinstance(own, str) and own else f"{mark}_{new_id()}"
